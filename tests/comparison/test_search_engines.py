"""The field-match index ranks as search engines of the package index do, up to ties."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.retrieval import SCHEMA, K, bm25s_scores, pool_of, queries_of, tantivy_scores
from retrieval.field_match import FieldMatchIndex

ROWS, QUERIES = 3_000, 40
OF_BM25 = 2.2 / (1 + 1.2 * (1 - 0.75 + 0.75))  # (k1 + 1) tf / (tf + k1 (1 - b + b length / mean length)), at tf = 1


@pytest.mark.parametrize("scores_of", [bm25s_scores, tantivy_scores])
def test_the_best_rows_have_the_scores_that_bm25_gives_them(scores_of: object) -> None:
    pool, queries = pool_of(ROWS), queries_of(QUERIES)
    ours = FieldMatchIndex(pool, SCHEMA.names).search(queries, K, until=ROWS).scores_BK.numpy()
    documents = np.concatenate([segment.rows.ids_BF.numpy() for segment in pool.segments])
    theirs = scores_of(documents)(queries.ids_BF.numpy())  # type: ignore[operator]
    assert theirs == pytest.approx(ours / ours[0, 0] * theirs[0, 0], rel=1e-4)
