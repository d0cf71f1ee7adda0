"""Ranking and calibration metrics against scikit-learn, plain loops and closed forms."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import brier_score_loss, log_loss, roc_auc_score

from simulator.measure.ranking import auc, brier, grouped_auc, logloss, ne, pcoc

Rows = list[tuple[int, int, int, int]]  # label, score (few values: many ties), group, weight
rows = st.lists(
    st.tuples(st.integers(0, 1), st.integers(0, 6), st.integers(0, 5), st.integers(0, 3)), min_size=1, max_size=60
)
both_classes = rows.filter(lambda drawn: len({label for label, *_ in drawn}) == 2)


def columns(drawn: Rows) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    label, score, group, weight = np.array(drawn).T
    return label.astype(np.int8), (score / 7).astype(np.float32), group, weight


@given(both_classes)
def test_auc_is_that_of_scikit_learn_with_ties(drawn: Rows) -> None:
    label, score, _, _ = columns(drawn)
    assert auc(label, score).value == pytest.approx(roc_auc_score(label, score), abs=1e-12)


@given(both_classes)
def test_auc_does_not_depend_on_the_order_of_rows(drawn: Rows) -> None:
    label, score, _, _ = columns(drawn)
    order = np.random.default_rng(len(drawn)).permutation(len(drawn))
    assert auc(label, score) == auc(label[order], score[order])


@given(both_classes)
def test_a_weight_is_a_row_repeated(drawn: Rows) -> None:
    label, score, _, weight = columns(drawn)
    repeated = auc(np.repeat(label, weight), np.repeat(score, weight))
    assert auc(label, score, weight).value == repeated.value


@given(both_classes)
def test_turning_the_scores_around_turns_the_auc_around(drawn: Rows) -> None:
    label, score, _, _ = columns(drawn)
    forth, back = auc(label, score).value, auc(label, -score).value
    assert forth is not None
    assert back == pytest.approx(1 - forth, abs=1e-12)


def test_auc_of_a_known_case() -> None:
    # pairs: 0.8 beats 0.4 and 0.1; 0.4 ties with 0.4 and beats 0.1
    assert auc(np.array([1, 1, 0, 0]), np.array([0.8, 0.4, 0.4, 0.1])).value == 3.5 / 4


@pytest.mark.parametrize("label", [[], [0, 0], [1, 1, 1]])
def test_what_one_class_cannot_answer_is_null_with_a_reason(label: list[int]) -> None:
    labels, score = np.array(label, dtype=np.int8), np.full(len(label), 0.3)
    for metric in (auc, ne):
        value = metric(labels, score)
        assert value.value is None
        assert value.reason
    groups = grouped_auc(labels, score, np.zeros(len(label), dtype=int))
    assert groups.by_group().value is None
    assert groups.by_row().reason


def test_no_rows_have_no_loss_and_no_clicks_have_no_pcoc() -> None:
    nothing = np.array([])
    assert logloss(nothing, nothing).value is None
    assert brier(nothing, nothing).value is None
    assert pcoc(np.zeros(3), np.full(3, 0.1)).reason == "none of 3 rows is a click"


@given(rows)
def test_grouped_auc_is_that_of_a_plain_loop(drawn: Rows) -> None:
    label, score, group, _ = columns(drawn)
    aucs, sizes = [], []
    for g in np.unique(group):
        inside = group == g
        if len(set(label[inside])) == 2:
            aucs.append(roc_auc_score(label[inside], score[inside]))
            sizes.append(inside.sum())
    measured = grouped_auc(label, score, group)
    assert measured.group_coverage().value == pytest.approx(len(aucs) / len(np.unique(group)))
    assert measured.row_coverage().value == pytest.approx(sum(sizes) / len(label))
    if aucs:
        assert measured.by_group().value == pytest.approx(np.mean(aucs), abs=1e-12)
        assert measured.by_row().value == pytest.approx(np.average(aucs, weights=sizes), abs=1e-12)
    else:
        assert measured.by_group().value is None


@given(both_classes)
def test_grouped_auc_does_not_depend_on_the_order_of_rows(drawn: Rows) -> None:
    label, score, group, _ = columns(drawn)
    order = np.random.default_rng(len(drawn)).permutation(len(drawn))
    assert grouped_auc(label, score, group).by_row() == grouped_auc(label[order], score[order], group[order]).by_row()


@given(both_classes)
def test_losses_are_those_of_scikit_learn(drawn: Rows) -> None:
    label, score, _, _ = columns(drawn)  # holds probabilities of exactly 0, which are clipped
    wide = score.astype(np.float64)
    assert logloss(label, score).value == pytest.approx(log_loss(label, wide, labels=[0, 1]), rel=1e-12)
    assert brier(label, score).value == pytest.approx(brier_score_loss(label, wide), rel=1e-12)


def test_predicting_the_click_rate_has_normalised_entropy_one_and_is_calibrated() -> None:
    label = np.array([1, 0, 0, 0])
    assert ne(label, np.full(4, 0.25)).value == pytest.approx(1)
    assert pcoc(label, np.full(4, 0.25)).value == pytest.approx(1)
    assert pcoc(label, np.full(4, 0.5)).value == pytest.approx(2)
