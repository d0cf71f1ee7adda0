"""Files that are complete or not there: write aside, sync, rename."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from secrets import token_hex
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pyarrow as pa


@contextmanager
def replacing(file: Path) -> Iterator[Path]:
    """Give a path beside `file` to write to; it becomes `file` once the block has ended well.

    Two processes that write the same file do not meet: the later one's stays.
    """
    aside = file.with_name(f".{file.name}.{token_hex(4)}.partial")
    try:
        yield aside
        with aside.open("rb") as stream:
            os.fsync(stream.fileno())
        aside.replace(file)
    finally:
        aside.unlink(missing_ok=True)
    sync_folder(file.parent)


@contextmanager
def becoming(folder: Path, aside: Path | None = None) -> Iterator[Path]:
    """Give a folder beside `folder`, renamed to it once the block has ended well, and removed if it has not."""
    aside = aside or folder.with_name(f".{folder.name}.{token_hex(4)}.partial")
    aside.mkdir()
    try:
        yield aside
        for file in aside.iterdir():
            with file.open("rb") as stream:
                os.fsync(stream.fileno())
        sync_folder(aside)
        aside.rename(folder)
    except BaseException:
        shutil.rmtree(aside, ignore_errors=True)
        raise
    sync_folder(folder.parent)


def sync_folder(folder: Path) -> None:
    """Make every rename in `folder` survive a crash."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_text(file: Path, text: str) -> None:
    """Put a text in place of `file`."""
    with replacing(file) as aside:
        aside.write_text(text, encoding="utf-8")


def write_parquet(file: Path, table: pa.Table) -> None:
    """Put a table in place of `file`, each page with a checksum."""
    import pyarrow.parquet as pq

    with replacing(file) as aside:
        pq.write_table(table, aside, compression="zstd", write_page_checksum=True)
