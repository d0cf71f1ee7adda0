"""How the contenders of a run were shared out among groups of workers (`groups.json`)."""

from __future__ import annotations

from dataclasses import dataclass

from simulator.record.layout import RunFolder
from simulator.record.typed_json import read_typed, write_json


@dataclass(frozen=True)
class Groups:
    """Who plays in which group; no number of a contender depends on it, only what it waited for."""

    groups: list[list[str]]  # keys of contenders
    threads: int  # of each worker
    chosen: str  # how this was decided, a sentence


def write_groups(run: RunFolder, groups: Groups) -> None:
    """Write `groups.json`."""
    write_json(run.groups, groups)


def read_groups(run: RunFolder) -> Groups | None:
    """Read `groups.json`; None where it was not noted."""
    return read_typed(run.groups, Groups) if run.groups.exists() else None
