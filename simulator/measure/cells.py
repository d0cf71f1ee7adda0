"""The matrix R of every metric, its cells gathered over a run: where it has holes, and what follows from it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from simulator.measure.continual import Matrix, bwt, forgetting, fwt, intransigence, plasticity
from simulator.measure.opponents import retrained_on_all
from simulator.measure.quality import DIRECTED
from simulator.measure.results import Result
from simulator.measure.value import Value, undefined
from simulator.record.experiment import ArmAndSeed, Experiment

CONTINUAL = ("forgetting", "bwt", "fwt", "plasticity", "intransigence")
Cell = tuple[int, int, bool]  # trained through, evaluated on, holdout
Cells = dict[Cell, dict[str, float | None]]  # of one arm and seed, by metric


def holes(everyone: Mapping[ArmAndSeed, Cells], stopped: Mapping[ArmAndSeed, str]) -> Iterator[Result]:
    """Yield a null with its reason for every cell that another arm has and this one has not."""
    everything = {
        (cell, metric) for cells in everyone.values() for cell, numbers in cells.items() for metric in numbers
    }
    for (arm, seed), cells in everyone.items():
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
    everyone: Mapping[ArmAndSeed, Cells],
    stopped: Mapping[ArmAndSeed, str],
    experiment: Experiment,
    last: int,
    counted_from: int,
    intervals: Mapping[ArmAndSeed, Value],
) -> Iterator[Result]:
    """Yield forgetting, transfer, plasticity and intransigence of every metric that has a direction.

    `intervals` are of the forgetting of the AUC.
    """
    joint = retrained_on_all(experiment)
    measured = {metric for cells in everyone.values() for numbers in cells.values() for metric in numbers}
    for (arm, seed), cells in everyone.items():
        model = experiment.arms[arm].model if arm in experiment.arms else ""
        teacher = (joint.get(model, ""), seed)
        for metric, larger in DIRECTED.items():
            if metric not in measured:
                continue
            if experiment.protocol == "split":
                values = dict.fromkeys(CONTINUAL, undefined("the protocol split has no holdouts, hence no R"))
            elif (arm, seed) in stopped:
                values = dict.fromkeys(CONTINUAL, undefined(stopped[arm, seed]))
            else:
                R = matrix(cells, metric, counted_from, experiment.tuned_on)
                missed = (
                    intransigence(
                        R, matrix(everyone[teacher], metric, counted_from, experiment.tuned_on), larger_is_better=larger
                    )
                    if teacher in everyone and teacher not in stopped
                    else undefined(f"no sound retrain_all arm of {model} without knowledge to compare with")
                )
                moved = (measure(R, larger_is_better=larger) for measure in (forgetting, bwt, fwt))
                values = dict(zip(CONTINUAL, (*moved, plasticity(R), missed), strict=True))
                if metric == "auc" and (found := intervals.get((arm, seed))):
                    values["forgetting"] = replace(values["forgetting"], low=found.low, high=found.high)
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


def matrix(cells: Cells, metric: str, counted_from: int = 1, tuned_on: int = 0) -> Matrix:
    """Gather R of one arm and seed, from its defined cells of holdouts after the periods that it was tuned on.

    A model that has been through periods but has learned nothing of them, as no label had come, is in no row.
    """
    learned = {cell: numbers for cell, numbers in cells.items() if not 0 <= cell[0] < counted_from - 1}
    found = {(i, j): numbers[metric] for (i, j, holdout), numbers in learned.items() if holdout and j >= tuned_on}
    return {cell: value for cell, value in found.items() if value is not None}
