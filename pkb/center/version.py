"""One version of what a base knows, mapped from its files.

Shapes: B keys, N entries, K vectors of a part, d their width.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pkb.center.keys import Ids, Key, pairs_of
from pkb.center.manifest import MANIFEST, REMEDY, Manifest, keys_file, sha256_of, values_file
from pkb.errors import DataError
from pkb.knowledge import Part

Found = dict[str, NDArray[np.float32]]  # by part, [B, K, d]


class Version:
    """Answers for any keys; nothing of it changes, so any number of threads may ask."""

    def __init__(self, manifest: Manifest, keys: Mapping[Key, Ids], values: Found) -> None:
        """`keys` ascend, [N]; `values` are [N + 1, K d], the first row for keys that are unknown."""
        self.manifest, self.keys, self.values = manifest, keys, values
        self._scales = {
            name: (np.array(mean, np.float32), np.float32(by)) for name, (mean, by) in manifest.scales.items()
        }

    @property
    def number(self) -> int:
        return self.manifest.version

    @classmethod
    def open(cls, folder: Path) -> Version:
        """Map the files of a version once all are known to be those that were written; DataError names one that is not.

        Reads every byte once; the values stay on disk until they are asked for.
        """
        manifest = Manifest.read(folder / MANIFEST)
        for name, digest in manifest.files.items():
            file = folder / name
            if not file.is_file() or sha256_of(file) != digest:
                raise DataError(f"{file}: missing or damaged (its hash differs from the manifest); {REMEDY}")
        keys: dict[Key, Ids] = {
            key: _mapped(folder / keys_file(key), np.dtype("<i8"), (n,)) for key, n in manifest.entries.items()
        }
        values = {
            part.name: _mapped(
                folder / values_file(part.name),
                np.dtype("<f4"),
                (1 + manifest.entries[manifest.keys[part.name]], part.vectors * part.width),
            )
            for part in (*manifest.parts, *manifest.hidden)
            if part.factors is None
        }
        return cls(manifest, keys, values)

    def rows(self, key: Key, wanted_B: Ids) -> Ids:
        """Find the row of each key among the values, [B]; 0 for one that is unknown."""
        known_N = self.keys[key]
        if not len(known_N):
            return np.zeros(len(wanted_B), np.int64)
        place_B = np.searchsorted(known_N, wanted_B)
        there_B = known_N.take(place_B, mode="clip") == wanted_B
        return np.where(there_B, place_B + 1, 0)

    def knowledge(self, user_B: Ids, item_B: Ids, category_B: Ids) -> Found:
        """Look up what is known of so many users and items with their categories."""
        return self.told(self.manifest.parts, self.rows_by_key(user_B, item_B, category_B))

    def rows_by_key(self, user_B: Ids, item_B: Ids, category_B: Ids) -> dict[Key, Ids]:
        """Find the rows of these, [B], by every key that there is."""
        return {key: self.rows(key, wanted_B) for key, wanted_B in self._wanted(user_B, item_B, category_B).items()}

    def told(self, parts: Iterable[Part], rows: Mapping[Key, Ids]) -> Found:
        """Read parts in these rows of their keys."""

        def read(name: str) -> NDArray[np.float32]:
            return self.values[name].take(rows[self.manifest.keys[name]], axis=0)

        def in_base_units(name: str) -> NDArray[np.float32]:
            mean, by = self._scales[name]
            return read(name) * by + mean

        found: Found = {}
        for part in parts:
            if part.factors is None:
                known = read(part.name)
            else:
                of_user, of_item = (in_base_units(name) for name in part.factors)
                mean, by = self._scales[part.name]
                known = (of_user * of_item - mean) / by
            found[part.name] = known.reshape(len(known), part.vectors, part.width)
        return found

    def known(self, user_B: Ids, item_B: Ids, category_B: Ids) -> dict[Key, NDArray[np.bool_]]:
        """Tell of which of these there is an entry, by key, [B]."""
        return {key: rows_B > 0 for key, rows_B in self.rows_by_key(user_B, item_B, category_B).items()}

    def _wanted(self, user_B: Ids, item_B: Ids, category_B: Ids) -> dict[Key, Ids]:
        # Of another type than the keys on disk, all of these would be converted at every search.
        user_B, item_B, category_B = (np.asarray(ids, np.int64) for ids in (user_B, item_B, category_B))
        wanted: dict[Key, Ids] = {"user": user_B, "item": item_B, "pair": pairs_of(user_B, category_B)}
        return {key: wanted[key] for key in self.keys}


def _mapped(file: Path, kind: np.dtype, shape: tuple[int, ...]) -> Any:
    """Map a whole file as an array of this shape, one of no entries too."""
    if not file.stat().st_size:
        return np.zeros(shape, kind)
    return np.asarray(np.memmap(file, kind, "r", shape=shape))
