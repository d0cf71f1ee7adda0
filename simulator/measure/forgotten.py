"""How sure one can be that an arm forgets, and that it forgets more than another.

Forgetting is taken of the AUC on the holdouts, under the same redraws of users for every arm (`significance`). The
largest of several redrawn numbers lies above the largest of the numbers themselves; so an interval takes from the
redraws their spread alone, and stands around the measured number.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import permutations

import numpy as np

from simulator.measure.estimate import Estimate
from simulator.measure.gap import Gap, closed
from simulator.measure.results import Result
from simulator.measure.scored import Scored
from simulator.measure.significance import bootstrap_aucs
from simulator.measure.tally import Floats
from simulator.measure.value import Value, undefined
from simulator.record.experiment import ArmAndSeed, Experiment

REDRAWS = 50  # at most, as R has many cells: a standard error of so many is right to about a tenth


class Forgotten:
    """Collects the AUC of each model on each holdout with its redraws, not the predictions."""

    def __init__(self, experiment: Experiment, stopped: Mapping[ArmAndSeed, str], counted_from: int) -> None:
        self.seeds, self.replicates = experiment.seeds, min(experiment.bootstrap, REDRAWS)
        self.arms = [*experiment.arms]
        self.stopped, self.counted_from, self.tuned_on = stopped, counted_from, experiment.tuned_on
        self.last = -1  # the period that models were trained through at the end
        self.cells: dict[ArmAndSeed, dict[int, dict[int, Floats]]] = {}  # by holdout and model: [1 + R]

    def add(self, pieces: list[Scored]) -> None:
        """Take in predictions for one holdout by models of one period, of which arms that have learned it count."""
        mine = [
            its
            for its in pieces
            if its.p.arm in self.arms
            and its.p.trained_through >= max(its.p.evaluated_on, self.counted_from - 1)
            and its.finite
        ]
        if not mine or mine[0].p.evaluated_on < self.tuned_on:
            return
        first = mine[0].p
        self.last = max(self.last, first.trained_through)
        for its in mine:
            p = its.p
            if p.same_rows(first):  # others pair up with nothing
                aucs = bootstrap_aucs(its.ranking, its.groups.redrawn(self.replicates, self.seeds[0]))
                if np.isfinite(aucs[0]):
                    self.cells.setdefault((p.arm, p.seed), {}).setdefault(p.evaluated_on, {})[p.trained_through] = aucs

    def intervals(self) -> dict[ArmAndSeed, Value]:
        """Give each arm's forgetting of the AUC with its interval, by seed."""
        return {(arm, seed): self.forgetting(arm, [seed]) for arm in self.arms for seed in self.seeds}

    def forgetting(self, arm: str, seeds: list[int]) -> Value:
        """Give an arm's forgetting of the AUC over these seeds."""
        return self._value(self._lost(arm, seeds))

    def since(self, arm: str, seeds: list[int], on: int, models: range) -> tuple[list[Value], Value]:
        """Give the AUC of models of later periods on the holdouts up to period `on`, and what the last has lost there.

        Means over holdouts; lost is what the model trained through `on` had more.
        """
        found = [self._over_holdouts(arm, seeds, model, on, [on, *models]) for model in (on, *models)]
        before, after = found[0], found[-1]
        lost = before - after if not isinstance(before, Value) and not isinstance(after, Value) else after
        return [self._value(each) for each in found[1:]], self._value(lost)

    def _over_holdouts(self, arm: str, seeds: list[int], model: int, on: int, everyone: list[int]) -> Floats | Value:
        """[S, 1 + R], the mean AUC of a model on the holdouts up to period `on` that all models of `everyone` have."""
        rows = []
        for seed in seeds:
            if (arm, seed) in self.stopped:
                return undefined(self.stopped[arm, seed])
            cells = self.cells.get((arm, seed), {})
            aucs = [by_model[model] for j, by_model in cells.items() if j <= on and by_model.keys() >= {*everyone}]
            if not aucs:
                return undefined("no holdout up to then holds both classes of it")
            rows.append(np.mean(aucs, axis=0))
        return np.stack(rows)

    def results(self, last: int, gaps: Mapping[str, Gap]) -> Iterator[Result]:
        """Yield forgetting over all seeds where there are several, and how arms differ in it (`of` one another).

        And how much of its gap each arm with knowledge closes.
        """
        if not self.cells:
            return
        several = len(self.seeds) > 1
        lost = {arm: self._lost(arm, self.seeds) for arm in self.arms}
        told = [(arm, "forgetting", "auc", self._value(lost[arm])) for arm in self.arms if several]
        for arm, other in permutations(self.arms, 2):
            mine, its = lost[arm], lost[other]
            more: Floats | Value
            if isinstance(mine, Value) or isinstance(its, Value):
                more = mine if isinstance(mine, Value) else its
            else:
                more = mine - its
            told.append((arm, "forgetting_difference", other, self._value(more)))
        seed = None if several else self.seeds[0]
        for arm, metric, of, value in told:
            yield Result(arm=arm, seed=seed, metric=metric, of=of, value=value, trained_through=last, holdout=True)
        for on in (None, *self._holdouts()):
            for arm, gap in gaps.items():
                three = (self._lost(name, self.seeds, on) for name in (arm, gap.bare, gap.reference))
                value = closed(gap, three, self.last if on is None else 1, larger_is_better=False)
                yield Result(
                    arm=arm,
                    seed=seed,
                    metric="forgetting_gap_closed",
                    of=gap.reference or None,
                    value=value,
                    trained_through=last,
                    evaluated_on=on,
                    holdout=True,
                )

    def _holdouts(self) -> list[int]:
        """The periods whose holdouts can have been forgotten by the end."""
        return sorted({on for cells in self.cells.values() for on in cells if on < self.last})

    def _lost(self, arm: str, seeds: list[int], on: int | None = None) -> Floats | Value:
        """[S, 1 + R], the forgetting of each seed, of one holdout or of all on average, or why there is none."""
        rows = []
        for seed in seeds:
            if (arm, seed) in self.stopped:
                return undefined(self.stopped[arm, seed])
            found = {j: by for j, by in self.cells.get((arm, seed), {}).items() if on is None or j == on}
            models = [by_model for by_model in found.values() if self.last in by_model and len(by_model) > 1]
            if not models:
                return undefined("needs a holdout measured after its own period and again after the last")
            lost = [
                np.max([auc for through, auc in by_model.items() if through < self.last], axis=0) - by_model[self.last]
                for by_model in models
            ]
            rows.append(np.mean(lost, axis=0))
        return np.stack(rows)

    def _value(self, samples: Floats | Value) -> Value:
        return samples if isinstance(samples, Value) else Estimate.over_seeds(samples, self.last).interval()
