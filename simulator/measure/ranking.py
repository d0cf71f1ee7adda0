"""How well scores rank clicks before other rows: AUC, the grouped AUCs and PR-AUC.

Labels are 0 or 1, one per row; scores are finite. Ties take mid-ranks. What is undefined, such as the AUC of rows
of one class, is a `Value` without a value and with a reason.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from simulator.measure.tally import GroupedTally, Tally, sums
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
        """Give each positive, in row order, the share of negatives that it beats; a tie counts one half."""
        return (self.below + self.not_above) / (2 * len(self.negatives))

    def auc(self, weight: np.ndarray | None = None) -> float:
        """Give the share of (positive, negative) pairs in the right order; nan without a pair of any weight."""
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
    """Measure the area under the ROC curve, exactly; with weights, a pair counts the product of its rows' weights."""
    return tally_auc(Tally.of(label, score, weight))


def tally_auc(tally: Tally) -> Value:
    """Measure the area under the ROC curve of rows that have been tallied."""
    if one_class := tally.one_class():
        return one_class
    wins, pairs = _twice_wins(tally.clicks, tally.others, np.zeros(len(tally.score), np.int64), 1)
    return Value(value=float(wins[0] / (2 * pairs[0])), n=int(tally.rows))


def pr_auc(tally: Tally) -> Value:
    """Measure average precision, sum of (R_k - R_k-1) P_k: the area under the precision-recall curve.

    k runs over the distinct scores from the highest down; P_k and R_k are precision and recall of the rows down to
    the k-th. A ranking by chance has the click rate.
    """
    if one_class := tally.one_class():
        return one_class
    clicks, rows = np.cumsum(tally.clicks[::-1]), np.cumsum(tally.mass[::-1])
    precision = np.divide(clicks, rows, out=np.zeros_like(rows), where=rows > 0)
    return Value(value=float(tally.clicks[::-1] @ precision / tally.click_count), n=int(tally.rows))


@dataclass(frozen=True, kw_only=True)
class GroupedAuc:
    """AUCs, one for each group of rows that holds both classes."""

    names: np.ndarray  # [G] of the groups that count
    aucs: np.ndarray  # [G]
    sizes: np.ndarray  # [G] their rows
    groups: int  # all groups
    rows: int  # all rows

    def by_group(self) -> Value:
        """Average over groups, each alike; n counts groups."""
        if not len(self.aucs):
            return self._undefined()
        return Value(value=float(self.aucs.mean()), n=len(self.aucs))

    def by_row(self) -> Value:
        """Average over groups weighted by their rows; n counts rows."""
        if not len(self.aucs):
            return self._undefined()
        return Value(value=float(np.average(self.aucs, weights=self.sizes)), n=int(self.sizes.sum()))

    def group_coverage(self) -> Value:
        """Give the share of groups that count; n is all groups."""
        return _share(len(self.aucs), self.groups)

    def row_coverage(self) -> Value:
        """Give the share of rows that count; n is all rows."""
        return _share(int(self.sizes.sum()), self.rows)

    def _undefined(self) -> Value:
        return undefined(f"none of {self.groups} groups holds both classes")


def grouped_auc(tally: GroupedTally) -> GroupedAuc:
    """Measure the AUC within each group (user or request), by running sums over all groups at once."""
    names, place = np.unique(tally.group, return_inverse=True)
    wins, pairs = _twice_wins(tally.clicks, tally.others, place, len(names))
    sizes = sums(place, tally.clicks + tally.others, len(names))
    mixed = pairs > 0
    return GroupedAuc(
        names=names[mixed],
        aucs=wins[mixed] / (2 * pairs[mixed]),
        sizes=sizes[mixed].astype(np.int64),
        groups=len(names),
        rows=int(sizes.sum()),
    )


def _twice_wins(
    clicks: np.ndarray, others: np.ndarray, group: np.ndarray, groups: int
) -> tuple[np.ndarray, np.ndarray]:
    """Twice the pairs in the right order (a tie is half in order), and all pairs, of each group: [groups] each.

    Entries are sorted by group, then by score. The sums are of whole numbers where weights are, hence exact.
    """
    of_group = [sums(group, part, groups) for part in (clicks, others)]
    before_group = np.cumsum(of_group[1]) - of_group[1]
    below = np.cumsum(others) - others - before_group[group]
    wins = sums(group, clicks * (2 * below + others), groups)
    return wins, of_group[0] * of_group[1]


def _share(part: int, whole: int) -> Value:
    return Value(value=part / whole, n=whole) if whole else undefined("no rows")
