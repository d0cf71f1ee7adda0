"""Every metric by scenario, what is forgotten of each, and what becomes of one while no rows of it are learned.

A scenario is away from the first period without rows of it to the one before it returns. The models of those periods
were trained while it was absent; they are measured on its rows in the holdouts before, and what the last of them has
lost is how far their AUC has fallen there since the scenario's latest rows were learned.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from simulator.measure.forgotten import Forgotten
from simulator.measure.results import Result
from simulator.measure.samples import Samples
from simulator.measure.scored import Scored, scored
from simulator.measure.value import Value
from simulator.record.experiment import ArmAndSeed, Experiment
from simulator.record.predictions import of_scenario

Told = tuple[str, str, str | None, int, bool, Value]  # arm, metric, of what, model, whether on holdouts, value


class ByScenario:
    """Collects the predictions for rows of a few scenarios, each by itself."""

    def __init__(
        self,
        scenarios: Sequence[int],
        experiment: Experiment,
        *,
        singles: Mapping[str, int],
        baselines: Mapping[str, str],
        stopped: Mapping[ArmAndSeed, str],
        counted_from: int,
    ) -> None:
        self.baselines = baselines
        self.of = {
            scenario: _OneScenario(
                samples=Samples(
                    replicates=experiment.bootstrap,
                    seeds=experiment.seeds,
                    singles=singles,
                    stopped=stopped,
                    counted_from=counted_from,
                ),
                forgotten=Forgotten(experiment, stopped, counted_from),
            )
            for scenario in scenarios
        }

    def add(self, pieces: list[Scored]) -> None:
        """Take in the predictions of one kind for one period."""
        sound = [its.p for its in pieces if its.finite]
        for scenario, its in self.of.items():
            rows = of_scenario(sound, scenario)
            if rows and len(rows[0].label):
                its.add(scored(rows))

    def results(self, everyone: Sequence[ArmAndSeed], last: int) -> Iterator[Result]:
        """Yield the numbers of each scenario; `last` is the period that the run was trained through."""
        for scenario, its in self.of.items():
            yield from its.results({arm for arm, _ in everyone}, self.baselines, last, f"scenario={scenario}")


class _OneScenario:
    def __init__(self, samples: Samples, forgotten: Forgotten) -> None:
        self.samples, self.forgotten = samples, forgotten
        self.there: set[int] = set()  # the periods that have rows of it

    def add(self, pieces: list[Scored]) -> None:
        if pieces[0].p.holdout:
            self.forgotten.add(pieces)
        else:
            self.there.add(pieces[0].p.evaluated_on)
            self.samples.take(pieces)

    def results(self, names: set[str], baselines: Mapping[str, str], last: int, slice: str) -> Iterator[Result]:
        arms, singles = sorted(names - self.samples.singles.keys()), sorted(names & self.samples.singles.keys())
        for seed in self.samples.seeds_told:
            own_seed = seed in (self.samples.seeds[0], None)  # who has one seed is told once for all
            shown = self._shown([*arms, *(singles if own_seed else [])], baselines, seed, last)
            for arm, metric, of, through, holdout, value in [*shown, *self._kept(arms, seed, last)]:
                yield Result(
                    arm=arm,
                    seed=seed,
                    metric=metric,
                    of=of,
                    value=value,
                    trained_through=through,
                    holdout=holdout,
                    slice=slice,
                )

    def _shown(self, arms: list[str], baselines: Mapping[str, str], seed: int | None, last: int) -> Iterator[Told]:
        """Every metric of the periods as they came, and its difference to what the arm is held against."""
        for metric in self.samples.samples:
            for arm in arms:
                yield arm, f"{metric}_prequential", None, last, False, self.samples.mean(metric, arm, seed)
            for arm, other in baselines.items():
                value = self.samples.compare(metric, arm, other, seed)
                yield arm, f"{metric}_prequential_difference", other, last, False, value

    def _kept(self, arms: list[str], seed: int | None, last: int) -> Iterator[Told]:
        """What is left of the scenario at the end, and while it was away."""
        if not self.forgotten.cells:
            return
        seeds = self.samples.seeds if seed is None else [seed]
        for arm in arms:
            yield arm, "forgetting", "auc", last, True, self.forgotten.forgetting(arm, seeds)
            for on, away in absences(self.there, self.forgotten.last):
                aucs, lost = self.forgotten.since(arm, seeds, on, away)
                for model, auc in zip(away, aucs, strict=True):
                    yield arm, "auc_while_absent", None, model, True, auc
                yield arm, "lost_while_absent", "auc", away[-1], True, lost


def absences(there: set[int], last: int) -> list[tuple[int, range]]:
    """The latest period with a scenario and the periods without it that follow, of each absence."""
    stays = sorted(there)
    returns = [*stays[1:], last + 1]
    return [(on, range(on + 1, back)) for on, back in zip(stays, returns, strict=True) if back > on + 1]
