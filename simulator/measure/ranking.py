"""How well scores rank clicks before other rows: AUC, the grouped AUCs and PR-AUC.

Labels are 0 or 1, one per row; scores are finite. Ties take mid-ranks. What is undefined, such as the AUC of rows
of one class, is a `Value` without a value and with a reason.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from simulator.measure.tally import GroupedTally, Tally, edges, sums, weighted
from simulator.measure.value import Value, undefined


class Ranking:
    """The scores of N rows, ranked once: a row's level is the number of distinct scores below its own."""

    def __init__(self, label: np.ndarray, score: np.ndarray) -> None:
        self.clicked = label > 0
        self.order = np.argsort(score)  # [N]
        first = edges(score[self.order])
        self.level = np.empty(len(score), np.int64)
        self.level[self.order] = np.cumsum(first) - 1
        self.scores = score[self.order][first]  # [S] ascending

    def tally(self, rows: np.ndarray | None = None) -> Tally:
        """Count the rows, or those of a mask, by their scores."""
        level, clicked = (each if rows is None else each[rows] for each in (self.level, self.clicked))
        mass, clicks = (np.bincount(each, minlength=len(self.scores)) for each in (level, level[clicked]))
        there = mass > 0
        others = (mass - clicks)[there]
        return Tally(
            score=self.scores[there], clicks=clicks[there].astype(np.float64), others=others.astype(np.float64)
        )

    def within(self, group: np.ndarray) -> GroupedTally:
        """Count the rows by their level within groups that are numbered from 0 up; levels stand for scores."""
        key = ((group * len(self.scores) + self.level) << 1) + self.clicked  # orders by group, level and label
        key.sort()
        pair, clicked = key >> 1, key & 1
        first = edges(pair)
        place = np.cumsum(first) - 1
        mass, clicks = np.bincount(place), np.bincount(place[clicked > 0], minlength=int(np.count_nonzero(first)))
        of, level = np.divmod(pair[first], max(1, len(self.scores)))
        return GroupedTally(
            group=of, score=level, clicks=clicks.astype(np.float64), others=(mass - clicks).astype(np.float64)
        )


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
    return Value(value=weighted(tally.clicks[::-1], precision) / tally.click_count, n=int(tally.rows))


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
    first = edges(tally.group)
    names, place = tally.group[first], np.cumsum(first) - 1
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
