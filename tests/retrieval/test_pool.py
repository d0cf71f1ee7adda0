from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from pkb.batch import MISSING
from pkb.errors import DataError
from retrieval.pool import NOBODY, Pool
from tests.retrieval.worlds import DAY, SCHEMA, make_pool, make_rows, pool_rows


def test_a_larger_pool_row_is_a_newer_row_and_among_equal_times_one_of_smaller_row_id() -> None:
    rows = pool_rows(make_pool([40, 0, 30]), 3 * DAY)
    ages = [(ts, -row_id) for _, ts, row_id, _, _ in rows]
    assert ages == sorted(ages)
    assert len({ts for _, ts, *_ in rows}) < len(rows)  # there were equal times
    assert [row for row, *_ in rows] == list(range(70))


def test_rows_come_back_as_they_were_in_the_order_asked_for() -> None:
    pool = make_pool([40, 0, 30])
    given = {row_id: (ids, label) for _, _, row_id, ids, label in pool_rows(pool, 3 * DAY)}
    asked = torch.tensor([[69, 0, 41], [5, 39, 40]])
    taken = pool.take(asked)
    row_ids = [pool_rows(pool, 3 * DAY)[row][2] for row in asked.flatten().tolist()]
    assert taken.row_id.tolist() == row_ids
    assert taken.ids_BF.tolist() == [given[row_id][0] for row_id in row_ids]
    assert taken.label.tolist() == [given[row_id][1] for row_id in row_ids]


def test_where_no_row_was_found_stands_one_of_missing_values() -> None:
    taken = make_pool([3]).take(torch.tensor([2, NOBODY, 0, NOBODY]))
    assert len(taken) == 4
    assert taken.ids_BF[[1, 3]].eq(MISSING).all()
    assert taken.label[[1, 3]].eq(0).all()
    assert taken.row_id[[1, 3]].eq(NOBODY).all()
    assert taken.further_labels["buy"].shape == (4,)


def test_an_empty_pool_gives_missing_rows() -> None:
    taken = Pool(SCHEMA).take(torch.full((2, 3), NOBODY))
    assert taken.ids_BF.shape == (6, 4)


def test_a_segment_does_not_change_with_the_batch_it_came_from() -> None:
    rows = make_rows(10)
    pool = Pool(SCHEMA)
    pool.append(rows, start=0, end=DAY)
    before = pool.segments[0].rows.ids_BF.clone()
    rows.ids_BF.zero_()
    assert torch.equal(pool.segments[0].rows.ids_BF, before)


def test_only_segments_that_end_by_the_bound_count() -> None:
    pool = make_pool([4, 5, 6])
    counts = {until: pool.segments_before(until) for until in (0, DAY - 1, DAY, 2 * DAY, 10 * DAY)}
    assert counts == {0: 0, DAY - 1: 0, DAY: 1, 2 * DAY: 2, 10 * DAY: 3}
    assert pool.rows_of(2) == 9
    assert pool.built_until == 3 * DAY


@pytest.mark.parametrize(
    ("start", "end", "at", "message"),
    [
        (50, 150, 60, "a period from 50 overlaps the rows until 100"),
        (200, 200, 200, r"the period \[200, 200\) is empty"),
        (300, 400, 200, r"rows from 200 to 290 lie outside of their period \[300, 400\)"),
        (200, 290, 200, r"rows from 200 to 290 lie outside of their period \[200, 290\)"),
    ],
)
def test_a_period_out_of_time_is_refused(start: int, end: int, at: int, message: str) -> None:
    pool = make_pool([4])
    with pytest.raises(DataError, match=message):
        pool.append(make_rows(60, start=at), start=start, end=end)
    assert len(pool.segments) == 1


def test_rows_that_do_not_fit_the_schema_are_refused() -> None:
    rows = make_rows(5)
    with pytest.raises(DataError, match="3 fields, but the schema has 4"):
        Pool(SCHEMA).append(replace(rows, ids_BF=rows.ids_BF[:, :3]), start=0, end=DAY)
    with pytest.raises(DataError, match=r"further labels \[\], but the schema has \['buy'\]"):
        Pool(SCHEMA).append(replace(rows, further_labels={}), start=0, end=DAY)
    with pytest.raises(DataError, match="the rows carry no time"):
        Pool(SCHEMA).append(replace(rows, ts=None), start=0, end=DAY)
