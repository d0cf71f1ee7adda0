"""What a version adds to a hidden layer of a model that is served: the plug is applied to keys instead of rows.

    added(u, i, c) = added_user(u) + added_item(i) + added_pair(u, c)                                  (KEEP, eq. 5)

An adapter of the plug reads its part alone, and a part is decided by its key, so the candidates of a request have most
of the plug's work in common. Where what is added fits in memory for all entries of a key, it is computed when the model
is loaded, and a request looks it up; else it is computed once for each distinct key of the request. A product is
decided by two keys: it is computed for each row.

Shapes: B rows, U distinct keys, N entries of a key, H hidden width.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import reduce

import numpy as np
import torch
from torch import Tensor

from pkb.batch import Batch, Schema
from pkb.center.keys import Ids, Key, ids_of
from pkb.center.version import Version
from pkb.knowledge import Part
from pkb.plug import AddedToHidden, Plugged

MOST_BYTES = 64 << 20  # of what is kept in memory: 65,000 entries at H = 256, at which a version loads in a second
ROWS = 8192  # adapted at a time


class Folded:
    """Says what a version behind a plug says, up to rounding; neither may change any more."""

    def __init__(self, version: Version, schema: Schema, plug: AddedToHidden, most_bytes: int = MOST_BYTES) -> None:
        self.version, self.schema, self.plug = version, schema, plug
        manifest, parts = version.manifest, version.manifest.parts
        self._products = [part for part in parts if part.factors is not None]
        self._parts: dict[Key, list[Part]] = {}
        for part in (part for part in parts if part.factors is None):
            self._parts.setdefault(manifest.keys[part.name], []).append(part)
        self._tables: dict[Key, Tensor] = {}  # [N + 1, H] each; the smallest come first
        for key in sorted(self._parts, key=manifest.entries.__getitem__):
            rows_N = np.arange(1 + manifest.entries[key])
            most_bytes -= 4 * len(rows_N) * plug.width
            if most_bytes >= 0:
                at_a_time = np.split(rows_N, range(ROWS, len(rows_N), ROWS))
                self._tables[key] = torch.cat([self._computed(key, rows_U) for rows_U in at_a_time])

    def plugged(self, batch: Batch) -> Plugged:
        """Compute what enters the model with these rows."""
        rows = self.version.rows_by_key(*ids_of(batch, self.schema, self.version.manifest.category))
        return self.plug.entering(reduce(Tensor.add_, self._added(rows)))

    def _added(self, rows: Mapping[Key, Ids]) -> Iterator[Tensor]:
        """Compute what each key's parts and all products add, [B, H]."""
        for key in self._parts:
            if key in self._tables:
                table_NH, place_B = self._tables[key], rows[key]
            else:
                rows_U, place_B = np.unique(rows[key], return_inverse=True)
                table_NH = self._computed(key, rows_U)
            yield table_NH.index_select(0, torch.from_numpy(place_B).to(table_NH.device))
        if self._products:
            yield self._summed(self._products, rows)

    def _computed(self, key: Key, rows_U: Ids) -> Tensor:
        return self._summed(self._parts[key], {key: rows_U})

    @torch.no_grad()
    def _summed(self, parts: Sequence[Part], rows: Mapping[Key, Ids]) -> Tensor:
        """Apply the plug to what is known in these rows of the keys, [U, H]."""
        device = next(self.plug.parameters()).device
        known = {name: torch.from_numpy(values).to(device) for name, values in self.version.told(parts, rows).items()}
        return self.plug.summed(known, [part.name for part in parts])
