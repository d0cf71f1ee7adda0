from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from pkb.backbones.before import (
    NOBODY,
    newest_of,
    overall_rate,
    slices_in_time,
    smoothed_rate,
    tally,
    unlearned,
)
from pkb.batch import Batch
from tests.pkb.backbones.check_backbone import make_rows


def rows_at(ts: list[int] | None, request: list[int] | None = None, rows: int = 0) -> Batch:
    rows = len(ts or request or []) or rows
    return Batch(
        row_id=torch.arange(rows),
        ids_BF=torch.ones(rows, 1, dtype=torch.int32),
        label=torch.zeros(rows),
        ts=None if ts is None else torch.tensor(ts),
        request=None if request is None else torch.tensor(request),
    )


def test_a_fit_hears_of_a_row_once_and_again_only_of_a_click_that_came_late() -> None:
    rows = replace(
        rows_at([1, 2, 3]), label=torch.tensor([1.0, 0, 1]), label_ts=torch.tensor([4, 2, 3]), row_id=torch.arange(3)
    )
    newest = torch.full((2,), NOBODY)
    assert unlearned(rows, newest).all()
    before = replace(rows, label=torch.tensor([0.0, 0, 1]), label_ts=torch.tensor([1, 2, 3]))
    newest = newest_of(before, newest)
    assert newest.tolist() == [2, 3]
    assert unlearned(rows, newest).tolist() == [True, False, False]
    newest = newest_of(rows.select(slice(1)), newest)
    assert newest.tolist() == [2, 4]
    assert not unlearned(rows, newest).any()
    assert unlearned(rows_at([1, 2, 3, 4]), newest).tolist() == [False, False, False, True]


def test_slices_are_equal_and_follow_time_in_whatever_order_rows_come() -> None:
    assert slices_in_time(rows_at([7, 1, 5, 3, 2, 8]), 3).tolist() == [2, 0, 1, 1, 0, 2]
    assert slices_in_time(rows_at(None, rows=4), 2).tolist() == [0, 0, 1, 1]


def test_what_is_of_one_second_or_of_one_request_is_never_cut_apart() -> None:
    assert slices_in_time(rows_at([1, 2, 2, 2, 2, 3]), 3).tolist() == [0, 0, 0, 0, 0, 1]
    assert slices_in_time(rows_at([1, 2, 3, 9], request=[5, 7, 7, 5]), 2).tolist() == [0, 1, 1, 0]
    assert slices_in_time(rows_at([4, 4, 4]), 5).tolist() == [0, 0, 0]


def test_what_is_counted_are_impressions_and_clicks_of_each_value() -> None:
    rows = make_rows(50)
    counts = tally(rows.ids_BF, rows.label, 60)
    item = int(rows.ids_BF[0, 1])
    holds = (rows.ids_BF == item).sum(dim=1).float()
    assert counts[item].tolist() == [holds.sum().item(), (holds * rows.label).sum().item()]
    assert counts[:, 0].sum() == rows.ids_BF.numel()
    assert tally(torch.zeros(3, 1), torch.ones(3), 1).tolist() == [[0, 0]], "the missing one is no value"


def test_rates_lean_on_the_overall_one_until_a_value_has_been_shown_often() -> None:
    rates = smoothed_rate(torch.tensor([[0.0, 0.0], [30.0, 30.0]]), overall=0.2, smoothing=10.0)
    torch.testing.assert_close(rates, torch.tensor([0.2, 32 / 40]))


@pytest.mark.parametrize(("impressions", "clicks", "rate"), [(0, 0, 1 / 2), (8, 0, 1 / 10), (8, 8, 9 / 10)])
def test_the_overall_rate_is_never_0_or_1(impressions: int, clicks: int, rate: float) -> None:
    assert overall_rate(torch.tensor([impressions, clicks], dtype=torch.float64)) == pytest.approx(rate)
