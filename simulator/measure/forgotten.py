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
from simulator.measure.ranking import Ranking
from simulator.measure.results import Result
from simulator.measure.significance import bootstrap_aucs
from simulator.measure.tally import Floats
from simulator.measure.users import clusters
from simulator.measure.value import Value, undefined
from simulator.record.experiment import ArmAndSeed, Experiment
from simulator.record.predictions import Predictions

REDRAWS = 50  # at most, as R has many cells: a standard error of so many is right to about a tenth


class Forgotten:
    """Collects the AUC of each model on each holdout with its redraws, not the predictions."""

    def __init__(self, experiment: Experiment, stopped: Mapping[ArmAndSeed, str], counted_from: int) -> None:
        self.seeds, self.replicates = experiment.seeds, min(experiment.bootstrap, REDRAWS)
        self.arms = [*experiment.arms]
        self.stopped, self.counted_from, self.tuned_on = stopped, counted_from, experiment.tuned_on
        self.last = -1  # the period that models were trained through at the end
        self.cells: dict[ArmAndSeed, dict[int, dict[int, Floats]]] = {}  # by holdout and model: [1 + R]

    def add(self, pieces: list[Predictions]) -> None:
        """Take in predictions for one holdout by models of one period, of which arms that have learned it count."""
        mine = [
            p
            for p in pieces
            if p.arm in self.arms
            and p.trained_through >= max(p.evaluated_on, self.counted_from - 1)
            and np.isfinite(p.probability).all()
        ]
        if not mine or mine[0].evaluated_on < self.tuned_on:
            return
        label, user = mine[0].label, clusters(mine[0])
        mine = [p for p in mine if p.same_rows(mine[0])]  # others pair up with nothing
        scores = [p.probability for p in mine]
        points = [[Ranking(label, score).auc()] for score in scores]
        drawn = np.hstack([points, bootstrap_aucs(label, scores, user, self.replicates, self.seeds[0])])
        self.last = max(self.last, mine[0].trained_through)
        for p, aucs in zip(mine, drawn, strict=True):
            if np.isfinite(aucs[0]):
                self.cells.setdefault((p.arm, p.seed), {}).setdefault(p.evaluated_on, {})[p.trained_through] = aucs

    def intervals(self) -> dict[ArmAndSeed, Value]:
        """Give each arm's forgetting of the AUC with its interval, by seed."""
        return {(arm, seed): self._value(self._lost(arm, [seed])) for arm in self.arms for seed in self.seeds}

    def results(self, last: int) -> Iterator[Result]:
        """Yield forgetting over all seeds where there are several, and how arms differ in it (`of` one another)."""
        if not self.cells:
            return
        several = len(self.seeds) > 1
        lost = {arm: self._lost(arm, self.seeds) for arm in self.arms}
        told = [(arm, "forgetting", "auc", self._value(lost[arm])) for arm in self.arms if several]
        for arm, other in permutations(self.arms, 2):
            mine, its = lost[arm], lost[other]
            gap: Floats | Value
            if isinstance(mine, Value) or isinstance(its, Value):
                gap = mine if isinstance(mine, Value) else its
            else:
                gap = mine - its
            told.append((arm, "forgetting_difference", other, self._value(gap)))
        for arm, metric, of, value in told:
            seed = None if several else self.seeds[0]
            yield Result(arm=arm, seed=seed, metric=metric, of=of, value=value, trained_through=last, holdout=True)

    def _lost(self, arm: str, seeds: list[int]) -> Floats | Value:
        """[S, 1 + R], the forgetting of each seed, or why there is none."""
        rows = []
        for seed in seeds:
            if (arm, seed) in self.stopped:
                return undefined(self.stopped[arm, seed])
            found = self.cells.get((arm, seed), {}).values()
            models = [by_model for by_model in found if self.last in by_model and len(by_model) > 1]
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
