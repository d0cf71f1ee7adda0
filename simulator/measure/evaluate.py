"""All metrics of a run, from what it has stored: a new metric needs no rerun."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa

from pkb.errors import DataError
from simulator.book import BEST_ATTAINABLE
from simulator.files import write_parquet
from simulator.measure import stored
from simulator.measure.continual import Matrix, bwt, forgetting, fwt, intransigence, plasticity
from simulator.measure.costs import cost_results, serving_results
from simulator.measure.prequential import Contender, Prequential
from simulator.measure.quality import SLICED, quality
from simulator.measure.results import Result, to_table
from simulator.measure.value import undefined
from simulator.settings import Settings

Cell = tuple[int, int, bool]  # trained through, evaluated on, holdout
Cells = dict[Cell, dict[str, float | None]]  # of one contender, by metric
LARGER_IS_BETTER = {"auc": True, "logloss": False}


def evaluate(run: Path, settings: Settings) -> pa.Table:
    """Measure the run in this folder; writes `results.parquet` there and returns it.

    Numbers of predictions depend on these alone, to the last bit. DataError where a stored file is damaged.
    """
    periods, serving = stored.costs(run), stored.serving(run)
    stopped = stored.stop_reasons(periods)
    prequential = Prequential(settings.measure.bootstrap, settings.seeds[0], references(settings), stopped)
    results: list[Result] = []
    measured: dict[Contender, Cells] = {(arm, seed): {} for arm in settings.arms for seed in settings.seeds}
    for pieces in stored.predictions(run):
        for p in pieces:
            cells = measured.setdefault((p.arm, p.seed), {})
            cell = (p.trained_through, p.evaluated_on, p.holdout)
            if cell in cells:
                raise DataError(f"{run}: predictions of {p.arm} (seed {p.seed}) for {cell} are stored twice; run again")
            numbers = list(quality(p))
            results += numbers
            cells[cell] = {r.metric: r.value.value for r in numbers if r.slice == "all" and r.metric in SLICED}
        if not pieces[0].holdout:
            results += prequential.add(pieces)
    last = max(period for cells in measured.values() for _, period, _ in cells)
    results += prequential.results(sorted(measured), last)
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


def data_name(run: Path, settings: Settings) -> str:
    """What the replayed data set is called: as the run noted it, else the source that the settings name."""
    return str(stored.environment(run).get("data", settings.stream.source))


def holes(arms: dict[Contender, Cells], stopped: dict[Contender, str]) -> Iterator[Result]:
    """A null with its reason for every cell that another arm has and this one has not."""
    everything = {cell for cells in arms.values() for cell in cells}
    for (arm, seed), cells in arms.items():
        value = undefined(stopped.get((arm, seed), "no predictions are stored"))
        for through, on, holdout in everything - cells.keys():
            for metric in SLICED:
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
    """Forgetting, transfer, plasticity and intransigence of AUC and log loss."""
    joint = {
        arm.backbone: name
        for name, arm in reversed(settings.arms.items())
        if arm.policy == "retrain_all" and arm.knowledge is None
    }
    for (arm, seed), cells in arms.items():
        for metric, larger in LARGER_IS_BETTER.items():
            if (arm, seed) in stopped:
                names = ("forgetting", "bwt", "fwt", "plasticity", "intransigence")
                values = dict.fromkeys(names, undefined(stopped[arm, seed]))
            else:
                R = matrix(cells, metric)
                backbone = settings.arms[arm].backbone if arm in settings.arms else ""
                teacher = (joint.get(backbone, ""), seed)
                values = {
                    "forgetting": forgetting(R, larger_is_better=larger),
                    "bwt": bwt(R, larger_is_better=larger),
                    "fwt": fwt(R, larger_is_better=larger),
                    "plasticity": plasticity(R),
                    "intransigence": intransigence(R, matrix(arms[teacher], metric), larger_is_better=larger)
                    if teacher in arms and teacher not in stopped
                    else undefined(f"no sound retrain_all arm of {backbone} without knowledge to compare with"),
                }
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
