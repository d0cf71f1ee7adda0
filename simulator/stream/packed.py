"""Text files that may be packed: what is read as it is, and to its end."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from pkb.errors import DataError

PACKED = (".gz", ".zst", ".tgz", ".zip", ".bz2", ".xz", ".7z", ".rar")
PIECE = 2**20  # bytes
READ_PACKED = {".gz": "gzip", ".zst": "zstd"}  # text that is read as it is


def opened(file: Path) -> Any:
    """The bytes of a text file, unpacked if its name says that it is packed."""
    return pa.input_stream(str(file), compression=READ_PACKED.get(file.suffix.lower()))


def pieces(file: Path) -> Iterator[bytes]:
    """The bytes of a text file, unpacked; DataError if a packed one cannot be unpacked to its end."""
    try:
        with opened(file) as stream:
            while piece := stream.read(PIECE):
                yield piece
    except OSError as error:
        raise DataError(f"{file}: cannot be read to its end: {error}; copy or pack it anew") from None


def require_whole(files: Sequence[Path]) -> None:
    """DataError if a packed file cannot be unpacked to its end: the reader may take what there is for all."""
    for file in files:
        if file.suffix.lower() in READ_PACKED:
            for _ in pieces(file):
                pass


def refuse_packed(files: Sequence[Path]) -> None:
    """DataError if a file is packed in a way that is not read."""
    for file in files:
        tarred = ".tar." in file.name.lower()
        if tarred or (file.suffix.lower() in PACKED and file.suffix.lower() not in READ_PACKED):
            raise DataError(f"{file}: is packed; unpack it, or pack it as .gz or .zst, which are read as they are")


def line_ends(file: Path) -> int:
    """How many lines end in the file."""
    ends, lines = b"\n", 0
    for piece in pieces(file):
        if not lines and b"\n" not in piece and b"\r" in piece:
            ends = b"\r"  # of old Macs
        lines += piece.count(ends)
    return lines
