"""What a damaged raw log is expected to end in."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.simulator.stream.malformed_files import GoodLog, RawFile


@dataclass(frozen=True, kw_only=True)
class Refused:
    """An error of one line that holds this, and no log."""

    says: str  # a regular expression


@dataclass(frozen=True, kw_only=True)
class Ingested:
    """The rows of the log `like`, and these rejects beside it: (file, row, reason)."""

    like: GoodLog
    rejects: tuple[tuple[str, int, str], ...] = ()
    victim_has: tuple[str, str | None] | None = None  # a field of the victim's rows, and another value for it


@dataclass(frozen=True, kw_only=True)
class Case:
    log: GoodLog
    file: str
    what: str
    damage: Callable[[Path], object]  # of the file at this path
    expected: Refused | Ingested

    @property
    def name(self) -> str:
        return f"{self.log.name}-{self.file}-{self.what}"


def writing(content: bytes) -> Callable[[Path], object]:
    """The damage that leaves `content` in the file's place."""
    return lambda path: path.write_bytes(content)


def rewriting(file: RawFile) -> Callable[[Path], object]:
    """The damage that leaves `file` in the place of the file of its name."""
    return lambda path: file.write(path.parent)


def as_a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def as_a_broken_link(path: Path) -> None:
    path.unlink()
    path.symlink_to("nowhere")


def victim_set_aside(log: GoodLog, file: RawFile, *reasons: str) -> Ingested:
    """All rows but those of the victim, which is rejected for each of these reasons."""
    rejects = tuple((file.name, file.line, reason) for reason in reasons)
    return Ingested(like=log.having(file.without_victim()), rejects=rejects)
