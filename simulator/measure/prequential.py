"""The headline of a run: each arm's metrics over the periods, and how arms differ in them.

Every mean is over the periods after the first lesson, each predicted before it was learned; under the protocol
`split` that is the test period alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import permutations, product

import numpy as np

from simulator.measure.estimate import Estimate, holm
from simulator.measure.gap import Gap, closed, gap_of
from simulator.measure.results import Result
from simulator.measure.samples import Formula, Samples
from simulator.measure.scored import Scored
from simulator.measure.significance import delong_difference
from simulator.measure.tally import Floats
from simulator.measure.value import Value, undefined
from simulator.record.experiment import ArmAndSeed

LEAST_ABOVE_CHANCE = 0.01  # AUC above 0.5 that a relative gain needs: over less, a gain of 0.01 would read "+100 %"


def rel_impr_auc(auc: Floats, reference: Floats) -> Floats:
    """Relate an improvement to the raw AUC, as EDK's Table 2 reports it."""
    return _ratio(auc - reference, reference)


def rel_impr_auc_minus_half(auc: Floats, reference: Floats) -> Floats:
    """Relate an improvement to what the AUC has above chance, as ROK and DIN report it; nan at chance."""
    return _ratio(auc - reference, reference - 0.5)


def _ratio(part: Floats, whole: Floats) -> Floats:
    return np.divide(part, whole, out=np.full_like(whole, np.nan), where=whole != 0)


class Prequential(Samples):
    """Collects prequential predictions period by period, and holds arms against one another.

    With `singles` arms are compared, and no family of tests holds them.
    """

    def __init__(
        self,
        *,
        replicates: int,
        seeds: list[int],
        singles: Mapping[str, int],
        references: Mapping[str, str | None],
        baselines: Mapping[str, str],
        learners: Mapping[str, list[str]],
        stopped: Mapping[ArmAndSeed, str],
        counted_from: int = 1,
    ) -> None:
        super().__init__(
            replicates=replicates, seeds=seeds, singles=singles, stopped=stopped, counted_from=counted_from
        )
        self.references = references  # of each arm with knowledge, the same arm without it
        self.baselines = baselines  # of each arm, the one that it is tested against
        self.learners = learners  # of each arm with knowledge, those without that have learned all of the log

    def add(self, pieces: list[Scored]) -> Iterator[Result]:
        """Take in one period's prequential predictions; yields how arms differ from their baselines in it."""
        sound = [its for its in pieces if its.finite]
        self.take(sound)
        by_who = {(its.p.arm, its.p.seed): its for its in sound}
        for (arm, seed), its in by_who.items():
            baseline = by_who.get((self.baselines.get(arm, ""), seed))
            if baseline is not None:
                yield from _period_difference(its, baseline)

    def results(self, everyone: Iterable[ArmAndSeed], last: int) -> Iterator[Result]:
        """Yield the metrics of the whole run, by seed and, where there are several, over all of them (`seed` None).

        `last` is the period that the run was trained through.
        """
        names = sorted({arm for arm, _ in everyone})
        for seed in self.seeds_told:
            for arm, metric, of, value in self._told(names, seed):
                yield Result(arm=arm, seed=seed, metric=metric, of=of, value=value, trained_through=last, holdout=False)
        yield from self._gaps_closed(last)

    def gaps(self) -> dict[str, Gap]:
        """Choose for each arm with knowledge what it may come up to, by the mean AUC over all seeds."""
        seed = self.seeds_told[-1]
        everyone = {name for names in self.learners.values() for name in names}
        auc = {name: self.mean("auc", name, seed).value for name in everyone}
        return {arm: gap_of(bare, self.learners.get(arm, []), auc) for arm, bare in self.references.items()}

    def _gaps_closed(self, last: int) -> Iterator[Result]:
        """Yield how much of its gap each arm with knowledge closes, by period and over the whole run."""
        seed, periods = self.seeds_told[-1], sorted(self.defined.get("auc", set()))
        for arm, gap in self.gaps().items():
            names = (arm, gap.bare, gap.reference)
            for period in (None, *periods):
                among = periods if period is None else [period]
                means = (self.means("auc", name, seed, among) for name in names)
                value = undefined(gap.reason) if gap.reason else closed(gap, means, len(among), larger_is_better=True)
                yield Result(
                    arm=arm,
                    seed=seed,
                    metric="auc_prequential_gap_closed" if period is None else "auc_gap_closed",
                    of=gap.reference or None,
                    value=value,
                    trained_through=last if period is None else period - 1,
                    evaluated_on=period,
                    holdout=False,
                )

    def _told(self, names: list[str], seed: int | None) -> Iterator[tuple[str, str, str | None, Value]]:
        """Arm, metric, of what, and the value."""
        arms, singles = [n for n in names if n not in self.singles], [n for n in names if n in self.singles]
        own_seed = seed in (self.seeds[0], None)  # who has one seed is told once for all
        for metric in ("auc", *(name for name in self.samples if name != "auc")):
            for arm in [*arms, *(singles if own_seed else [])]:
                yield arm, f"{metric}_prequential", None, self.mean(metric, arm, seed)
            pairs = [*permutations(arms, 2), *product(arms, singles)] if metric == "auc" else self.baselines.items()
            for arm, other in pairs:
                if arm in arms and other in names:
                    yield arm, f"{metric}_prequential_difference", other, self.compare(metric, arm, other, seed)
        for arm in arms:
            if arm in self.references:
                for formula in (rel_impr_auc, rel_impr_auc_minus_half):
                    yield arm, formula.__name__, self.references[arm], self._improvement(arm, seed, formula)
        if seed == self.seeds_told[-1]:
            yield from self._tests([arm for arm in arms if self.baselines.get(arm) in arms], seed)

    def _tests(self, arms: list[str], seed: int | None) -> Iterator[tuple[str, str, str | None, Value]]:
        """Whether arms differ from their baselines in mean AUC: one family of tests, an arm each."""
        p_values: dict[str, Value] = {}
        for arm in arms:
            samples = self.differences("auc", arm, self.baselines[arm], seed)
            estimate = samples if isinstance(samples, Value) else Estimate.over_seeds(samples, len(self.defined["auc"]))
            p_values[arm] = estimate if isinstance(estimate, Value) else estimate.p_value()
            detectable = estimate if isinstance(estimate, Value) else estimate.detectable()
            yield arm, "detectable_difference", self.baselines[arm], detectable
        known = {arm: p.value for arm, p in p_values.items() if p.value is not None}
        adjusted = dict(zip(known, holm(list(known.values())), strict=True))
        for arm, p in p_values.items():
            yield arm, "p_value", self.baselines[arm], p
            corrected = Value(value=adjusted[arm], n=len(known)) if arm in known else p
            yield arm, "p_value_holm", self.baselines[arm], corrected

    def _improvement(self, arm: str, seed: int | None, formula: Formula) -> Value:
        reference = self.references[arm]
        if reference is None:
            return undefined("no arm has the same backbone and policy without knowledge")
        if formula is rel_impr_auc_minus_half and (chance := _at_chance(reference, self.mean("auc", reference, seed))):
            return chance
        return self.compare("auc", arm, reference, seed, formula)


def _at_chance(reference: str, auc: Value) -> Value | None:
    """Give the undefined value of what is relative to an AUC above 0.5 that is not clearly there."""
    if auc.value is None:
        return None
    if auc.value - 0.5 >= LEAST_ABOVE_CHANCE and (auc.low is None or auc.low > 0.5):
        return None
    return undefined(f"the AUC of {reference}, {auc.value:.4f}, is not clearly above 0.5: nothing is relative to it")


def _period_difference(its: Scored, baseline: Scored) -> Iterator[Result]:
    """How two arms' AUC differs in one period, by DeLong's test."""
    p = its.p
    estimate = delong_difference(its.placements, baseline.placements)
    if isinstance(estimate, Value):
        values = dict.fromkeys(("auc_difference", "p_value"), estimate)
    else:
        values = {"auc_difference": estimate.interval((-1.0, 1.0)), "p_value": estimate.p_value()}
    for metric, value in values.items():
        yield Result(
            arm=p.arm,
            seed=p.seed,
            metric=metric,
            of=baseline.p.arm,
            value=value,
            trained_through=p.trained_through,
            evaluated_on=p.evaluated_on,
            holdout=False,
        )
