"""A search pool and the indexes on it that models ask for, and what they find as columns of a batch.

Shapes: B queries, F fields, K neighbours.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from torch import Tensor

from pkb.batch import Batch, History, Neighbours, Schema, every_column
from pkb.errors import SettingError
from retrieval.dense import DenseIndex
from retrieval.encoding import Encoder
from retrieval.faiss_kinds import DenseSettings
from retrieval.pool import Pool
from retrieval.retriever import Retriever

AT_ONCE = 8_192  # rows whose neighbours are put together in one go
BEHAVIOURS = "user_behaviours"
DENSE = "dense"  # the retriever whose index is made with a model's own encoder
GIVES_IDF = frozenset({BEHAVIOURS})  # retrievers that tell how rare a query's own values are
ROUNDED = frozenset({DENSE, BEHAVIOURS})  # what is read of these is chosen by a model, so that rounding can flip it


@dataclass(frozen=True, kw_only=True)
class RetrievalSettings:
    """What is searched, with what, and how many neighbours a row gets."""

    fields: list[str] = field(default_factory=list)  # that a query asks with; empty: those of user and item
    k: int = 10  # neighbours (RIM: 10)
    category: str = ""  # SIM's hard search; empty: the item's second field
    behaviours: int = 50  # of the user, the newest: what SIM's soft search and UBR choose from
    histories: list[str] = field(default_factory=list)  # fields; see `pool_histories`
    periods: int = 0  # newest ones that the pool holds; 0 is all
    dense: DenseSettings = field(default_factory=DenseSettings)

    def __post_init__(self) -> None:
        for name, least in (("k", 1), ("behaviours", 1), ("periods", 0)):
            if getattr(self, name) < least:
                raise SettingError(f"{name}={getattr(self, name)}: must be at least {least}")

    def query_fields(self, schema: Schema) -> list[str]:
        return list(self.fields) or [f.name for f in schema.fields if f.role in ("user", "item")]

    def category_field(self, schema: Schema) -> str:
        items = [f.name for f in schema.fields if f.role == "item" and f.name != schema.item]
        return self.category or (items or [schema.item])[0]

    def neighbours(self, name: str) -> int:
        """How many a retriever finds, at most."""
        return self.behaviours if name == BEHAVIOURS else self.k


def _field_match(pool: Pool, settings: RetrievalSettings) -> Retriever:
    from retrieval.field_match import FieldMatchIndex  # numba takes half a second: only who searches waits for it

    return FieldMatchIndex(pool, settings.query_fields(pool.schema))


def _user_category(pool: Pool, settings: RetrievalSettings) -> Retriever:
    from retrieval.user import UserCategoryIndex

    return UserCategoryIndex(pool, settings.category_field(pool.schema))


def _user_behaviours(pool: Pool, settings: RetrievalSettings) -> Retriever:
    from retrieval.user import UserBehavioursIndex

    return UserBehavioursIndex(pool)


RETRIEVERS: dict[str, Callable[[Pool, RetrievalSettings], Retriever]] = {
    "field_match": _field_match,
    "user_category": _user_category,
    BEHAVIOURS: _user_behaviours,
}


class IndexedPool:
    """Old impressions, and one index on them for each retriever by name."""

    def __init__(self, schema: Schema, names: Iterable[str], settings: RetrievalSettings) -> None:
        self.settings = settings
        self.pool = Pool(schema)
        self.retrievers = {name: RETRIEVERS[name](self.pool, settings) for name in sorted(names)}

    def append(self, rows: Batch, *, start: int, end: int) -> None:
        """Take in the rows of `[start, end)`; beyond `settings.periods` the oldest period is forgotten.

        To take in costs these rows; to forget, an index has to be built anew on those that are left.
        """
        kept = self.settings.periods
        if kept and len(self.pool.segments) >= kept:
            newest = self.pool.segments[len(self.pool.segments) - kept + 1 :]
            self.pool = Pool(self.pool.schema)
            for segment in newest:
                self.pool.append(segment.rows, start=segment.start, end=segment.end)
            self.retrievers = {name: RETRIEVERS[name](self.pool, self.settings) for name in self.retrievers}
        self.pool.append(rows, start=start, end=end)
        for retriever in self.retrievers.values():
            retriever.extend()

    def dense(self, encoder: Encoder, width: int, *, stored: Path | None = None) -> DenseIndex:
        """An index of the pool's vectors by this encoder; as it was stored in a folder, if one is given."""
        return DenseIndex(self.pool, encoder, width, self.settings.dense, stored=stored)

    def idf(self, name: str, queries: Batch, *, until: int) -> Tensor:
        """Tell how rare the queries' own values are among what a retriever of `GIVES_IDF` searches, [B, F]."""
        from retrieval.user import UserBehavioursIndex

        retriever = self.retrievers[name]
        assert isinstance(retriever, UserBehavioursIndex)
        starts = range(0, max(1, len(queries)), AT_ONCE)
        parts = (queries.select(slice(start, start + AT_ONCE)) for start in starts)
        return torch.cat([retriever.idf(some, until=until) for some in parts])

    def neighbours(self, rows_BK: Tensor, *, until: int, idf_BF: Tensor | None = None) -> Neighbours:
        """Give what was found, as columns of the queries; a neighbour's age is counted back from `until`.

        So a row's columns depend on the index alone, and are the same when the row is served.
        """
        starts = range(0, max(1, len(rows_BK)), AT_ONCE)
        parts = [neighbours(self.pool, rows_BK[start : start + AT_ONCE], until=until) for start in starts]
        joined: Neighbours = every_column(parts, torch.cat)
        return replace(joined, idf_BF=idf_BF)


def pool_histories(fields: Iterable[str]) -> tuple[History, ...]:
    """Histories for logs that come with none: the user's newest behaviours in the pool, one history a field.

    So do RIM, and ROK with it, feed DIN and its like.
    """
    return tuple(History(name=f"pool_{name}", field=name) for name in fields)


def as_histories(near: Neighbours, histories: Iterable[History], schema: Schema) -> dict[str, Tensor]:
    """Behaviours, newest first, as histories, oldest first; [B, K] each, padded behind the last."""
    length_B1 = near.present_BK.sum(dim=1, keepdim=True)
    place_K = torch.arange(near.present_BK.shape[1])
    oldest_first_BK = (length_B1 - 1 - place_K).clamp(min=0)
    there_BK = place_K < length_B1
    return {
        h.name: near.ids_BKF[:, :, schema.names.index(h.field)].gather(1, oldest_first_BK) * there_BK for h in histories
    }


def neighbours(pool: Pool, rows_BK: Tensor, *, until: int) -> Neighbours:
    """Fields, labels and ages of the pool rows that were found."""
    taken = pool.take(rows_BK)
    shape = rows_BK.shape
    present_BK = (taken.row_id >= 0).view(shape)
    assert taken.ts is not None
    age_BK = (until - taken.ts).clamp(max=2**31 - 1).view(shape) * present_BK
    return Neighbours(
        ids_BKF=taken.ids_BF.view(*shape, taken.ids_BF.shape[1]),  # of no rows -1 would be anything
        label_BK=taken.label.view(shape),
        age_BK=age_BK.int(),
        present_BK=present_BK,
    )
