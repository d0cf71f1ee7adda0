"""Every retriever passes `check_retriever`, one test a check."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from pkb.batch import Batch
from retrieval.dense import DenseIndex
from retrieval.faiss_kinds import DenseSettings
from retrieval.field_match import FieldMatchIndex
from retrieval.retriever import Found
from retrieval.user import UserBehavioursIndex, UserCategoryIndex, UserMatchIndex, UserSimilarityIndex
from tests.retrieval.check_retriever import CHECKS, Build, check_retriever
from tests.retrieval.encoders import WIDTH, encoder
from tests.retrieval.worlds import SCHEMA

RETRIEVERS: dict[str, Build] = {
    "field_match": lambda pool: FieldMatchIndex(pool, SCHEMA.names),
    "field_match-one_field": lambda pool: FieldMatchIndex(pool, ["category"]),
    "dense": lambda pool: DenseIndex(pool, encoder, WIDTH, DenseSettings()),
    "dense-ivf_flat": lambda pool: DenseIndex(pool, encoder, WIDTH, DenseSettings(kind="ivf_flat", nprobe=2)),
    "dense-hnsw": lambda pool: DenseIndex(pool, encoder, WIDTH, DenseSettings(kind="hnsw")),
    "user_behaviours": UserBehavioursIndex,
    "user_category": lambda pool: UserCategoryIndex(pool, "category"),
    "user_similarity": lambda pool: UserSimilarityIndex(pool, encoder, WIDTH),
    "user_match": lambda pool: UserMatchIndex(pool, ["item", "category", "hour"]),
}


@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize("name", RETRIEVERS)
def test_contract(name: str, check: Callable[[Build], None]) -> None:
    check(RETRIEVERS[name])


class Seer(FieldMatchIndex):
    """Ignores the bound."""

    def _search(self, queries: Batch, k: int, segments: int) -> Found:
        return super()._search(queries, k, len(self.pool.segments))


def test_a_retriever_that_looks_into_the_future_fails() -> None:
    with pytest.raises(AssertionError, match="for a search until 0"):
        check_retriever(lambda pool: Seer(pool, SCHEMA.names))
