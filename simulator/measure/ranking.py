"""How well one set of predicted click probabilities ranks and how well it is calibrated.

Labels are 0 or 1, one per row; scores and probabilities are finite. Ties take mid-ranks. What is undefined,
such as the AUC of rows of one class, is a `Value` without a value and with a reason.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from simulator.measure.value import Value, undefined


class Ranking:
    """The scores of N rows, ranked once; their AUC under any row weights then takes O(N).

    For the i-th positive, `below[i]` negatives score less, and `not_above[i]` score less or the same.
    """

    def __init__(self, label: np.ndarray, score: np.ndarray) -> None:
        positive = label > 0
        self.positives = np.flatnonzero(positive)
        negatives = np.flatnonzero(~positive)
        self.negatives = negatives[np.argsort(score[negatives], kind="stable")]
        ranked = score[self.negatives]
        self.below = np.searchsorted(ranked, score[self.positives], side="left")
        self.not_above = np.searchsorted(ranked, score[self.positives], side="right")

    def placements(self) -> np.ndarray:
        """For each positive, in row order, the share of negatives that it beats; a tie counts one half."""
        return (self.below + self.not_above) / (2 * len(self.negatives))

    def auc(self, weight: np.ndarray | None = None) -> float:
        """The share of (positive, negative) pairs in the right order; nan without a pair of any weight."""
        if weight is None:
            wins = int(self.below.sum()) + int(self.not_above.sum())
            pairs = len(self.positives) * len(self.negatives)
        else:
            of_positive = weight[self.positives]
            passed = np.concatenate([[0], np.cumsum(weight[self.negatives])])
            wins = of_positive @ (passed[self.below] + passed[self.not_above])
            pairs = of_positive.sum() * passed[-1]
        return float(wins / (2 * pairs)) if pairs > 0 else float("nan")


def auc(label: np.ndarray, score: np.ndarray, weight: np.ndarray | None = None) -> Value:
    """Area under the ROC curve, exact; with weights, a pair counts the product of its two rows' weights."""
    if one_class := is_one_class(label):
        return one_class
    value = Ranking(label, score).auc(weight)
    return undefined("no weight on one class", len(label)) if np.isnan(value) else Value(value=value, n=len(label))


@dataclass(frozen=True, kw_only=True)
class GroupedAuc:
    """The AUC within each group of rows that holds both classes."""

    aucs: np.ndarray  # [G] of the groups that count
    sizes: np.ndarray  # [G] their rows
    groups: int  # all groups
    rows: int  # all rows

    def by_group(self) -> Value:
        """Mean over groups, each alike; n counts groups."""
        if not len(self.aucs):
            return self._undefined()
        return Value(value=float(self.aucs.mean()), n=len(self.aucs))

    def by_row(self) -> Value:
        """Mean over groups weighted by their rows; n counts rows."""
        if not len(self.aucs):
            return self._undefined()
        return Value(value=float(np.average(self.aucs, weights=self.sizes)), n=int(self.sizes.sum()))

    def group_coverage(self) -> Value:
        """Share of groups that count; n is all groups."""
        return _share(len(self.aucs), self.groups)

    def row_coverage(self) -> Value:
        """Share of rows that count; n is all rows."""
        return _share(int(self.sizes.sum()), self.rows)

    def _undefined(self) -> Value:
        return undefined(f"none of {self.groups} groups holds both classes")


def grouped_auc(label: np.ndarray, score: np.ndarray, group: np.ndarray) -> GroupedAuc:
    """AUC within each group (user or request), by the rank sums of all groups at once."""
    total, (_, group) = len(label), np.unique(group, return_inverse=True)
    size = np.bincount(group)
    positives = np.bincount(group[label > 0], minlength=len(size))
    mixed = (positives > 0) & (positives < size)

    kept = mixed[group]
    label, score, group = label[kept], score[kept], (np.cumsum(mixed) - 1)[group[kept]]
    size, positives, groups = size[mixed], positives[mixed], len(size)
    order = np.lexsort((score, group))
    label, score, group = label[order] > 0, score[order], group[order]

    new_run = np.ones(len(order), dtype=bool)  # a run is rows of one group that tie
    new_run[1:] = (group[1:] != group[:-1]) | (score[1:] != score[:-1])
    start = np.flatnonzero(new_run)
    end = np.append(start[1:], len(order))
    twice_rank = (start + end + 1)[np.cumsum(new_run) - 1]  # of the mid-rank, counted from 1 over all groups
    rank_sum = np.bincount(group[label], weights=twice_rank[label], minlength=len(size)) / 2
    rows_before = np.cumsum(size) - size
    wins = rank_sum - rows_before * positives - positives * (positives + 1) / 2
    return GroupedAuc(aucs=wins / (positives * (size - positives)), sizes=size, groups=groups, rows=total)


def logloss(label: np.ndarray, probability: np.ndarray) -> Value:
    """Mean negative log likelihood in nats."""
    return Value(value=float(_nats(label, probability).mean()), n=len(label)) if len(label) else undefined("no rows")


def _nats(label: np.ndarray, probability: np.ndarray) -> np.ndarray:
    """Negative log likelihood of each row; probabilities clipped by float64's eps, as scikit-learn does."""
    eps = np.finfo(np.float64).eps
    p = np.clip(probability.astype(np.float64), eps, 1 - eps)
    return -np.log(np.where(label > 0, p, 1 - p))


def ne(label: np.ndarray, probability: np.ndarray) -> Value:
    """Normalised entropy: log loss over that of the rows' click rate (He et al. 2014, eq. 1)."""
    if one_class := is_one_class(label):
        return one_class
    rate = float(np.mean(label > 0))
    entropy = -(rate * np.log(rate) + (1 - rate) * np.log(1 - rate))
    return Value(value=float(_nats(label, probability).mean() / entropy), n=len(label))


def pcoc(label: np.ndarray, probability: np.ndarray) -> Value:
    """Predicted clicks over clicks that happened: 1 is calibrated, above 1 predicts too many."""
    clicks = int(np.count_nonzero(label > 0))
    if not clicks:
        return undefined(f"none of {len(label)} rows is a click", len(label))
    return Value(value=float(probability.astype(np.float64).sum() / clicks), n=len(label))


def brier(label: np.ndarray, probability: np.ndarray) -> Value:
    """Mean squared difference of probability and label."""
    if not len(label):
        return undefined("no rows")
    return Value(value=float(np.mean((probability.astype(np.float64) - (label > 0)) ** 2)), n=len(label))


def is_one_class(label: np.ndarray) -> Value | None:
    """The undefined value of a metric that needs both classes where the rows do not hold both."""
    if not len(label):
        return undefined("no rows")
    clicks = int(np.count_nonzero(label > 0))
    if 0 < clicks < len(label):
        return None
    return undefined(f"one class: {clicks} of {len(label)} rows are clicks", len(label))


def _share(part: int, whole: int) -> Value:
    return Value(value=part / whole, n=whole) if whole else undefined("no rows")
