"""AUC, grouped AUC and PR-AUC against scikit-learn, plain loops and closed forms."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from sklearn.metrics import average_precision_score, roc_auc_score

from simulator.measure.ranking import GroupedAuc, auc, grouped_auc, pr_auc
from simulator.measure.tally import GroupedTally, Tally
from tests.simulator.measure.drawn import Rows, both_classes, columns, rows


def by_group(label: np.ndarray, score: np.ndarray, group: np.ndarray) -> GroupedAuc:
    return grouped_auc(GroupedTally.of(label, score, group))


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
    for value in (auc(labels, score), pr_auc(Tally.of(labels, score))):
        assert value.value is None
        assert value.reason
    groups = by_group(labels, score, np.zeros(len(label), dtype=int))
    assert groups.by_group().value is None
    assert groups.by_row().reason


@given(rows)
def test_grouped_auc_is_that_of_a_plain_loop(drawn: Rows) -> None:
    label, score, group, _ = columns(drawn)
    aucs, sizes = [], []
    for g in np.unique(group):
        inside = group == g
        if len(set(label[inside])) == 2:
            aucs.append(roc_auc_score(label[inside], score[inside]))
            sizes.append(inside.sum())
    measured = by_group(label, score, group)
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
    shuffled = by_group(label[order], score[order], group[order])
    assert by_group(label, score, group).by_row() == shuffled.by_row()


@given(both_classes)
def test_one_user_has_the_auc_of_all_rows_as_its_grouped_auc(drawn: Rows) -> None:
    label, score, _, _ = columns(drawn)
    alone = by_group(label, score, np.zeros(len(label), dtype=int))
    assert alone.by_group().value == auc(label, score).value
    assert alone.by_row().value == pytest.approx(auc(label, score).value, abs=1e-12)
    assert alone.row_coverage().value == 1


@given(both_classes)
def test_pr_auc_is_the_average_precision_of_scikit_learn_with_ties_and_weights(drawn: Rows) -> None:
    label, score, _, weight = columns(drawn)
    reference = average_precision_score(label, score)
    assert pr_auc(Tally.of(label, score)).value == pytest.approx(reference, abs=1e-12)
    heavier = weight + 1
    reference = average_precision_score(label, score, sample_weight=heavier)
    assert pr_auc(Tally.of(label, score, heavier)).value == pytest.approx(reference, abs=1e-12)


def test_scores_that_all_tie_have_the_click_rate_as_pr_auc() -> None:
    assert pr_auc(Tally.of(np.array([1, 0, 0, 0]), np.full(4, 0.3))).value == 0.25
