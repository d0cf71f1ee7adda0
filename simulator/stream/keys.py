"""64-bit keys of texts, and a map from keys to ids that is a few sorted arrays.

A Python dictionary of str takes some 180 bytes a value; here a value takes 12, and a new array beside the old ones
while they merge. Two texts of one field that share a key would share an id: with n values that happens to
any pair with a probability of about n^2 / 2^65, 1 in 135,000 for 16.5 million values.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pyarrow as pa

UNSEEN = -1
WORD = 8  # bytes taken into a key at a time
_FIRST_BYTES = np.array([(1 << 8 * count) - 1 for count in range(WORD + 1)], dtype=np.uint64)  # masks of a word


def text_keys(texts: pa.Array, seed: int | np.ndarray) -> np.ndarray:
    """[texts] uint64 key of each, by one seed or each by its own.

    Those of texts of up to eight bytes differ for sure if equally long.
    """
    start, length, words = _layout(texts)
    key = _mixed(length.astype(np.uint64) ^ _mixed(np.atleast_1d(seed).astype(np.uint64)))
    longer = np.arange(len(length))
    done = 0
    while len(longer := longer[length[longer] > done]):
        taken = np.minimum(length[longer] - done, WORD)
        key[longer] = _mixed(key[longer] ^ (words[start[longer] + done] & _FIRST_BYTES[taken]))
        done += WORD
    return key


def _layout(texts: pa.Array) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Where each text begins, its bytes, and the eight bytes from every place on, as a number."""
    array = texts.cast(pa.string())
    _, offsets, data = array.buffers()
    edges = np.zeros(1, dtype=np.int64)
    if len(array):
        edges = np.frombuffer(offsets, dtype=np.int32)[array.offset : array.offset + len(array) + 1].astype(np.int64)
    held = np.frombuffer(data, dtype=np.uint8) if data else np.empty(0, dtype=np.uint8)
    padded = np.concatenate([held, np.zeros(WORD, dtype=np.uint8)])
    words = np.ndarray(len(held) + 1, dtype="<u8", buffer=padded, strides=(1,))
    return edges[:-1], np.diff(edges), words


def _mixed(x: np.ndarray) -> np.ndarray:
    """A permutation of the 64-bit numbers in which every bit depends on every other (MurmurHash3's finaliser)."""
    x = (x ^ (x >> np.uint64(33))) * np.uint64(0xFF51AFD7ED558CCD)
    x = (x ^ (x >> np.uint64(33))) * np.uint64(0xC4CEB9FE1A85EC53)
    mixed: np.ndarray = x ^ (x >> np.uint64(33))
    return mixed


class _Run(NamedTuple):
    keys: np.ndarray  # uint64, ascending
    ids: np.ndarray  # int32


class KeyIds:
    """uint64 keys -> int32 ids.

    Each addition is a sorted run; a run that is not more than half as long as the one before it joins it. So there
    are about log2(n) runs, and a key moves about as often.
    """

    def __init__(self) -> None:
        self._runs: list[_Run] = []  # from long to short

    @property
    def bytes(self) -> int:
        return sum(run.keys.nbytes + run.ids.nbytes for run in self._runs)

    def find(self, keys: np.ndarray) -> np.ndarray:
        """[keys] int32, UNSEEN where there is none; fast if `keys` ascend."""
        ids = np.full(len(keys), UNSEEN, dtype=np.int32)
        left = np.arange(len(keys))
        for run in self._runs:
            wanted = keys[left]
            at = np.minimum(np.searchsorted(run.keys, wanted), len(run.keys) - 1)
            found = run.keys[at] == wanted
            ids[left[found]] = run.ids[at[found]]
            left = left[~found]
        return ids

    def add(self, keys: np.ndarray, ids: np.ndarray) -> None:
        """Keys that are new, ascending."""
        if not len(keys):
            return
        run = _Run(keys, ids)
        while self._runs and len(self._runs[-1].keys) < 2 * len(run.keys):
            run = _merged(self._runs.pop(), run)
        self._runs.append(run)


def _merged(one: _Run, other: _Run) -> _Run:
    at = np.searchsorted(one.keys, other.keys) + np.arange(len(other.keys))
    of_one = np.ones(len(one.keys) + len(other.keys), dtype=bool)
    of_one[at] = False

    def woven(first: np.ndarray, second: np.ndarray) -> np.ndarray:
        both = np.empty(len(of_one), dtype=first.dtype)
        both[of_one], both[at] = first, second
        return both

    return _Run(woven(one.keys, other.keys), woven(one.ids, other.ids))
