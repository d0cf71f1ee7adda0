"""All metrics of a run, from what it has stored: a new metric needs no rerun."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pyarrow as pa

from pkb.errors import DataError
from simulator.book import BEST_ATTAINABLE
from simulator.files import write_parquet
from simulator.measure import stored
from simulator.measure.continual import Matrix, bwt, forgetting, fwt, intransigence, plasticity
from simulator.measure.costs import cost_results, serving_results
from simulator.measure.prequential import Contender, Prequential
from simulator.measure.quality import DIRECTED, MOST_SCENARIOS, quality
from simulator.measure.results import Result, to_table
from simulator.measure.value import undefined
from simulator.settings import ArmSettings, Settings

Cell = tuple[int, int, bool]  # trained through, evaluated on, holdout
NOVELTY = "novelty"  # the knowledge base that says what any other can tell beside its knowledge
CONTINUAL = ("forgetting", "bwt", "fwt", "plasticity", "intransigence")
Cells = dict[Cell, dict[str, float | None]]  # of one contender, by metric


def evaluate(run: Path, settings: Settings) -> pa.Table:
    """Measure the run in this folder; writes `results.parquet` there and returns it.

    Numbers of predictions depend on these alone, to the last bit. DataError where a stored file is damaged.
    """
    periods, serving = stored.costs(run), stored.serving(run)
    stopped = stored.stop_reasons(periods)
    prequential = Prequential(
        settings.measure.bootstrap, settings.seeds, references(settings), baselines(settings), stopped
    )
    scenarios = stored.frequent_scenarios(run, MOST_SCENARIOS)
    results: list[Result] = []
    measured: dict[Contender, Cells] = {(arm, seed): {} for arm in settings.arms for seed in settings.seeds}
    for pieces in stored.predictions(run):
        for p in pieces:
            cells = measured.setdefault((p.arm, p.seed), {})
            cell = (p.trained_through, p.evaluated_on, p.holdout)
            if cell in cells:
                raise DataError(f"{run}: predictions of {p.arm} (seed {p.seed}) for {cell} are stored twice; run again")
            numbers = list(quality(p, scenarios))
            results += numbers
            cells[cell] = {r.metric: r.value.value for r in numbers if r.slice == "all"}
        if not pieces[0].holdout:
            results += prequential.add(pieces)
    if not any(measured.values()):
        raise DataError(f"{run}: holds no predictions; the run has not come to the period that it predicts")
    last = max(period for cells in measured.values() for _, period, _ in cells)
    results += prequential.results(measured, last)
    arms = {who: cells for who, cells in measured.items() if who[0] != BEST_ATTAINABLE}
    results += holes(arms, stopped)
    results += continual_results(arms, stopped, settings, last)
    for period in periods:
        results += cost_results(period)
    if serving is not None:
        results += serving_results(serving, last)
    table = to_table(results, run.name, data_name(run, settings))
    write_parquet(run / "results.parquet", table)
    return table


def references(settings: Settings) -> dict[str, str | None]:
    """For each arm with knowledge, the arm of the same backbone and policy without it, or None."""
    plain = {(arm.backbone, arm.policy): name for name, arm in reversed(settings.arms.items()) if arm.knowledge is None}
    return {
        name: plain.get((arm.backbone, arm.policy)) for name, arm in settings.arms.items() if arm.knowledge is not None
    }


def baselines(settings: Settings) -> dict[str, str]:
    """What each arm is tested against: itself without knowledge, where there is such an arm, else the first arm."""
    found, first = references(settings), next(iter(settings.arms))
    against = {name: found.get(name) or first for name in settings.arms}
    return {name: other for name, other in against.items() if other != name}


def controls(settings: Settings) -> dict[str, list[str]]:
    """For each arm with knowledge that is no control, the arms that it must beat to show that it knows something.

    They have its base without what it learned, or know only which values are new.
    """

    def holds(control: ArmSettings, arm: ArmSettings) -> bool:
        if control.knowledge == NOVELTY != arm.knowledge:
            return (control.backbone, control.policy) == (arm.backbone, arm.policy)
        return control.control is not None and replace(control, control=None) == arm

    return {
        name: [other for other, its in settings.arms.items() if holds(its, arm)]
        for name, arm in settings.arms.items()
        if arm.knowledge is not None and arm.control is None
    }


def data_name(run: Path, settings: Settings) -> str:
    """What the replayed data set is called: as the run noted it, else the source that the settings name."""
    return str(stored.environment(run).get("data", settings.stream.source))


def holes(arms: dict[Contender, Cells], stopped: dict[Contender, str]) -> Iterator[Result]:
    """A null with its reason for every cell that another arm has and this one has not."""
    everything = {(cell, metric) for cells in arms.values() for cell, numbers in cells.items() for metric in numbers}
    for (arm, seed), cells in arms.items():
        value = undefined(stopped.get((arm, seed), "no predictions are stored"))
        for (through, on, holdout), metric in everything:
            if (through, on, holdout) not in cells:
                yield Result(
                    arm=arm,
                    seed=seed,
                    metric=metric,
                    value=value,
                    trained_through=through,
                    evaluated_on=on,
                    holdout=holdout,
                )


def continual_results(
    arms: dict[Contender, Cells],
    stopped: dict[Contender, str],
    settings: Settings,
    last: int,
) -> Iterator[Result]:
    """Forgetting, transfer, plasticity and intransigence of every metric that has a direction."""
    joint = {
        arm.backbone: name
        for name, arm in reversed(settings.arms.items())
        if arm.policy == "retrain_all" and arm.knowledge is None
    }
    measured = {metric for cells in arms.values() for numbers in cells.values() for metric in numbers}
    for arm, seed in arms:
        backbone = settings.arms[arm].backbone if arm in settings.arms else ""
        teacher = (joint.get(backbone, ""), seed)
        for metric, larger in DIRECTED.items():
            if metric not in measured:
                continue
            if settings.stream.protocol == "split":
                values = dict.fromkeys(CONTINUAL, undefined("the protocol split has no holdouts, hence no R"))
            elif (arm, seed) in stopped:
                values = dict.fromkeys(CONTINUAL, undefined(stopped[arm, seed]))
            else:
                R = matrix(arms[arm, seed], metric)
                missed = (
                    intransigence(R, matrix(arms[teacher], metric), larger_is_better=larger)
                    if teacher in arms and teacher not in stopped
                    else undefined(f"no sound retrain_all arm of {backbone} without knowledge to compare with")
                )
                moved = (measure(R, larger_is_better=larger) for measure in (forgetting, bwt, fwt))
                values = dict(zip(CONTINUAL, (*moved, plasticity(R), missed), strict=True))
            for name, value in values.items():
                yield Result(
                    arm=arm,
                    seed=seed,
                    metric=name,
                    of=metric,
                    value=value,
                    trained_through=last,
                    holdout=True,
                )


def matrix(cells: Cells, metric: str) -> Matrix:
    """R of one contender, from its defined holdout cells."""
    found = {(i, j): numbers[metric] for (i, j, holdout), numbers in cells.items() if holdout}
    return {cell: value for cell, value in found.items() if value is not None}
