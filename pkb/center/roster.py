"""Whom a base knows: the users, the items and the pairs of user and category that it has learned.

Of each user and item the latest row is kept, whose other fields and histories are what the base reads beside the id.

Shapes: B rows, U users, I items, P pairs, V fields that are categories.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pkb.batch import MISSING, Batch, Schema, concatenate
from pkb.center.keys import Ids, Key, category_of, ids_of, pairs_of
from pkb.columns import from_tensors, to_tensors
from pkb.embedding import EmbeddingTable


class Roster:
    """Grows with the rows that a base takes in, and is pruned as the base's tables are."""

    def __init__(self, schema: Schema, category: str | None = None) -> None:
        self.schema, self.category = schema, category_of(schema, category)
        self.latest: dict[Key, Batch] = {}  # by user and by item, ascending by id
        self.pairs: Ids = np.empty(0, np.int64)  # [P], ascending
        self.seen = np.empty(0, np.int32)  # [P], the period in which each was seen last

    def add(self, rows: Batch, period: int = 0) -> None:
        """Take in rows of a period, in the order of their time."""
        if not len(rows):
            return
        user_B, _, category_B = ids_of(rows, self.schema, self.category)
        fresh = np.unique(pairs_of(user_B, category_B))
        self.pairs, first = np.unique(np.concatenate([fresh, self.pairs]), return_index=True)
        self.seen = np.concatenate([np.full(len(fresh), period, np.int32), self.seen])[first]
        newest_first = _fields_of(rows).select(torch.arange(len(rows) - 1, -1, -1))
        columns: dict[Key, int] = {"user": self.schema.user_column, "item": self.schema.item_column}
        for key, column in columns.items():
            known = [newest_first, *([self.latest[key]] if key in self.latest else [])]
            together = concatenate(known)
            _, first = np.unique(together.ids_BF[:, column].numpy(), return_index=True)
            self.latest[key] = together.select(torch.from_numpy(first))

    def prune(self, tables: Iterable[EmbeddingTable], since: int) -> None:
        """Forget whose rows these tables gave up (`EmbeddingTable.renew`), and pairs unseen `since` this period."""
        self._keep_pairs(self.seen >= since)
        owners = [table.owners for table in tables if table.owners is not None]
        if not owners:
            return
        there = np.unique(np.concatenate([these.ids.cpu().numpy() for these in owners]))
        for key, rows in self.latest.items():
            self.latest[key] = rows.select(torch.from_numpy(np.isin(self.keys(key), there)))
        self._keep_pairs(np.isin(self.pairs >> 32, there))  # a row is made of that of its user

    def _keep_pairs(self, those: NDArray[np.bool_]) -> None:
        self.pairs, self.seen = self.pairs[those], self.seen[those]

    @property
    def nbytes(self) -> int:
        """Bytes of all that it holds."""
        return sum(held.numel() * held.element_size() for held in self.to_tensors().values())

    def keys(self, key: Key) -> Ids:
        """Give the keys of one kind, ascending."""
        if key == "pair":
            return self.pairs
        if key not in self.latest:
            return np.empty(0, np.int64)
        column = self.schema.user_column if key == "user" else self.schema.item_column
        return self.latest[key].ids_BF[:, column].numpy().astype(np.int64)

    def rows(self, key: Key, size: int) -> Iterator[Batch]:
        """Yield rows that a base is asked about, a row for each key, in their order, `size` at a time.

        First comes one of which everything is new. A pair's is the user's latest, with an item of which the category is
        all that is known.
        """
        yield self._blank()
        keys = self.keys(key)
        if key == "pair":
            users = self.keys("user")
            for start in range(0, len(keys), size):
                some = keys[start : start + size]
                place = torch.from_numpy(np.searchsorted(users, some >> 32))
                category_B = torch.from_numpy(some & 0xFFFFFFFF)
                yield self._through_category(self.latest["user"].select(place), category_B)
        elif len(keys):
            yield from self.latest[key].minibatches(size)

    def _blank(self) -> Batch:
        """One row, new to any model in every field."""
        schema, new_V = self.schema, 1 + torch.arange(len(self.schema.names_of("category")))
        lists = {name: torch.zeros(1, 1, dtype=torch.int32) for name in schema.names_of("list")}
        numbers = torch.full((1, len(schema.numbers)), torch.nan) if schema.numbers else None
        vectors = {name: torch.full((1, vector.length), torch.nan) for name, vector in schema.vectors.items()}
        return Batch(
            row_id=torch.zeros(1, dtype=torch.int64),
            ids_BF=schema.ids(new_V.int().unsqueeze(0), lists, numbers, vectors),
            label=torch.zeros(1),
            lists=lists,
            numbers_BN=numbers,
            vectors=vectors,
            histories={history.name: torch.zeros(1, 1, dtype=torch.int32) for history in schema.histories},
        )

    def _through_category(self, rows: Batch, category_B: Tensor) -> Batch:
        """Put in place of every row's item one of which nothing but the category is known."""
        blank, names, items = self._blank(), self.schema.names, self.schema.of_item
        ids_BF, unknown = rows.ids_BF.clone(), [names.index(name) for name in items]
        ids_BF[:, unknown] = blank.ids_BF[:, unknown]
        ids_BF[:, names.index(self.category)] = category_B.int()
        lists = {name: ids.where(torch.tensor(name not in items), MISSING) for name, ids in rows.lists.items()}
        vectors = {name: v.where(torch.tensor(name not in items), torch.nan) for name, v in rows.vectors.items()}
        numbers_BN = rows.numbers_BN
        if numbers_BN is not None:
            others = torch.tensor([name not in items for name in self.schema.names_of("number")])
            numbers_BN = numbers_BN.where(others, torch.nan)
        return replace(rows, ids_BF=ids_BF, lists=lists, vectors=vectors, numbers_BN=numbers_BN)

    def to_tensors(self) -> dict[str, Tensor]:
        """Give all that it holds."""
        held = {f"{key}.{name}": t for key, rows in self.latest.items() for name, t in to_tensors(rows).items()}
        return held | {"pairs": torch.from_numpy(self.pairs), "seen": torch.from_numpy(self.seen)}

    @classmethod
    def from_tensors(cls, schema: Schema, category: str, held: dict[str, Tensor]) -> Self:
        """Take back what `to_tensors` gave."""
        roster = cls(schema, category)
        roster.pairs, roster.seen = held["pairs"].numpy(), held["seen"].numpy()
        keys: tuple[Key, ...] = ("user", "item")
        for key in keys:
            columns = {name.removeprefix(f"{key}."): t for name, t in held.items() if name.startswith(f"{key}.")}
            if columns:
                roster.latest[key] = from_tensors(columns)
        return roster


def _fields_of(rows: Batch) -> Batch:
    """Rows without what no knowledge is decided by."""
    return Batch(
        row_id=torch.zeros(len(rows), dtype=torch.int64),
        ids_BF=rows.ids_BF,
        label=torch.zeros(len(rows)),
        lists=rows.lists,
        numbers_BN=rows.numbers_BN,
        vectors=rows.vectors,
        histories=rows.histories,
    )
