"""How a version comes into a center's folder: written aside, synced, renamed; the oldest one leaves.

A build that was killed leaves a folder with a name of its own, which the next build removes.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pkb.center.manifest import MANIFEST, Manifest
from pkb.errors import DataError, RunError

MOST_VERSIONS = 5  # of the paper
_NAME = re.compile(r"version-(\d{5,})")
_PARTIAL = ".partial"


def folder_of(center: Path, version: int) -> Path:
    return center / f"version-{version:05d}"


def versions_in(center: Path) -> list[int]:
    """List the versions that are complete, ascending."""
    entries = center.iterdir() if center.is_dir() else ()
    found = (_NAME.fullmatch(entry.name) for entry in entries)
    return sorted(int(version[1]) for version in found if version)


class Writer:
    """Writes the files of one version, and keeps their hashes."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.files, self.bytes = folder, dict[str, str](), 0

    @contextmanager
    def file(self, name: str) -> Iterator[Callable[[NDArray[np.generic]], None]]:
        """Give the block a function that appends an array to a new file."""
        digest = hashlib.sha256()
        with (self.folder / name).open("wb") as stream:

            def append(values: NDArray[np.generic]) -> None:
                raw = np.ascontiguousarray(values).data.cast("B") if values.size else b""
                digest.update(raw)
                self.bytes += stream.write(raw)

            yield append
            stream.flush()
            os.fsync(stream.fileno())
        self.files[name] = digest.hexdigest()

    def finish(self, manifest: Manifest) -> None:
        """Write the manifest, last."""
        with (self.folder / MANIFEST).open("w", encoding="utf-8") as stream:
            stream.write(manifest.to_json())
            stream.flush()
            os.fsync(stream.fileno())
        _sync(self.folder)


@contextmanager
def new_version(center: Path, version: int, *, keep: int = MOST_VERSIONS) -> Iterator[Writer]:
    """Let the block write a version; it is there once the block has ended well, and then the oldest of more leave.

    DataError where a version as new is there already; RunError while another process builds one.
    """
    center.mkdir(parents=True, exist_ok=True)
    with _alone(center):
        for entry in center.glob(f".version-*{_PARTIAL}"):
            shutil.rmtree(entry)
        there = versions_in(center)
        newest = there[-1] if there else -1
        if version <= newest:
            raise DataError(f"{center}: version {version} cannot follow {newest}; versions ascend from 0 on")
        aside = _aside(center, version)
        aside.mkdir()
        try:
            yield Writer(aside)
            aside.rename(folder_of(center, version))
        except BaseException:
            shutil.rmtree(aside, ignore_errors=True)
            raise
        _sync(center)
        for old in versions_in(center)[:-keep]:
            _drop(center, old)


def rewind(center: Path, version: int) -> None:
    """Remove the versions after this one, as when what they were built of is to be learned again."""
    if center.is_dir():
        with _alone(center):
            for later in versions_in(center):
                if later > version:
                    _drop(center, later)


def _drop(center: Path, version: int) -> None:
    """Remove a version: at once for whoever opens it, though its files take a while."""
    aside = _aside(center, version)
    folder_of(center, version).rename(aside)
    shutil.rmtree(aside)


def _aside(center: Path, version: int) -> Path:
    return center / f".{folder_of(center, version).name}{_PARTIAL}"


@contextmanager
def _alone(center: Path) -> Iterator[None]:
    """Hold the center for one builder; the kernel lets go of it however the process ends."""
    handle = os.open(center / "building", os.O_RDWR | os.O_CREAT, 0o666)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError:
        raise RunError(f"{center}: another process builds a version there; wait until it is done") from None
    finally:
        os.close(handle)


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
