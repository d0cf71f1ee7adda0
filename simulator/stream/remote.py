"""Files of a table that lie in an object store or on another machine: copied once, then read like any other.

`s3://bucket/logs/2024-07-*/*.parquet` is of any file system that Arrow knows, or else fsspec. What stands behind a `?`
are options of the file system (`?region=eu-west-1`, `?endpoint_override=localhost:9000&scheme=http`), so no wildcard.
Credentials are those of the environment.

A copy lies in `stream.data/fetched/`, in a folder that is called after the file's address, size and time of change, so
that a file which has changed is fetched again, as is one whose copy is not of its size. It bears the original's time.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from glob import has_magic
from pathlib import Path
from urllib.parse import parse_qsl, quote

from fsspec.core import url_to_fs
from pyarrow import ArrowException, ArrowInvalid
from pyarrow.fs import FileInfo, FileSelector, FileSystem, FileType, FSSpecHandler, PyFileSystem

from pkb.errors import DataError
from simulator.record.files import sync_folder
from simulator.stream.addresses import out_of_sight

FETCHED = "fetched"  # folder of copies
PIECE = 8 * 2**20  # bytes
LONGEST = 300  # characters of a complaint


def fetched(pattern: str, data: Path) -> list[Path]:
    """Copies of the files that the pattern matches, in the order of their paths; DataError if one cannot be had."""
    address, _, options = pattern.partition("?")
    scheme, _, path = address.partition("://")
    parts = path.split("/")
    asked = [part for part in parts if part]
    wild = next((number for number, part in enumerate(parts) if has_magic(part)), len(parts) - 1)
    try:
        system, folder = _opened(scheme, "/".join(parts[:wild]), options)
        found = sorted(_below(system, folder, parts[wild:]), key=lambda file: str(file.path))
        seen = [file for file in found if not out_of_sight(file.path.strip("/").split("/"), asked)]
        return [_copied(system, file, f"{scheme}://{file.path}?{options}", data / FETCHED) for file in seen]
    except (OSError, ArrowException, ValueError, ImportError) as error:
        said = " ".join(str(error).split()) or type(error).__name__
        raise DataError(f"stream.table.files={address}: cannot be read: {said[:LONGEST]}") from None


def _opened(scheme: str, folder: str, options: str) -> tuple[FileSystem, str]:
    """The file system, and what it calls the folder."""
    address = f"{scheme}://{quote(folder)}"
    try:
        system, path = FileSystem.from_uri(f"{address}?{options}" if options else address)
    except ArrowInvalid:
        if scheme in ("s3", "gs", "hdfs", "file"):
            raise
        other, path = url_to_fs(f"{scheme}://{folder}", **dict(parse_qsl(options)))
        system = PyFileSystem(FSSpecHandler(other))
    return system, path.rstrip("/")


def _below(system: FileSystem, folder: str, parts: Sequence[str]) -> Iterator[FileInfo]:
    """The files that these parts of a pattern lead to."""
    part, rest = parts[0], parts[1:]
    if part == "**":
        yield from _below(system, folder, rest or ("*",))
    elif not has_magic(part):
        path = f"{folder}/{part}"
        if rest:
            yield from _below(system, path, rest)
        elif (file := system.get_file_info(path)).type == FileType.File:
            yield file
        return
    for child in system.get_file_info(FileSelector(folder, allow_not_found=True)):
        is_folder, hidden = child.type == FileType.Directory, child.base_name.startswith(".")
        if part == "**" and is_folder and not hidden:
            yield from _below(system, child.path, parts)
        elif part != "**" and fnmatchcase(child.base_name, part) and (part[0] == "." or not hidden):
            if rest and is_folder:
                yield from _below(system, child.path, rest)
            elif not rest and not is_folder:
                yield child


def _copied(system: FileSystem, file: FileInfo, address: str, cache: Path) -> Path:
    """The copy of a file, made if it is not there; whole or not at all."""
    changed = file.mtime_ns or 0
    key = hashlib.blake2b(f"{address} {file.size} {changed}".encode(), digest_size=8).hexdigest()
    copy: Path = cache / key / file.base_name
    if not copy.is_file() or copy.stat().st_size != file.size:
        copy.parent.mkdir(parents=True, exist_ok=True)
        aside = copy.with_name(f".{copy.name}.{os.getpid()}.partial")
        with system.open_input_stream(file.path, compression=None) as source, aside.open("wb") as target:
            shutil.copyfileobj(source, target, PIECE)
            target.flush()
            os.utime(target.fileno(), ns=(changed, changed))
            os.fsync(target.fileno())
        if aside.stat().st_size != file.size:
            raise DataError(f"{file.path}: {aside.stat().st_size} bytes came of {file.size}; run again")
        aside.replace(copy)
        sync_folder(copy.parent)
    return copy
