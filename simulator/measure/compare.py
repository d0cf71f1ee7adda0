"""Arms of several runs against one another, paired row by row."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa

from pkb.errors import RunError
from simulator.measure.prequential import Prequential
from simulator.measure.results import About, Result, to_table
from simulator.measure.scored import scored
from simulator.record.costs import learned_from, read_costs, stop_reasons
from simulator.record.experiment import ArmAndSeed, Experiment
from simulator.record.layout import RunFolder
from simulator.record.predictions import BEST_ATTAINABLE, Predictions, read_predictions


@dataclass(frozen=True, kw_only=True)
class Played:
    """A run to compare; `name` tells it from the others."""

    name: str
    folder: RunFolder
    experiment: Experiment

    def rename(self, arm: str) -> str:
        """Name an arm of this run among those of others."""
        return f"{self.name}/{arm}"


def compare(runs: Sequence[Played]) -> pa.Table:
    """Measure the arms and yardsticks of all runs, each named `run/arm`: a table of results.

    An arm's baseline is the arm of the same name in the first run, or where it has none the first run's first arm.
    The bootstrap is the first run's. RunError where the runs were not measured on the same rows, or with other seeds.
    """
    first = runs[0].experiment
    _same_conditions(runs)
    stopped: dict[ArmAndSeed, str] = {}
    counted_from = 1
    for run in runs:
        costs = read_costs(run.folder, run.experiment.keys)
        stopped |= {(run.rename(arm), seed): reason for (arm, seed), reason in stop_reasons(costs).items()}
        counted_from = max(counted_from, learned_from(costs, run.experiment.arms), run.experiment.first_measured)
    yardsticks = [run.rename(name) for run in runs for name in run.experiment.yardsticks]
    prequential = Prequential(
        replicates=first.bootstrap,
        seeds=first.seeds,
        singles=dict.fromkeys(yardsticks, first.seeds[0]),
        references={},
        learners={},
        baselines=baselines(runs),
        stopped=stopped,
        counted_from=counted_from,
    )
    results: list[Result] = []
    periods = [_Periods(run) for run in runs]
    last = 0
    while any(each.now for each in periods):
        pieces = [piece for each in periods for piece in each.now]
        _same_rows([each.now for each in periods], runs)
        results += prequential.add(scored(pieces))
        last = pieces[0].evaluated_on
        for each in periods:
            each.advance()
    everyone = [(run.rename(arm), seed) for run in runs for arm, seed in run.experiment.everyone]
    results += prequential.results(everyone, last)
    tuned_on = max(run.experiment.tuned_on for run in runs)
    about = About(
        data=first.data,
        yardsticks=yardsticks,
        counted_from=counted_from,
        tuned_on=tuned_on,
    )
    return to_table(results, " and ".join(run.name for run in runs), about)


def baselines(runs: Sequence[Played]) -> dict[str, str]:
    """Find what each arm of the runs after the first is tested against."""
    first = runs[0]
    fallback = next(iter(first.experiment.arms))
    return {
        run.rename(arm): first.rename(arm if arm in first.experiment.arms else fallback)
        for run in runs[1:]
        for arm in run.experiment.arms
    }


class _Periods:
    """The prequential predictions of a run, a period at a time, its arms renamed; `now` is empty after the last."""

    def __init__(self, run: Played) -> None:
        self.run = run
        everything = read_predictions(run.folder, run.experiment.keys)
        self.left = (pieces for pieces in everything if not pieces[0].holdout)
        self.advance()

    def advance(self) -> None:
        pieces = next(self.left, [])
        self.now = [p.renamed(self.run.rename(p.arm)) for p in pieces if p.arm != BEST_ATTAINABLE]


def _same_conditions(runs: Sequence[Played]) -> None:
    first, its = runs[0], runs[0].experiment
    for run in runs[1:]:
        mine = run.experiment
        if mine.data != its.data:
            raise RunError(
                f"{run.folder}: replayed {mine.data} and {first.folder} {its.data}; runs of one log can be compared"
            )
        if mine.seeds != its.seeds:
            raise RunError(
                f"{run.folder}: has seeds {mine.seeds} and {first.folder} {its.seeds}; "
                "run one of them again with the seeds of the other"
            )


def _same_rows(now: Sequence[list[Predictions]], runs: Sequence[Played]) -> None:
    """RunError unless all runs predict the same period and the same rows with the same labels in it."""
    first = now[0]
    for mine, run in zip(now[1:], runs[1:], strict=True):
        names = f"{run.folder} and {runs[0].folder}"
        if not mine or not first or mine[0].evaluated_on != first[0].evaluated_on:
            told = [f"period {each[0].evaluated_on}" if each else "nothing more" for each in (mine, first)]
            raise RunError(f"{names} do not predict the same periods: next come {told[0]} and {told[1]}")
        if not mine[0].same_rows(first[0]):
            raise RunError(
                f"{names} were not measured on the same rows in period {first[0].evaluated_on}; "
                "run both on the same log with the same stream settings"
            )
