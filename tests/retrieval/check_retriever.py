"""What every retriever must hold to, whatever it ranks by: `check_retriever(build)`.

`build` makes the retriever for a pool in `worlds.SCHEMA`. Each check takes it and fails with what was found.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from pkb.errors import DataError, FutureError
from retrieval.pool import NOBODY, Pool
from retrieval.retriever import Found, Retriever
from tests.retrieval.worlds import DAY, SCHEMA, make_pool, make_rows

Build = Callable[[Pool], Retriever]
SIZES = (120, 0, 150, 90)
LATE = 10**6


def times_of(pool: Pool, rows: Tensor) -> Tensor:
    ts = pool.take(rows).ts
    assert ts is not None
    return ts


def search(build: Build, pool: Pool, k: int, until: int, *, number: int = 20) -> Found:
    return build(pool).search(make_rows(number, start=LATE, seed=7), k, until=until)


def check_no_row_of_the_present_or_the_future_is_found(build: Build) -> None:
    pool = make_pool(SIZES)
    retriever = build(pool)
    for until in (0, 1, DAY - 1, DAY, DAY + 1, 3 * DAY, 4 * DAY - 1, 4 * DAY, LATE):
        found = retriever.search(make_rows(20, start=LATE, seed=7), 500, until=until)
        times = times_of(pool, found.rows_BK[found.mask])
        assert (times < until).all(), f"rows up to {int(times.max())} for a search until {until}"
        seen = pool.rows_of(pool.segments_before(until))
        assert (found.rows_BK < seen).all(), f"pool rows up to {int(found.rows_BK.max())}, of {seen} before {until}"


def check_later_periods_do_not_change_what_is_found_before_them(build: Build) -> None:
    early, late = search(build, make_pool(SIZES[:3]), 9, 3 * DAY), search(build, make_pool(SIZES), 9, 3 * DAY)
    assert torch.equal(early.rows_BK, late.rows_BK)
    assert torch.equal(early.scores_BK, late.scores_BK)


def check_period_by_period_or_all_at_once_finds_the_same(build: Build) -> None:
    whole = make_pool(SIZES)
    pool = Pool(SCHEMA)
    retriever = build(pool)
    assert retriever.built_until is None
    for segment in whole.segments:
        pool.append(segment.rows, start=segment.start, end=segment.end)
        retriever.extend()
        assert retriever.built_until == segment.end
    queries = make_rows(20, start=LATE, seed=7)
    at_once = build(whole).search(queries, 9, until=LATE)
    stepwise = retriever.search(queries, 9, until=LATE)
    assert torch.equal(at_once.rows_BK, stepwise.rows_BK)
    assert torch.equal(at_once.scores_BK, stepwise.scores_BK)


def check_periods_not_yet_indexed_are_not_found(build: Build) -> None:
    pool = make_pool(SIZES[:1])
    retriever = build(pool)
    pool.append(make_rows(50, start=DAY, seed=3), start=DAY, end=2 * DAY)
    assert retriever.built_until == DAY
    found = retriever.search(make_rows(20, start=LATE, seed=7), 500, until=LATE)
    assert (found.rows_BK < SIZES[0]).all()


def check_the_best_row_comes_first_and_among_equals_the_newer(build: Build) -> None:
    found = search(build, make_pool(SIZES), 40, LATE)
    for rows, scores, mask in zip(found.rows_BK, found.scores_BK, found.mask, strict=True):
        ranked = list(zip(scores[mask].tolist(), rows[mask].tolist(), strict=True))
        assert ranked == sorted(ranked, reverse=True)


def check_no_row_is_found_twice(build: Build) -> None:
    found = search(build, make_pool(SIZES), 400, LATE)
    for rows in found.rows_BK:
        real = rows[rows != NOBODY]
        assert len(real.unique()) == len(real)


def check_missing_neighbours_stand_last_and_score_minus_infinity(build: Build) -> None:
    found = search(build, make_pool(SIZES), 1000, LATE)
    assert found.rows_BK.shape == found.scores_BK.shape == (20, 1000)
    assert (found.mask.int().diff(dim=1) <= 0).all()
    assert torch.equal(found.scores_BK.isneginf(), ~found.mask)
    assert (~found.mask[:, -1]).all()


def check_something_is_found(build: Build) -> None:
    """Otherwise the other checks would say nothing."""
    assert search(build, make_pool(SIZES), 5, LATE).mask.any(dim=1).float().mean() > 0.5


def check_an_empty_pool_and_an_empty_batch_find_nothing(build: Build) -> None:
    assert not search(build, Pool(SCHEMA), 3, LATE).mask.any()
    assert search(build, make_pool(SIZES), 3, LATE, number=0).rows_BK.shape == (0, 3)


def check_queries_older_than_the_bound_are_refused(build: Build) -> None:
    retriever = build(make_pool(SIZES))
    with pytest.raises(FutureError, match=f"built until {4 * DAY} but is used at {3 * DAY}"):
        retriever.search(make_rows(20, start=3 * DAY), 3, until=4 * DAY)


def check_asking_for_no_row_is_refused(build: Build) -> None:
    with pytest.raises(DataError, match="k is 0"):
        search(build, make_pool(SIZES), 0, LATE)


def check_a_search_changes_nothing(build: Build) -> None:
    retriever = build(make_pool(SIZES))
    queries = make_rows(20, start=LATE, seed=7)
    first, used = retriever.search(queries, 9, until=LATE), retriever.bytes
    retriever.search(make_rows(5, start=LATE, seed=8), 3, until=DAY)
    again = retriever.search(queries, 9, until=LATE)
    assert torch.equal(first.rows_BK, again.rows_BK)
    assert retriever.bytes == used > 0


def check_a_batch_finds_what_its_rows_find_alone(build: Build) -> None:
    retriever = build(make_pool(SIZES))
    queries = make_rows(20, start=LATE, seed=7)
    together = retriever.search(queries, 9, until=LATE)
    alone = [retriever.search(query, 9, until=LATE) for query in queries.minibatches(1)]
    assert torch.equal(together.rows_BK, torch.cat([found.rows_BK for found in alone]))


CHECKS: tuple[Callable[[Build], None], ...] = (
    check_no_row_of_the_present_or_the_future_is_found,
    check_later_periods_do_not_change_what_is_found_before_them,
    check_period_by_period_or_all_at_once_finds_the_same,
    check_periods_not_yet_indexed_are_not_found,
    check_the_best_row_comes_first_and_among_equals_the_newer,
    check_no_row_is_found_twice,
    check_missing_neighbours_stand_last_and_score_minus_infinity,
    check_something_is_found,
    check_an_empty_pool_and_an_empty_batch_find_nothing,
    check_queries_older_than_the_bound_are_refused,
    check_asking_for_no_row_is_refused,
    check_a_search_changes_nothing,
    check_a_batch_finds_what_its_rows_find_alone,
)


def check_retriever(build: Build) -> None:
    """Every check on one retriever."""
    for check in CHECKS:
        check(build)
