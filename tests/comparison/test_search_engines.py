"""The field-match index ranks as search engines of the package index do, up to ties."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.retrieval import SCHEMA, K, Scorer, bm25s_scores, pool_of, queries_of, tantivy_scores
from retrieval.field_match import FieldMatchIndex
from tests.comparison.conftest import REASON

ROWS, QUERIES = 3_000, 40
# Of tf / (tf + k1 (1 - b + b length / mean length)), with tf = 1, all lengths equal and k1 = 1.5; tantivy's k1 is 1.2,
# and it multiplies by k1 + 1.
FACTORS = {"bm25s": 1 / (1 + 1.5), "tantivy": (1.2 + 1) / (1 + 1.2)}


@pytest.mark.parametrize(("engine", "scores_of"), [("bm25s", bm25s_scores), ("tantivy", tantivy_scores)])
def test_the_best_rows_have_the_scores_that_bm25_gives_them(engine: str, scores_of: Scorer) -> None:
    pytest.importorskip(engine, reason=REASON)
    pool, queries = pool_of(ROWS), queries_of(QUERIES)
    ours_BK = FieldMatchIndex(pool, SCHEMA.names).search(queries, K, until=ROWS).scores_BK.numpy()
    documents = np.concatenate([segment.rows.ids_BF.numpy() for segment in pool.segments])
    theirs_BK = scores_of(documents)(queries.ids_BF.numpy())
    assert theirs_BK == pytest.approx(FACTORS[engine] * ours_BK, rel=1e-5)
