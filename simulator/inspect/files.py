"""Which files somebody means, as `stream.table.files`, and about how many rows they hold."""

from __future__ import annotations

import glob
import io
import itertools
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from pkb.errors import DataError
from simulator.stream.matching import lies_there, matching_files
from simulator.stream.packed import READ_PACKED, opened
from simulator.stream.raw import PARQUET
from simulator.stream.settings import StreamSettings, TableSettings

ENDINGS = (".parquet", ".pq", ".csv", ".tsv", ".txt", ".csv.gz", ".tsv.gz", ".txt.gz", ".csv.zst", ".tsv.zst")
PACKED_BY = 5  # so many bytes of text in one that is packed, about
MEASURED_BYTES = 1_000_000  # of a text file, to learn how long its lines are


@dataclass(frozen=True, kw_only=True)
class Found:
    """The files of a log: those that `files`, a pattern or a list of names, means below `root`."""

    root: Path
    files: str | list[str]
    paths: tuple[Path, ...]
    by_pattern: bool = False  # whether whoever asked may not know each file


def find(given: Sequence[str]) -> Found:
    """The files of these paths, folders or patterns; DataError if there is none."""
    found = [_found(os.path.expanduser(one)) for one in given]  # noqa: PTH111  it leaves what is no home as it is
    if len(found) == 1:
        return found[0]
    paths = tuple(sorted({path.absolute() for one in found for path in one.paths}))
    root = Path(os.path.commonpath([path.parent for path in paths]))
    for pattern in _patterns(paths):
        if set(_matching(root, pattern)) == set(paths):
            return Found(root=root, files=pattern, paths=paths)
    return Found(root=root, files=[str(path.relative_to(root)) for path in paths], paths=paths)


def estimated_rows(paths: Sequence[Path]) -> int:
    """The rows of all files: known of Parquet, told from the length of lines of text."""
    return sum(_rows_of(path) for path in paths)


def _found(given: str) -> Found:
    path = Path(given).absolute()
    if path.is_dir():
        root, files, by_pattern = path, _usual_pattern(path), True
    elif glob.has_magic(given) and not os.path.lexists(path):
        fixed = list(_before_magic(path.parts))
        root, files, by_pattern = Path(*fixed), str(Path(*path.parts[len(fixed) :])), True
    else:
        root, files, by_pattern = path.parent, path.name, False
    paths = _matching(root, files)
    if not paths:
        raise DataError(f"{given}: no such file{lies_there(_stream(root, files))}")
    return Found(root=root, files=files, paths=paths, by_pattern=by_pattern)


def _before_magic(parts: Sequence[str]) -> Iterator[str]:
    for part in parts[:-1]:
        if glob.has_magic(part):
            return
        yield part


def _usual_pattern(folder: Path) -> str:
    """The pattern of a folder's files of the ending that most of them have; those of the folder itself come first."""
    for prefix in ("*", "**/*"):
        counts = {ending: len(_matching(folder, prefix + ending)) for ending in ENDINGS}
        if any(counts.values()):
            return prefix + max(counts, key=lambda ending: counts[ending])
    raise DataError(f"{folder}: holds no file that ends in {', '.join(ENDINGS)}; name the files themselves")


def _patterns(paths: Sequence[Path]) -> Iterator[str]:
    names = [path.name for path in paths]
    first, last = _common(names), _common([name[::-1] for name in names])[::-1]
    ending = "".join(paths[0].suffixes[-2:] if paths[0].suffix in READ_PACKED else paths[0].suffixes[-1:])
    if len({path.parent for path in paths}) == 1:
        yield f"*{ending}"
        if all(len(name) >= len(first) + len(last) for name in names):
            yield f"{first}*{last}"
    yield f"**/*{ending}"


def _common(names: Sequence[str]) -> str:
    """The characters that all names begin with."""
    columns = itertools.takewhile(lambda column: len(set(column)) == 1, zip(*names, strict=False))
    return "".join(column[0] for column in columns)


def _stream(root: Path, files: str) -> StreamSettings:
    return StreamSettings(source="table", root=str(root), table=TableSettings(files=files))


def _matching(root: Path, files: str) -> tuple[Path, ...]:
    return matching_files(_stream(root, files))


def is_parquet(path: Path) -> bool:
    return path.suffix.lower() in PARQUET


def _rows_of(path: Path) -> int:
    if is_parquet(path):
        try:
            return int(pq.read_metadata(path).num_rows)
        except (OSError, pa.ArrowException) as error:
            raise DataError(f"{path}: not readable as Parquet: {str(error).splitlines()[0]}") from None
    size = path.stat().st_size * (PACKED_BY if path.suffix.lower() in READ_PACKED else 1)
    try:
        with opened(path) as packed, io.BufferedReader(packed) as stream:
            piece = stream.read(MEASURED_BYTES)
    except OSError as error:
        raise DataError(f"{path}: not readable: {str(error).splitlines()[0]}") from None
    lines = max(1, piece.count(b"\n") or piece.count(b"\r"))
    return lines if len(piece) < MEASURED_BYTES else size * lines // len(piece)
