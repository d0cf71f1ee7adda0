from __future__ import annotations

from math import log

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pkb.batch import MISSING, Batch
from pkb.errors import DataError, FutureError
from retrieval import indexed_pool
from retrieval.indexed_pool import BEHAVIOURS, IndexedPool, RetrievalSettings
from retrieval.pool import Pool
from retrieval.retriever import Found
from retrieval.user import UserBehavioursIndex, UserCategoryIndex, UserMatchIndex, UserSimilarityIndex
from tests.retrieval.encoders import WIDTH, encoder
from tests.retrieval.worlds import DAY, SCHEMA, brute_force, make_pool, make_rows, pool_rows

LATE = 10**6
USER, CATEGORY = SCHEMA.names.index("user"), SCHEMA.names.index("category")


def listed(found: Found) -> list[list[int]]:
    return [rows[mask].tolist() for rows, mask in zip(found.rows_BK, found.mask, strict=True)]


def behaviours(pool: Pool, user: int, until: int) -> list[tuple[int, list[int]]]:
    """(pool row, ids) of the user's clicks, newest first."""
    rows = pool_rows(pool, until)
    return [(row, ids) for row, _, _, ids, label in reversed(rows) if label > 0 and ids[USER] == user != MISSING]


@settings(max_examples=40)
@given(seed=st.integers(0, 500), k=st.integers(1, 30), periods=st.integers(0, 3))
def test_the_newest_clicks_of_the_user_are_found_whatever_they_are(seed: int, k: int, periods: int) -> None:
    pool = make_pool([80, 0, 120], seed=seed)
    queries = make_rows(8, start=LATE, seed=seed + 1)
    found = UserBehavioursIndex(pool).search(queries, k, until=periods * DAY)
    for query, rows in zip(queries.ids_BF.tolist(), listed(found), strict=True):
        assert rows == [row for row, _ in behaviours(pool, query[USER], periods * DAY)][:k]


@settings(max_examples=40)
@given(seed=st.integers(0, 500), periods=st.integers(0, 3))
def test_a_value_is_the_more_telling_the_fewer_clicks_of_all_users_hold_it(seed: int, periods: int) -> None:
    pool = make_pool([80, 0, 120], seed=seed)
    queries = make_rows(8, start=LATE, seed=seed + 1)
    idf_BF = UserBehavioursIndex(pool).idf(queries, until=periods * DAY)
    clicks = [ids for _, _, _, ids, label in pool_rows(pool, periods * DAY) if label > 0]
    for query, idf_F in zip(queries.ids_BF.tolist(), idf_BF, strict=True):
        held = [0 if value == MISSING else sum(ids[f] == value for ids in clicks) for f, value in enumerate(query)]
        expected = [log(1 + (len(clicks) - n + 0.5) / (n + 0.5)) if n else 0.0 for n in held]
        torch.testing.assert_close(idf_F, torch.tensor(expected), rtol=1e-5, atol=1e-6)


def test_how_telling_values_are_is_asked_of_a_few_rows_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """All rows and periods at once would take their product of memory."""
    pool, queries, asked = (
        IndexedPool(SCHEMA, [BEHAVIOURS], RetrievalSettings()),
        make_rows(20, start=LATE),
        list[int](),
    )
    pool.append(make_rows(80, start=0), start=0, end=DAY)
    at_once = pool.idf(BEHAVIOURS, queries, until=DAY)
    of_index = UserBehavioursIndex.idf

    def counted(index: UserBehavioursIndex, some: Batch, *, until: int) -> torch.Tensor:
        asked.append(len(some))
        return of_index(index, some, until=until)

    monkeypatch.setattr(UserBehavioursIndex, "idf", counted)
    monkeypatch.setattr(indexed_pool, "AT_ONCE", 8)
    assert torch.equal(pool.idf(BEHAVIOURS, queries, until=DAY), at_once)
    assert asked == [8, 8, 4]
    assert pool.idf(BEHAVIOURS, queries.select(slice(0)), until=DAY).shape == (0, len(SCHEMA.fields))


def test_how_telling_a_value_is_cannot_be_asked_of_the_future() -> None:
    with pytest.raises(FutureError, match=f"built until {DAY} but is used at 0"):
        UserBehavioursIndex(make_pool([10])).idf(make_rows(8, start=0), until=DAY)


@settings(max_examples=40)
@given(seed=st.integers(0, 500), k=st.integers(1, 30), periods=st.integers(0, 3))
def test_hard_search_finds_the_newest_clicks_of_the_user_in_the_category(seed: int, k: int, periods: int) -> None:
    pool = make_pool([80, 0, 120], seed=seed)
    queries = make_rows(8, start=LATE, seed=seed + 1)
    found = UserCategoryIndex(pool, "category").search(queries, k, until=periods * DAY)
    for query, rows in zip(queries.ids_BF.tolist(), listed(found), strict=True):
        mine = behaviours(pool, query[USER], periods * DAY)
        assert rows == [row for row, ids in mine if ids[CATEGORY] == query[CATEGORY] != MISSING][:k]


@settings(max_examples=40)
@given(seed=st.integers(0, 500), k=st.integers(1, 30))
def test_soft_search_finds_the_clicks_of_the_user_that_are_most_alike(seed: int, k: int) -> None:
    pool = make_pool([80, 0, 120], seed=seed)
    queries = make_rows(8, start=LATE, seed=seed + 1)
    found = UserSimilarityIndex(pool, encoder, WIDTH).search(queries, k, until=LATE)
    for b, rows in enumerate(listed(found)):
        query = queries.select(slice(b, b + 1))
        mine = torch.tensor([row for row, _ in behaviours(pool, int(query.ids_BF[0, USER]), LATE)], dtype=torch.int64)
        assert set(rows) <= set(mine.tolist())
        scores = encoder(pool.take(mine)) @ encoder(query)[0]
        best = scores.sort(descending=True).values[:k].double()
        torch.testing.assert_close(found.scores_BK[b, : len(rows)], best, rtol=1e-5, atol=1e-6)


@settings(max_examples=40)
@given(seed=st.integers(0, 500), k=st.integers(1, 30), asked=st.lists(st.booleans(), min_size=2, max_size=2))
def test_ubr_ranks_the_clicks_of_the_user_by_the_fields_that_were_asked_for(
    seed: int, k: int, asked: list[bool]
) -> None:
    """As a brute-force scorer over everybody's clicks does, of which only the user's are kept."""
    pool = make_pool([80, 0, 120], seed=seed)
    clicks = Pool(SCHEMA)
    for segment in pool.segments:
        clicks.append(segment.rows.select(segment.rows.label > 0), start=segment.start, end=segment.end)
    row_in_pool = [row for row, _, _, _, label in pool_rows(pool, LATE) if label > 0]
    queries = make_rows(8, start=LATE, seed=seed + 1)
    index = UserMatchIndex(pool, ["item", "category"])
    found = index.search_by(queries, torch.tensor(asked).expand(8, 2), k, until=LATE)
    fields = [f for f, wanted in zip([1, 2], asked, strict=True) if wanted]
    for query, rows in zip(queries.ids_BF.tolist(), listed(found), strict=True):
        mine = {row for row, _ in behaviours(pool, query[USER], LATE)}
        everybodys = [row_in_pool[row] for row, _ in brute_force(clicks, query, fields, 200, LATE)]
        assert rows == [row for row in everybodys if row in mine][:k]


def test_to_ask_with_all_fields_is_to_search() -> None:
    index = UserMatchIndex(make_pool([80, 120]), ["item", "category"])
    queries = make_rows(8, start=LATE, seed=1)
    by_all = index.search_by(queries, torch.ones(8, 2), 5, until=LATE)
    assert torch.equal(by_all.rows_BK, index.search(queries, 5, until=LATE).rows_BK)


def test_fields_asked_with_must_be_given_for_each_query_and_field() -> None:
    index = UserMatchIndex(make_pool([10]), ["item", "category"])
    with pytest.raises(DataError, match=r"asked_BF is \(3, 2\), but there are 8 queries and 2 fields"):
        index.search_by(make_rows(8, start=LATE), torch.ones(3, 2), 5, until=LATE)
