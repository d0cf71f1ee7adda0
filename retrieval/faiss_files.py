"""FAISS indexes on disk: one file a period and a manifest with the hash of each.

FAISS trusts the sizes that stand in a file, so a damaged one can corrupt memory. A file is therefore read once, its
hash is compared, and only then FAISS parses those same bytes.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import faiss
import numpy as np

from pkb.errors import CheckpointError
from retrieval.faiss_kinds import Kind
from retrieval.pool import Segment

MANIFEST = "manifest.json"


@dataclass(frozen=True, kw_only=True)
class Build:
    """What there is to know of one period's index."""

    start: int
    end: int
    rows: int
    kind: Kind
    reason: str  # for the kind
    recall: float | None  # at `DenseSettings.recall_k`, against the flat index; None where a row has no neighbour
    bytes: int


@dataclass(frozen=True, kw_only=True)
class Part:
    """The index of one period."""

    index: Any  # of FAISS, in main memory
    build: Build
    rows_hash: str


def rows_hash(segment: Segment) -> str:
    """Which rows a segment holds, and in which order."""
    digest = hashlib.sha256(f"{segment.start} {segment.end} ".encode())
    digest.update(segment.rows.row_id.numpy().tobytes())
    return digest.hexdigest()


def write_parts(folder: Path, parts: Sequence[Part]) -> None:
    """Write aside, sync, rename: `folder` is complete or does not exist."""
    if folder.exists():
        raise CheckpointError(f"{folder}: exists already; an index is written to a new folder")
    aside = folder.with_name(f".{folder.name}.aside")
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir(parents=True)
    entries = []
    for number, part in enumerate(parts):
        stored = faiss.serialize_index(part.index).tobytes()
        _write(aside / f"{number}.faiss", stored)
        digest = hashlib.sha256(stored).hexdigest()
        entries.append({"sha256": digest, "rows_hash": part.rows_hash, "build": asdict(part.build)})
    _write(aside / MANIFEST, json.dumps({"parts": entries}, indent=2).encode())
    aside.rename(folder)
    _sync(folder.parent)


def read_parts(folder: Path) -> Iterator[Part]:
    """The parts in time order; CheckpointError for a file that is missing or not as its hash says."""
    for number, (digest, rows_hash, build) in enumerate(_manifest(folder / MANIFEST)):
        path = folder / f"{number}.faiss"
        try:
            stored = path.read_bytes()
        except OSError as error:
            raise CheckpointError(f"{path}: cannot be read ({error.strerror}); build the index anew") from error
        if hashlib.sha256(stored).hexdigest() != digest:
            raise CheckpointError(f"{path}: its hash is not the manifest's, it is damaged; build the index anew")
        index = faiss.deserialize_index(np.frombuffer(stored, dtype=np.uint8))
        yield Part(index=index, build=build, rows_hash=rows_hash)


def _manifest(path: Path) -> list[tuple[str, str, Build]]:
    """The file's hash, the rows' hash and the build of each period."""
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))["parts"]
        return [(entry["sha256"], entry["rows_hash"], Build(**entry["build"])) for entry in entries]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"{path}: cannot be read ({error}); build the index anew") from error


def _write(path: Path, content: bytes) -> None:
    with path.open("wb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())


def _sync(folder: Path) -> None:
    """Make a rename within `folder` outlive a power failure."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
