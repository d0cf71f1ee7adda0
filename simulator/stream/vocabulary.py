"""Values -> ids, in order of first appearance; see `pkb/batch.py` for what the ids mean.

It takes two steps, since rows are read in the order of their files and ids follow time: `Vocabulary` gives every
value a provisional id as it arrives, so that rows are sorted as small numbers; `Numbering` then makes them final.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pkb.batch import MISSING
from simulator.stream.keys import UNSEEN, KeyIds, text_keys

WORDS = pa.schema([("provisional", pa.int32()), ("field", pa.string()), ("text", pa.string())])


@dataclass(frozen=True, kw_only=True)
class Values:
    """Texts of one field or history in a stretch of the raw files."""

    field: str  # whose ids they get
    texts: pa.Array


class Vocabulary:
    """Provisional ids of the values of all fields: global and dense, in any order."""

    def __init__(self, fields: Sequence[str], *, missing: Iterable[str] = (), usual: Iterable[str] = ()) -> None:
        """`missing` texts mean that there is no value; values that are `usual` texts for that are counted."""
        self._seeds = {field: number for number, field in enumerate(fields)}
        self._missing = pa.array([None, *missing], pa.string())
        self._marks = pa.array([None, *missing, *usual], pa.string())
        self.usual: Counter[tuple[str, str]] = Counter()  # by field and text
        self.values: Counter[str] = Counter()  # all of a field, those in lists and missing ones included
        self._ids = KeyIds()
        self.size = 1 + len(fields)  # ids below it are taken

    def encode(self, columns: Sequence[Values]) -> tuple[list[np.ndarray], pa.Table]:
        """The int32 ids of each column's texts, and the values that were new, as WORDS."""
        coded = [column.texts.dictionary_encode(null_encoding="encode") for column in columns]
        keys = [text_keys(c.dictionary, self._seeds[v.field]) for c, v in zip(coded, columns, strict=True)]
        missing = [self._is_missing(code, column.field) for code, column in zip(coded, columns, strict=True)]
        every, first, place = np.unique(np.concatenate(keys), return_index=True, return_inverse=True)
        missing_every = np.concatenate(missing)[first]
        ids = np.where(missing_every, MISSING, self._ids.find(every))
        new = np.flatnonzero(ids == UNSEEN)
        ids[new] = np.arange(self.size, self.size + len(new), dtype=np.int32)
        self._ids.add(every[new], ids[new].astype(np.int32))
        self.size += len(new)

        edges = np.cumsum([0, *map(len, keys)])
        words = _words(columns, [code.dictionary for code in coded], edges, first[new], ids[new])
        unique = np.split(ids[place].astype(np.int32), edges[1:-1])
        return [u[code.indices.to_numpy()] for u, code in zip(unique, coded, strict=True)], words

    def _is_missing(self, coded: pa.DictionaryArray, field: str) -> np.ndarray:
        """[distinct texts] bool; `usual` texts that mean nothing here are counted."""
        self.values[field] += len(coded)
        missing = _in(coded.dictionary, self._marks)
        if missing.any():
            (marked,) = np.nonzero(missing)
            missing[marked] = _in(coded.dictionary.take(pa.array(marked)), self._missing)
            for place in marked[~missing[marked]].tolist():
                times = pc.sum(pc.equal(coded.indices, place)).as_py()
                self.usual[field, coded.dictionary[place].as_py()] += times
        return missing


def _in(texts: pa.Array, among: pa.Array) -> np.ndarray:
    held: np.ndarray = pc.is_in(texts, value_set=among).to_numpy(zero_copy_only=False).copy()
    return held


def _words(
    columns: Sequence[Values], texts: Sequence[pa.Array], edges: np.ndarray, places: np.ndarray, ids: np.ndarray
) -> pa.Table:
    """WORDS of the new values that stand at `places` of all columns' texts end to end."""
    order = np.argsort(places)
    places, ids = places[order], ids[order]
    cuts = np.searchsorted(places, edges)
    parts = []
    for number, (column, unique) in enumerate(zip(columns, texts, strict=True)):
        mine = slice(cuts[number], cuts[number + 1])
        taken = unique.take(pa.array(places[mine] - edges[number])).cast(pa.string())
        parts.append(pa.table([pa.array(ids[mine]), pa.repeat(column.field, len(taken)), taken], names=WORDS.names))
    return pa.concat_tables(parts).cast(WORDS)


@dataclass(frozen=True, kw_only=True)
class Ids:
    """Provisional ids of one field or history in a stretch of the log."""

    ids: np.ndarray  # int32
    rows: np.ndarray  # row of each, ascending


class Numbering:
    """Final ids: a value's is the next free one when it first appears in the log.

    Values that appear in one call are numbered by row, within a row by their place in the list of columns, and
    within a list by position. So the ids do not depend on how the log is cut into calls.
    """

    def __init__(self, fields: int, size: int, first: int | None = None) -> None:
        """For provisional ids below `size`; `first` is the first final one, where it is not the first provisional."""
        taken = 1 + fields  # ids below it are the same in both
        self.size = taken if first is None else first
        self._final = np.full(size, UNSEEN, dtype=np.int32)
        self._final[:taken] = np.arange(taken)
        self._first = np.empty(size, dtype=np.int64)  # scratch

    def number(self, columns: Sequence[Ids]) -> list[np.ndarray]:
        """The final ids of each column."""
        appear = [self._appearances(number, column) for number, column in enumerate(columns)]
        row, number, position, provisional = np.concatenate(appear, axis=1)
        in_order = provisional[np.lexsort((position, number, row))]
        new = in_order[self._firsts(in_order)]
        self._final[new] = np.arange(self.size, self.size + len(new))
        self.size += len(new)
        return [self._final[column.ids] for column in columns]

    def pairs(self) -> pa.Table:
        """Columns provisional and id, of the values that have appeared."""
        (provisional,) = np.nonzero(self._final != UNSEEN)
        return pa.table({"provisional": provisional.astype(np.int32), "id": self._final[provisional]})

    def _appearances(self, number: int, column: Ids) -> np.ndarray:
        """[4, unseen values] row, column, position and provisional id, where each stands first in the column."""
        position = np.flatnonzero(self._final[column.ids] == UNSEEN)
        position = position[self._firsts(column.ids[position])]
        return np.stack([column.rows[position], np.full(len(position), number), position, column.ids[position]])

    def _firsts(self, provisional: np.ndarray) -> np.ndarray:
        """Places of the first of equal ids."""
        place = np.arange(len(provisional))
        self._first[provisional[::-1]] = place[::-1]
        return np.flatnonzero(self._first[provisional] == place)
