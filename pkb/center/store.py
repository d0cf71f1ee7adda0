"""A center: the versions in a folder, each asked by its number."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from pkb.center.keys import Ids
from pkb.center.version import Found, Version
from pkb.center.writing import folder_of, versions_in
from pkb.errors import DataError


class MissingVersionError(DataError):
    """A version that is not there, or not any more."""


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What one version knows."""

    version: int
    knowledge: Found


class Reader(Protocol):
    """Whoever can be asked for knowledge: a center itself, or a client of its service."""

    def ask(self, user_B: Ids, item_B: Ids, category_B: Ids, version: int | None = None) -> Answer:
        """Say what this version, or the newest, knows."""


class Center:
    """Opens versions as they come and lets go of those that leave; any number of threads may ask meanwhile.

    A version is opened in full, its hashes checked, before anybody is answered from it. One that is damaged is refused
    by itself: the others answer.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.open: Mapping[int, Version] = {}  # by number; replaced as a whole, never changed
        self._refused: dict[int, str] = {}  # why, by number
        self._opening = threading.Lock()

    def refresh(self) -> None:
        """Look which versions there are now, and open them all."""
        with self._opening:
            there = versions_in(self.folder)
            opened = {number: version for number in there if (version := self._opened(number)) is not None}
            self._refused = {number: why for number, why in self._refused.items() if number in there}
            self.open = opened

    def _opened(self, number: int) -> Version | None:
        """Give a version that is open, or open it; None if it is damaged, or not there any more."""
        if number in self.open or number in self._refused:
            return self.open.get(number)
        try:
            return Version.open(folder_of(self.folder, number))
        except (DataError, OSError) as error:
            if number in versions_in(self.folder):  # else it left in this moment
                self._refused[number] = str(error)
            return None

    @property
    def versions(self) -> list[Version]:
        """Those that are open, ascending."""
        return [version for _, version in sorted(self.open.items())]

    @property
    def refused(self) -> dict[int, str]:
        """Why versions that are there are not open."""
        return dict(self._refused)

    def version(self, number: int | None = None) -> Version:
        """Give a version, the newest that is open if none is named.

        MissingVersionError names those that there are; DataError says which file of the one asked for is damaged.
        """
        if number is None and not self.open:
            self.refresh()
        versions = self.open
        newest = max(versions, default=None)
        wanted = newest if number is None else number
        if wanted is not None and wanted in versions:
            return versions[wanted]
        if wanted is not None:
            with self._opening:
                if (found := self._opened(wanted)) is not None:
                    self.open = {**self.open, wanted: found}
                    return found
        if refused := self._refused.get(max(self._refused, default=0) if wanted is None else wanted):
            raise DataError(refused)
        there = ", ".join(map(str, versions_in(self.folder)))
        raise MissingVersionError(
            f"{self.folder}: there is no version{'' if number is None else f' {number}'}; "
            + (f"there are {there}" if there else "build one first")
        )

    def ask(self, user_B: Ids, item_B: Ids, category_B: Ids, version: int | None = None) -> Answer:
        """Say what a version knows, the newest that is open if none is named; all of the answer is that one's."""
        asked = self.version(version)
        return Answer(version=asked.number, knowledge=asked.knowledge(user_B, item_B, category_B))
