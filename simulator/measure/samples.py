"""Metrics under redraws of users, kept by contender and period: their means over periods, and how arms differ in them.

All predictions are prequential, and of the same rows for every contender.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from pkb.errors import DataError
from simulator.measure.estimate import Estimate
from simulator.measure.redraw import redraws
from simulator.measure.scored import Scored
from simulator.measure.significance import percentile_interval
from simulator.measure.tally import Floats
from simulator.measure.value import Value, undefined
from simulator.record.experiment import ArmAndSeed
from simulator.record.predictions import Predictions

Formula = Callable[[Floats, Floats], Floats]


def difference(auc: Floats, reference: Floats) -> Floats:
    """Take the reference from the metric."""
    return auc - reference


class Samples:
    """Collects predictions period by period; keeps metrics and their redraws only.

    Where a metric is undefined in a period (its rows are of one class, for every arm alike) the mean is over the
    others, and `n` says over how many. `seeds` are those of every arm; `singles` (yardsticks, the best attainable) have
    one of their own each.
    """

    def __init__(
        self,
        *,
        replicates: int,
        seeds: list[int],
        singles: Mapping[str, int],
        stopped: Mapping[ArmAndSeed, str],
        counted_from: int,
    ) -> None:
        self.replicates, self.seeds, self.singles, self.stopped = replicates, seeds, singles, stopped
        self.counted_from = counted_from  # the first period that somebody had learned something before
        self.samples: dict[str, dict[ArmAndSeed, dict[int, Floats]]] = {}  # by metric; by period [1 + R]
        self.defined: dict[str, set[int]] = {}  # by metric, the periods in which it is

    def take(self, sound: list[Scored]) -> None:
        """Take in one period's predictions, all of them finite."""
        for its in sound:
            _same_rows(its.p, sound[0].p)
        if sound and sound[0].p.evaluated_on >= self.counted_from:
            for metric, values in redraws(sound, self.replicates, self.seeds[0]).items():
                self._note(metric, [its.p for its in sound], values)

    def _note(self, metric: str, pieces: list[Predictions], values: Floats) -> None:
        samples, defined = self.samples.setdefault(metric, {}), self.defined.setdefault(metric, set())
        for p, sample in zip(pieces, values, strict=True):
            samples.setdefault((p.arm, p.seed), {})[p.evaluated_on] = sample
            if np.isfinite(sample[0]):
                defined.add(p.evaluated_on)

    @property
    def seeds_told(self) -> list[int | None]:
        """Each seed and, where there are several, all of them (None)."""
        return [*self.seeds, None] if len(self.seeds) > 1 else [*self.seeds]

    def mean(self, metric: str, arm: str, seed: int | None) -> Value:
        """Average a metric over the periods in which it is defined."""
        means = self.means(metric, arm, seed)
        return means if isinstance(means, Value) else self._value(metric, means)

    def compare(self, metric: str, arm: str, other: str, seed: int | None, formula: Formula = difference) -> Value:
        """Hold an arm's mean against another's."""
        samples = self.differences(metric, arm, other, seed, formula)
        return samples if isinstance(samples, Value) else self._value(metric, samples)

    def differences(
        self, metric: str, arm: str, other: str, seed: int | None, formula: Formula = difference
    ) -> Floats | Value:
        """[S, 1 + R] of the formula, seed by seed."""
        means, reference = self.means(metric, arm, seed), self.means(metric, other, seed)
        if isinstance(means, Value):
            return means
        return reference if isinstance(reference, Value) else formula(means, np.broadcast_to(reference, means.shape))

    def means(self, metric: str, arm: str, seed: int | None, among: Sequence[int] = ()) -> Floats | Value:
        """[S, 1 + R], the mean of the metric and of each redraw for each seed, or why there is none.

        Over all periods in which it is defined, unless some are named.
        """
        seeds = self.seeds if seed is None else [seed]
        if arm in self.singles:
            seeds = [self.singles[arm]]
        rows = []
        for each in seeds:
            found = self._mean_sample(metric, (arm, each), among)
            if isinstance(found, Value):
                return found
            rows.append(found)
        return np.stack(rows)

    def difference_in(self, period: int, arm: str, other: str, seed: int | None) -> Value:
        """Take the other's AUC in one period from an arm's, over users and, where `seed` is None, over all seeds."""
        samples = []
        for each in self.seeds if seed is None else [seed]:
            mine, its = (self.samples.get("auc", {}).get((name, each), {}).get(period) for name in (arm, other))
            if mine is None or its is None:
                return undefined(f"{arm} or {other} (seed {each}) has no sound predictions for period {period}")
            samples.append(mine - its)
        if period not in self.defined["auc"]:
            return undefined(f"the rows of period {period} are of one class")
        return Estimate.over_seeds(np.stack(samples), 1).interval((-1.0, 1.0))

    def _mean_sample(self, metric: str, who: ArmAndSeed, among: Sequence[int]) -> Floats | Value:
        if who in self.stopped:
            return undefined(self.stopped[who])
        periods = among or sorted(self.defined.get(metric, set()))
        if not periods:
            return undefined("no period after the first lesson holds both classes")
        mine = self.samples[metric].get(who, {})
        missing = [period for period in periods if period not in mine]
        if missing:
            return undefined(f"{who[0]} (seed {who[1]}) has no sound predictions for period {missing[0]}")
        means: Floats = np.stack([mine[period] for period in periods]).mean(axis=0)
        return means

    def _value(self, metric: str, samples: Floats) -> Value:
        n = len(self.defined[metric])
        if np.isnan(samples[:, 0]).any():
            return undefined("the reference stands at zero, so that nothing is relative to it", n)
        if len(samples) > 1:
            return Estimate.over_seeds(samples, n).interval()
        low, high = percentile_interval(samples[0, 1:])
        return Value(value=float(samples[0, 0]), low=low, high=high, n=n)


def _same_rows(p: Predictions, first: Predictions) -> None:
    if not p.same_rows(first):
        raise DataError(
            f"predictions of period {p.evaluated_on}: {p.arm} (seed {p.seed}) and {first.arm} "
            f"(seed {first.seed}) hold different rows, so they cannot be compared; run again"
        )
