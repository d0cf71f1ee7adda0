"""Values -> ids, given in order of first appearance; see `pkb/batch.py` for what the ids mean."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import repeat
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from pkb.batch import MISSING

UNSEEN = -1


class Entry(NamedTuple):
    """A value that got an id."""

    id: int
    field: str
    text: str


@dataclass(frozen=True, kw_only=True)
class Values:
    """Texts of one field or history in a stretch of the log."""

    field: str  # whose ids they get
    texts: pa.Array
    rows: np.ndarray  # [texts] row of each text, ascending


class Vocabulary:
    """Ids of the values of all fields, global and dense.

    A new value's id is the next free one; values that are new in one call are numbered by row, within a row
    by their place in the list of columns, and within a list by position. So the ids do not depend on how the
    log is cut into calls.
    """

    def __init__(self, fields: Sequence[str], *, missing: Iterable[str] = ()) -> None:
        absent = dict.fromkeys([None, *missing], MISSING)
        self._ids: dict[str, dict[str | None, int]] = {field: dict(absent) for field in fields}
        self.size = 1 + len(fields)  # ids below it are taken

    def encode(self, columns: Sequence[Values]) -> tuple[list[np.ndarray], list[Entry]]:
        """The int32 ids of each column's texts, and the values that were new, by id."""
        encoded = [column.texts.dictionary_encode(null_encoding="encode") for column in columns]
        texts: list[list[str | None]] = [code.dictionary.to_pylist() for code in encoded]
        codes = [code.indices.to_numpy() for code in encoded]
        known = [self._lookup(column.field, unique) for column, unique in zip(columns, texts, strict=True)]
        added: list[Entry] = []
        for number, code in _in_order_of_appearance(columns, codes, known):
            field, text = columns[number].field, texts[number][code]
            ids = self._ids[field]
            if text not in ids:  # or else another column of the field has just brought it
                assert text is not None
                added.append(Entry(self.size, field, text))
                ids[text] = self.size
                self.size += 1
            known[number][code] = ids[text]
        return [ids[code] for ids, code in zip(known, codes, strict=True)], added

    def _lookup(self, field: str, texts: list[str | None]) -> np.ndarray:
        found = map(self._ids[field].get, texts, repeat(UNSEEN))
        return np.fromiter(found, dtype=np.int32, count=len(texts))


def _in_order_of_appearance(
    columns: Sequence[Values], codes: Sequence[np.ndarray], known: Sequence[np.ndarray]
) -> list[tuple[int, int]]:
    """(column, code) of every unseen text, by row, column and position in the column."""
    keys = []
    for number, column in enumerate(columns):
        unseen = np.flatnonzero(known[number] == UNSEEN)
        position = _first_positions(codes[number], len(known[number]))[unseen]
        keys.append(np.stack([column.rows[position], np.full(len(unseen), number), position, unseen]))
    row, number, position, unseen = np.concatenate(keys, axis=1)
    order = np.lexsort((position, number, row))
    return list(zip(number[order].tolist(), unseen[order].tolist(), strict=True))


def _first_positions(codes: np.ndarray, count: int) -> np.ndarray:
    """[count] where each code stands first."""
    first = np.empty(count, dtype=np.int64)
    first[codes[::-1]] = np.arange(len(codes) - 1, -1, -1)
    return first
