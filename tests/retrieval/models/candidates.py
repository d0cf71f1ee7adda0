"""Candidates from a real index, for the models that choose among a user's behaviours."""

from __future__ import annotations

from pkb.batch import Batch, Neighbours
from retrieval.pool import Pool
from retrieval.user import UserBehavioursIndex


def candidates_of(pool: Pool, queries: Batch, k: int, until: int) -> Neighbours:
    """The newest `k` behaviours of each query's user, and how telling the query's own values are."""
    index = UserBehavioursIndex(pool)
    found = index.search(queries, k, until=until)
    rows = pool.take(found.rows_BK)
    assert rows.ts is not None
    assert queries.ts is not None
    age_BK = queries.ts.unsqueeze(1) - rows.ts.view_as(found.rows_BK)
    return Neighbours(
        ids_BKF=rows.ids_BF.view(*found.rows_BK.shape, -1),
        label_BK=rows.label.view_as(found.rows_BK),
        age_BK=(age_BK * found.mask).int(),
        present_BK=found.mask,
        idf_BF=index.idf(queries, until=until),
    )
