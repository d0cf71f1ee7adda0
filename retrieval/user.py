"""The user's own old behaviours: SIM's hard and soft search, and UBR's.

A behaviour is a pool row with a positive first label. All of them look only at the behaviours of the query's user; a
query without a user finds nothing. SIM's soft search and UBR's also come in halves: an index of the newest behaviours,
from which a model that is being trained chooses by weights that no index could keep up with.

Shapes: B queries, F fields, K neighbours, C behaviours of one user, D width of a vector.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pkb.batch import MISSING, Batch
from pkb.errors import DataError
from retrieval.encoding import Encoder, encode
from retrieval.growing import Growing
from retrieval.idf import idf
from retrieval.leaders import Rows, Scores, best_of
from retrieval.pool import Pool, Segment
from retrieval.postings import Postings
from retrieval.retriever import Found, Retriever


class UserRetriever(Retriever):
    """Ranks the behaviours of the query's user."""

    def __init__(self, pool: Pool) -> None:
        super().__init__(pool)
        self._postings = Postings()
        self._user = pool.schema.user_column

    def _add(self, segment: Segment) -> None:
        behaviours = segment.rows.label.numpy() > 0
        ids_BF = segment.rows.ids_BF.numpy()
        # A missing user has no posting list: so no row without a click enters one.
        users = np.where(behaviours, ids_BF[:, self._user], np.int32(MISSING))
        self._postings.append(users[:, None], segment.first_row)

    def _behaviours(self, queries: Batch, segments: int) -> list[NDArray[np.int32]]:
        """For each query the pool rows of its user's behaviours, oldest first."""
        users_B1 = queries.ids_BF[:, [self._user]].cpu().numpy()
        starts_B1S, lengths_B1S = self._postings.find(users_B1, segments)
        every, ends_B1S = self._postings.rows, starts_B1S + lengths_B1S
        return [
            np.concatenate([every[:0], *(every[start:end] for start, end in zip(starts, ends, strict=True))])
            for starts, ends in zip(starts_B1S[:, 0].tolist(), ends_B1S[:, 0].tolist(), strict=True)
        ]


def newest(rows: NDArray[np.int32], k: int) -> tuple[Rows, Scores]:
    """The last `k` of a user's behaviours, newest first; every row scores 1."""
    last = rows[::-1][:k].astype(np.int64)
    return last, np.ones(len(last))


class Holding:
    """How many behaviours of all users hold each value, and so how telling the value is."""

    def __init__(self) -> None:
        self._postings = Postings()
        self._behaviours_before = [0]  # each segment, and behind the last

    @property
    def bytes(self) -> int:
        return self._postings.bytes

    def append(self, ids_NF: NDArray[np.int32], behaviours_N: NDArray[np.bool_]) -> None:
        """Take in a segment's rows, of which some are behaviours."""
        self._postings.append(ids_NF[behaviours_N], first_row=0)
        self._behaviours_before.append(self._behaviours_before[-1] + int(behaviours_N.sum()))

    def idf(self, ids_BF: NDArray[np.int32], segments: int) -> NDArray[np.float64]:
        """Give the IDF of each value among the behaviours of the first `segments` segments; 0 where none holds it."""
        _, lengths_BFS = self._postings.find(ids_BF, segments)
        telling_BF: NDArray[np.float64] = idf(lengths_BFS.sum(axis=2), self._behaviours_before[segments])
        return telling_BF


class UserBehavioursIndex(UserRetriever):
    """The newest behaviours, whatever they are: what soft search and UBR's model choose from.

    Memory: 4 bytes a behaviour and field (the user's twice), 12 a distinct value and period.
    """

    def __init__(self, pool: Pool) -> None:
        super().__init__(pool)
        self._holding = Holding()
        self.extend()

    @property
    def bytes(self) -> int:
        return self._postings.bytes + self._holding.bytes

    def idf(self, queries: Batch, *, until: int) -> Tensor:
        """How telling each of the queries' values is among the behaviours of all users that end by `until`.

        [B, F] float32; FutureError as in `search`.
        """
        ids_BF = queries.ids_BF.cpu().numpy()
        return torch.from_numpy(self._holding.idf(ids_BF, self._segments(queries, 1, until))).float()

    def _add(self, segment: Segment) -> None:
        super()._add(segment)
        self._holding.append(segment.rows.ids_BF.numpy(), segment.rows.label.numpy() > 0)

    def _search(self, queries: Batch, k: int, segments: int) -> Found:
        return Found.of([newest(rows, k) for rows in self._behaviours(queries, segments)], k)


class UserCategoryIndex(UserRetriever):
    """SIM's hard search (Pi et al. 2020, section 3.2): the newest behaviours in the query's category.

    Every row scores 1, and among equals the newer ones come first. Memory: 4 bytes a row, 4 a behaviour,
    12 a user and period; half as much again where the arrays have just grown, here and below.
    """

    def __init__(self, pool: Pool, category: str) -> None:
        super().__init__(pool)
        self._column = pool.column(category)
        self._category_N: Growing[np.int32] = Growing(np.int32)
        self.extend()

    @property
    def bytes(self) -> int:
        return self._category_N.bytes + self._postings.bytes

    def _add(self, segment: Segment) -> None:
        super()._add(segment)
        self._category_N.append(segment.rows.ids_BF[:, self._column].numpy())

    def _search(self, queries: Batch, k: int, segments: int) -> Found:
        category_B = queries.ids_BF[:, self._column].cpu().numpy()
        best = []
        for category, rows in zip(category_B, self._behaviours(queries, segments), strict=True):
            alike = rows[(self._category_N.values[rows] == category) & (category != MISSING)]
            best.append(newest(alike, k))
        return Found.of(best, k)


class UserSimilarityIndex(UserRetriever):
    """SIM's soft search (Pi et al. 2020, equation 2): the behaviours of the largest inner product with the query.

    The encoder's weights are read when a row is indexed and when it is asked for: after training it further, build
    a new index. Memory: 4 bytes a row and dimension, 4 a behaviour, 12 a user and period.
    """

    def __init__(self, pool: Pool, encoder: Encoder, width: int) -> None:
        super().__init__(pool)
        self._encoder = encoder
        self._width = width
        self._vectors_ND: Growing[np.float32] = Growing(np.float32, width)
        self.extend()

    @property
    def bytes(self) -> int:
        return self._vectors_ND.bytes + self._postings.bytes

    def _add(self, segment: Segment) -> None:
        super()._add(segment)
        self._vectors_ND.append(encode(self._encoder, segment.rows, self._width))

    def _search(self, queries: Batch, k: int, segments: int) -> Found:
        query_BD = encode(self._encoder, queries, self._width)
        best: list[tuple[Rows, Scores]] = []
        for query, rows in zip(query_BD, self._behaviours(queries, segments), strict=True):
            scores = (self._vectors_ND.values[rows] @ query).astype(np.float64)
            best.append(best_of(rows.astype(np.int64), scores, k))
        return Found.of(best, k)


class UserMatchIndex(UserRetriever):
    """UBR's search (Qin et al. 2020, section 3.3): the behaviours that share the most telling fields with the query.

    The score is that of the field-match index, with N and n counted over the behaviours of all users. Which fields a
    query asks with may differ from query to query: UBR learns it. A behaviour that shares none of them is not found.
    Memory: 4 bytes a row and field, 4 a behaviour and field (the user's too), 12 a distinct value and period.
    """

    def __init__(self, pool: Pool, fields: Sequence[str]) -> None:
        super().__init__(pool)
        self._columns = [pool.column(name) for name in fields]
        self._ids_NF: Growing[np.int32] = Growing(np.int32, len(fields))
        self._holding = Holding()
        self.extend()

    @property
    def bytes(self) -> int:
        return self._ids_NF.bytes + self._postings.bytes + self._holding.bytes

    def search_by(self, queries: Batch, asked_BF: Tensor, k: int, *, until: int) -> Found:
        """Search as query b asks, with those fields alone where `asked_BF[b]` is true, in the order given."""
        if asked_BF.shape != (len(queries), len(self._columns)):
            raise DataError(
                f"search: asked_BF is {tuple(asked_BF.shape)}, but there are {len(queries)} queries "
                f"and {len(self._columns)} fields"
            )
        ids_BF = self._asked(queries) * asked_BF.bool().cpu().numpy()  # a field not asked with is as one missing
        return self._rank(queries, ids_BF, k, self._segments(queries, k, until))

    def _add(self, segment: Segment) -> None:
        super()._add(segment)
        ids_BF = segment.rows.ids_BF[:, self._columns].numpy()
        self._ids_NF.append(ids_BF)
        self._holding.append(ids_BF, segment.rows.label.numpy() > 0)

    def _search(self, queries: Batch, k: int, segments: int) -> Found:
        return self._rank(queries, self._asked(queries), k, segments)

    def _asked(self, queries: Batch) -> NDArray[np.int32]:
        ids_BF: NDArray[np.int32] = queries.ids_BF[:, self._columns].cpu().numpy()
        return ids_BF

    def _rank(self, queries: Batch, ids_BF: NDArray[np.int32], k: int, segments: int) -> Found:
        idf_BF = self._holding.idf(ids_BF, segments)
        best: list[tuple[Rows, Scores]] = []
        for ids_F, idf_F, rows in zip(ids_BF, idf_BF, self._behaviours(queries, segments), strict=True):
            scores = (self._ids_NF.values[rows] == ids_F) @ idf_F
            shared = scores > 0
            best.append(best_of(rows[shared].astype(np.int64), scores[shared], k))
        return Found.of(best, k)
