"""A tally accumulates: parts of any size, merged in any order, give the metrics of the whole."""

from __future__ import annotations

from functools import reduce
from operator import add
from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.measure.calibration import brier, ece, logloss, ne, pcoc
from simulator.measure.ranking import grouped_auc, pr_auc, tally_auc
from simulator.measure.tally import GroupedTally, Tally
from tests.simulator.measure.drawn import Rows, columns, rows

METRICS = (tally_auc, pr_auc, logloss, ne, pcoc, brier, ece)


@given(st.lists(rows | st.just([]), min_size=1, max_size=6), st.randoms(use_true_random=False))
def test_parts_merged_in_any_order_are_the_whole_to_the_last_bit(parts: list[Rows], random: Random) -> None:
    label, score, group, _ = columns([row for part in parts for row in part])
    shuffled = [columns(part) for part in parts]
    random.shuffle(shuffled)
    merged = reduce(add, (Tally.of(its_label, its_score) for its_label, its_score, _, _ in shuffled))
    by_group = reduce(add, (GroupedTally.of(*part[:3]) for part in shuffled))
    for metric in METRICS:
        assert metric(merged) == metric(Tally.of(label, score))
    whole, pieced = grouped_auc(GroupedTally.of(label, score, group)), grouped_auc(by_group)
    assert pieced.by_row() == whole.by_row()
    assert pieced.by_group() == whole.by_group()
    assert pieced.row_coverage() == whole.row_coverage()
    assert pieced.group_coverage() == whole.group_coverage()


@given(rows)
def test_a_weight_is_a_row_repeated_in_every_metric(drawn: Rows) -> None:
    label, score, _, weight = columns(drawn)
    weighted, repeated = Tally.of(label, score, weight), Tally.of(np.repeat(label, weight), np.repeat(score, weight))
    for metric in METRICS:
        one, other = metric(weighted), metric(repeated)
        assert one.reason == other.reason
        assert one.value == pytest.approx(other.value, abs=1e-12)


@given(rows)
def test_an_empty_slice_changes_nothing(drawn: Rows) -> None:
    label, score, group, _ = columns(drawn)
    nothing, tally = np.array([]), Tally.of(label, score)
    padded = tally + Tally.of(nothing, nothing)
    assert all(metric(padded) == metric(tally) for metric in METRICS)
    users = GroupedTally.of(label, score, group)
    assert grouped_auc(users + GroupedTally.of(nothing, nothing, nothing)).by_row() == grouped_auc(users).by_row()


def test_memory_is_that_of_the_distinct_scores() -> None:
    label, score = np.tile([0, 1], 5000), np.repeat([0.1, 0.2, 0.3, 0.4], 2500)
    assert len(Tally.of(label, score).score) == 4
