"""Forgetting and transfer on a matrix worked out by hand."""

from __future__ import annotations

import pytest

from simulator.measure.continual import bwt, forgetting, fwt, intransigence, plasticity

# R[i, j] of three periods: on the diagonal what was just learned, above it forward transfer
R = {
    (-1, 0): 0.50,
    (-1, 1): 0.52,
    (-1, 2): 0.48,
    (0, 0): 0.70,
    (0, 1): 0.60,
    (1, 0): 0.74,
    (1, 1): 0.72,
    (1, 2): 0.64,
    (2, 0): 0.66,
    (2, 1): 0.71,
    (2, 2): 0.75,
}


def test_forgetting_is_counted_from_the_best_that_was_known() -> None:
    # period 0: best of 0.70 and 0.74, now 0.66; period 1: 0.72, now 0.71
    value = forgetting(R)
    assert value.value == pytest.approx((0.08 + 0.01) / 2)
    assert value.n == 2


def test_backward_transfer_is_counted_from_when_it_was_new() -> None:
    assert bwt(R).value == pytest.approx((-0.04 - 0.01) / 2)


def test_forward_transfer_is_counted_from_the_untrained_model() -> None:
    assert fwt(R).value == pytest.approx((0.08 + 0.16) / 2)


def test_plasticity_is_the_level_of_what_was_just_learned() -> None:
    assert plasticity(R).value == pytest.approx((0.70 + 0.72 + 0.75) / 3)


def test_intransigence_is_what_retraining_on_all_would_have_reached_more() -> None:
    joint = {(0, 0): 0.71, (1, 1): 0.75, (2, 2): 0.76}
    assert intransigence(R, joint).value == pytest.approx((0.01 + 0.03 + 0.01) / 3)
    assert intransigence(joint, joint).value == 0


def test_signs_flip_where_smaller_is_better() -> None:
    losses = {cell: -value for cell, value in R.items()}
    for metric in (forgetting, bwt, fwt):
        assert metric(losses, larger_is_better=False).value == pytest.approx(metric(R).value)
    assert intransigence(losses, losses, larger_is_better=False).value == 0
    assert plasticity(losses).value == -(plasticity(R).value or 0)


def test_holdouts_that_were_let_go_are_left_out() -> None:
    kept = {cell: value for cell, value in R.items() if cell != (2, 0)}
    assert forgetting(kept).value == pytest.approx(0.01)
    assert bwt(kept).value == pytest.approx(-0.01)
    assert bwt(kept).n == 1


def test_one_period_has_nothing_to_forget_and_nothing_to_transfer() -> None:
    first = {(-1, 0): 0.5, (0, 0): 0.7}
    for metric in (forgetting, bwt, fwt):
        value = metric(first)
        assert value.value is None
        assert value.reason
    assert plasticity({}).value is None
    assert intransigence(R, {}).value is None
