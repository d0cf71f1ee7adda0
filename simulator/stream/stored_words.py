"""The vocabulary of a log as a server looks values up: keys and ids in files that are mapped into memory.

keys.npy        [values] uint64, ascending: of a field's column and a text (`keys.text_keys`)
ids.npy         [values] int32
manifest.json   the SHA-256 of both

Ids are given in order of first appearance, so a model that has learned up to some period knows those below a bound, and
one vocabulary serves all versions of a model.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from secrets import token_hex

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from pkb.batch import MISSING
from pkb.errors import DataError
from simulator.record.files import sync_folder, write_text
from simulator.stream.keys import UNSEEN, text_keys
from simulator.stream.log import Log

FILES = ("keys.npy", "ids.npy")


class StoredWords:
    """Texts of fields -> ids of the log."""

    def __init__(self, folder: Path, missing: tuple[str, ...]) -> None:
        """`missing` texts mean that there is no value; DataError where a file is missing or not the one written."""
        remedy = f"delete {folder}, and it is made again"
        try:
            hashes = dict(json.loads((folder / "manifest.json").read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError) as error:
            raise DataError(f"{folder / 'manifest.json'}: not readable ({error}); {remedy}") from None
        for name in FILES:
            if not (folder / name).is_file() or _sha256(folder / name) != hashes.get(name):
                raise DataError(f"{folder / name}: missing or damaged (its hash differs from the manifest); {remedy}")
        self._keys, self._ids = (np.load(folder / name, mmap_mode="r").view(np.ndarray) for name in FILES)
        self._missing = pa.array(missing, pa.string())

    def find(self, texts: pa.Array, columns: NDArray[np.int64]) -> NDArray[np.int32]:
        """The id of each text of the field in its column; MISSING of null, UNSEEN of what is not in the log."""
        keys = text_keys(texts, columns)
        at = np.minimum(np.searchsorted(self._keys, keys), len(self._keys) - 1)
        ids = np.where(self._keys[at] == keys, self._ids[at], UNSEEN)
        none = pc.or_kleene(pc.is_null(texts), pc.is_in(texts, value_set=self._missing))
        ids[none.to_numpy(zero_copy_only=False)] = MISSING
        return ids


def stored_words(log: Log, folder: Path) -> StoredWords:
    """The vocabulary of the log, written into a folder of `folder` named after the log where it is not there yet."""
    mine = folder / log.manifest.fingerprint[:16]
    if not mine.exists():
        folder.mkdir(parents=True, exist_ok=True)
        aside = folder / f".{mine.name}.{token_hex(4)}.partial"
        try:
            _write(log, aside)
            try:
                aside.rename(mine)
                sync_folder(folder)
            except OSError:
                if not mine.exists():  # else another process was quicker
                    raise
        finally:
            shutil.rmtree(aside, ignore_errors=True)
    return StoredWords(mine, log.manifest.missing)


def _write(log: Log, folder: Path) -> None:
    folder.mkdir()
    read = list(_keys_and_ids(log))
    keys = np.concatenate([np.empty(0, np.uint64), *(keys for keys, _ in read)])
    order = np.argsort(keys)
    np.save(folder / "keys.npy", keys[order])
    np.save(folder / "ids.npy", np.concatenate([np.empty(0, np.int32), *(ids for _, ids in read)])[order])
    write_text(folder / "manifest.json", json.dumps({name: _sha256(folder / name) for name in FILES}, indent=1))


def _keys_and_ids(log: Log) -> Iterator[tuple[NDArray[np.uint64], NDArray[np.int32]]]:
    file, names = log.folder / "vocabulary.parquet", pa.array(log.schema.names)
    try:
        with pq.ParquetFile(file) as parquet:
            for batch in parquet.iter_batches():
                columns = pc.index_in(batch.column("field"), value_set=names).to_numpy(zero_copy_only=False)
                yield text_keys(batch.column("text"), columns), batch.column("id").to_numpy()
    except (OSError, pa.ArrowException) as error:
        raise DataError(f"{file}: not readable ({str(error).splitlines()[0]}); ingest the log again") from None


def _sha256(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
