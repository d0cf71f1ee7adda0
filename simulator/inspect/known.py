"""Whether files are those of a data set that has a source of its own."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pkb.errors import DataError
from simulator.inspect.files import Found
from simulator.stream.ingest import SOURCES
from simulator.stream.settings import StreamSettings
from simulator.stream.sources import ebnerd

CLOCKS = {"alidisplay": 8, "eleme": 8, "iaac": 8, "taobao": 8, "ebnerd": -7}  # hours from UTC at which days are cut
EBNERD = {"impression_id", "impression_time", "article_ids_inview", "article_ids_clicked", "user_id"}


@dataclass(frozen=True, kw_only=True)
class Known:
    """The settings of a source whose files these are, and all its files."""

    stream: StreamSettings
    files: tuple[Path, ...]


def known(found: Found) -> Known | None:
    """The source that has a file of these names with its columns among `found`, and nothing else that was asked for."""
    asked = {path.resolve() for path in found.paths}
    for name, source in SOURCES.items():
        if name == "table":
            continue
        for root in dict.fromkeys(path.parent for path in found.paths):
            stream = StreamSettings(source=name, root=str(root), utc_offset_hours=CLOCKS.get(name, 0))
            try:
                files = source.find(stream)
                if files and asked <= {file.resolve() for file in files} | _beside(root, found):
                    source.describe(stream, files)  # it refuses other columns
                    if asked & {file.resolve() for file in files}:
                        return Known(stream=stream, files=files)
            except DataError:
                continue
    return None


def _beside(root: Path, found: Found) -> set[Path]:
    """What lies in the same folder, where a whole folder or a pattern was asked for."""
    return {path.resolve() for path in found.paths if path.parent == root} if found.by_pattern else set()


def is_ebnerd(names: tuple[str, ...]) -> str:
    """What to say of EB-NeRD's behaviours under names that its source does not look for, or nothing."""
    if not set(names) >= EBNERD:
        return ""
    return (
        "these are EB-NeRD's behaviours: put its files into one folder, named"
        f" {', '.join(ebnerd.BEHAVIORS + ebnerd.CLICKS)}, and inspect that; stream.source=ebnerd reads them, with each"
        " user's clicks from before"
    )
