"""Every error that this project raises on purpose.

    Error
    ├── SettingError      a setting is unknown or cannot be: names the key and what to write instead
    ├── DataError         something read is not as it must be: names file, row or column, and what to do
    ├── FutureError       an artefact would look beyond its time: names both times
    ├── CheckpointError   a stored model is damaged or does not fit
    └── RunError          a run cannot go on: names the part that stopped it

A message is one line: what was read, where, and what to do.
"""


class Error(Exception):
    """Root of the tree: what the command line prints as one line, without a traceback."""


class SettingError(Error):
    """A setting is unknown, of the wrong type, or at odds with another one."""


class DataError(Error):
    """A file, row, column or value is not as its format says."""


class FutureError(Error):
    """An artefact built from later data was about to be used on earlier data."""

    def __init__(self, artefact: str, built_until: int, used_at: int) -> None:
        super().__init__(
            f"{artefact} was built until {built_until} but is used at {used_at}: "
            "a prediction may use only what was known before it"
        )


class CheckpointError(Error):
    """A checkpoint is incomplete, damaged, or of another model."""


class RunError(Error):
    """A run cannot go on."""
