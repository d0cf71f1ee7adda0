"""The headline of a run: each arm's mean prequential AUC, and how arms differ in it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import permutations, product

import numpy as np
from numpy.typing import NDArray

from pkb.errors import DataError
from simulator.book import BEST_ATTAINABLE
from simulator.measure.ranking import Ranking
from simulator.measure.results import Result
from simulator.measure.significance import bootstrap_aucs, delong_difference, percentile_interval
from simulator.measure.stored import Predictions
from simulator.measure.value import Value, undefined

Contender = tuple[str, int]  # arm and seed
Floats = NDArray[np.float64]
Formula = Callable[[Floats, Floats], Floats]


def difference(auc: Floats, reference: Floats) -> Floats:
    return auc - reference


def rel_impr_auc(auc: Floats, reference: Floats) -> Floats:
    """Relative improvement on the raw AUC, as EDK's Table 2 reports it."""
    return _ratio(auc - reference, reference)


def rel_impr_auc_minus_half(auc: Floats, reference: Floats) -> Floats:
    """Relative improvement on what the AUC has above chance, as ROK and DIN report it; nan at chance."""
    return _ratio(auc - reference, reference - 0.5)


def _ratio(part: Floats, whole: Floats) -> Floats:
    return np.divide(part, whole, out=np.full_like(whole, np.nan), where=whole != 0)


class Prequential:
    """Collects prequential predictions period by period; keeps AUCs and their replicates only.

    Period 0 has nothing before it and does not count. Where a period's AUC is undefined (its rows are of one
    class, for every arm alike) the mean is over the others, and `n` says over how many.
    """

    def __init__(
        self, replicates: int, seed: int, references: dict[str, str | None], stopped: dict[Contender, str]
    ) -> None:
        self.replicates, self.seed = replicates, seed
        self.references = references  # of each arm with knowledge, the same arm without it
        self.stopped = stopped
        self.periods: set[int] = set()
        self.samples: dict[Contender, dict[int, Floats]] = {}  # by period: AUC, then its replicates

    def add(self, pieces: list[Predictions]) -> Iterator[Result]:
        """Take in one period's prequential predictions; yields what knowledge changed in it."""
        sound = [p for p in pieces if np.isfinite(p.probability).all()]
        for p in sound:
            self._same_rows(p, sound[0])
        if sound and sound[0].evaluated_on >= 1:
            self._sample(sound)
        by_contender = {(p.arm, p.seed): p for p in sound}
        for p in sound:
            reference = by_contender.get((self.references.get(p.arm) or "", p.seed))
            if reference is not None:
                value = delong_difference(p.label, p.probability, reference.probability)
                yield Result(
                    arm=p.arm,
                    seed=p.seed,
                    metric="auc_difference",
                    of=reference.arm,
                    value=value,
                    trained_through=p.trained_through,
                    evaluated_on=p.evaluated_on,
                    holdout=False,
                )

    def results(self, contenders: list[Contender], last: int) -> Iterator[Result]:
        """Of the whole run: each contender, each pair of one seed, and each against the best attainable.

        `last` is the period that the run was trained through.
        """

        def result(contender: Contender, metric: str, value: Value, of: str | None = None) -> Result:
            arm, seed = contender
            return Result(arm=arm, seed=seed, metric=metric, of=of, value=value, trained_through=last, holdout=False)

        for contender in contenders:
            yield result(contender, "auc_prequential", self._mean(contender))
        arms = [contender for contender in contenders if contender[0] != BEST_ATTAINABLE]
        best = [contender for contender in contenders if contender[0] == BEST_ATTAINABLE]
        for mine, other in [*permutations(arms, 2), *product(arms, best)]:
            if mine[1] == other[1] or other in best:
                value = self._compare(mine, other, difference)
                yield result(mine, "auc_prequential_difference", value, of=other[0])
        for mine in arms:
            if mine[0] in self.references:
                reference = self.references[mine[0]]
                for formula in (rel_impr_auc, rel_impr_auc_minus_half):
                    value = (
                        self._compare(mine, (reference, mine[1]), formula)
                        if reference
                        else undefined("no arm has the same backbone and policy without knowledge")
                    )
                    yield result(mine, formula.__name__, value, of=reference)

    def _same_rows(self, p: Predictions, first: Predictions) -> None:
        if not np.array_equal(p.row_id, first.row_id):
            raise DataError(
                f"predictions of period {p.evaluated_on}: {p.arm} (seed {p.seed}) and {first.arm} "
                f"(seed {first.seed}) hold different rows, so they cannot be compared; run again"
            )

    def _sample(self, pieces: list[Predictions]) -> None:
        label, user, period = pieces[0].label, pieces[0].user, pieces[0].evaluated_on
        if not 0 < np.count_nonzero(label > 0) < len(label):
            return
        self.periods.add(period)
        scores = [p.probability for p in pieces]
        replicated = bootstrap_aucs(label, scores, user, self.replicates, self.seed)
        for p, replicates in zip(pieces, replicated, strict=True):
            auc = Ranking(label, p.probability).auc()
            self.samples.setdefault((p.arm, p.seed), {})[period] = np.concatenate([[auc], replicates])

    def _means(self, contender: Contender) -> Floats | Value:
        """The mean over periods of the AUC and of each replicate, or why there is none."""
        if contender in self.stopped:
            return undefined(self.stopped[contender])
        if not self.periods:
            return undefined("no period after the first holds both classes")
        mine = self.samples.get(contender, {})
        missing = sorted(self.periods - mine.keys())
        if missing:
            return undefined(f"{contender[0]} (seed {contender[1]}) has no sound predictions for period {missing[0]}")
        means: Floats = np.stack([mine[period] for period in sorted(self.periods)]).mean(axis=0)
        return means

    def _mean(self, contender: Contender) -> Value:
        means = self._means(contender)
        return means if isinstance(means, Value) else self._value(means)

    def _compare(self, mine: Contender, other: Contender, formula: Formula) -> Value:
        means, reference = self._means(mine), self._means(other)
        if isinstance(means, Value):
            return means
        return reference if isinstance(reference, Value) else self._value(formula(means, reference))

    def _value(self, means: Floats) -> Value:
        if np.isnan(means[0]):
            return undefined("the reference stands at zero, so that nothing is relative to it", len(self.periods))
        low, high = percentile_interval(means[1:])
        return Value(value=float(means[0]), low=low, high=high, n=len(self.periods))
