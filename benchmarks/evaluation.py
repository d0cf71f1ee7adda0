"""How long it takes to measure a run that has many contenders, and whether the numbers are those of another commit.

python -m benchmarks.evaluation RUN FOLDER [CONTENDERS]

RUN is a finished run, such as that of configs/stream_ebnerd.yaml. FOLDER becomes a run with its predictions, of 14
contenders, unless it is there. Where an earlier commit has measured FOLDER, its numbers are compared.
"""

from __future__ import annotations

import math
import shutil
import sys
from dataclasses import replace
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.figures import Figure, seconds, write
from simulator.measure.evaluate import evaluate
from simulator.measure.results import KEYS
from simulator.record.costs import read_costs, write_arm_costs
from simulator.record.experiment import key_of, read_experiment, write_experiment
from simulator.record.files import write_parquet, write_text
from simulator.record.layout import RunFolder
from simulator.record.predictions import PREDICTIONS

CONTENDERS = 14


def multiply(run: RunFolder, into: RunFolder, contenders: int) -> None:
    """Write a run of one seed and so many arms, whose predictions are those of this run's contenders in turn."""
    experiment = read_experiment(run)
    everyone = list(islice(cycle(experiment.everyone), contenders))
    plain = next(arm for arm in experiment.arms.values() if arm.knowledge is None)
    names = [f"arm_{number:02d}" for number in range(contenders)]
    arms = {name: replace(plain, knowledge="edk") if place % 2 else plain for place, name in enumerate(names)}
    into.path.mkdir(parents=True)
    for period in read_costs(run, experiment.keys):
        costs = {arm.who: arm for arm in period.arms}
        for name, who in zip(names, everyone, strict=True):
            key = key_of((name, 0))
            table = pq.read_table(run.predictions(period.period, key_of(who)), partitioning=None)
            columns: dict[str, Any] = {column: table.column(column) for column in PREDICTIONS.names}
            columns["arm"] = pa.array([name] * len(table)).dictionary_encode()
            columns["seed"] = pa.array([0] * len(table), pa.int32())
            file = into.predictions(period.period, key)
            file.parent.mkdir(parents=True, exist_ok=True)
            write_parquet(file, pa.table([columns[column] for column in PREDICTIONS.names], schema=PREDICTIONS))
            write_arm_costs(into, period.period, replace(costs[who], arm=name, seed=0))
            into.contender(key).mkdir(parents=True, exist_ok=True)
            write_text(into.committed_file(key), str(period.period))
        shutil.copy(run.period_facts(period.period), into.period_facts(period.period))
    write_experiment(into, replace(experiment, name=into.name, seeds=[0], arms=arms, yardsticks=[]))


def largest_difference(one: pa.Table, other: pa.Table) -> float:
    """The largest difference of any value or bound that both tables have; inf where one of two is undefined."""

    def numbers(table: pa.Table) -> dict[tuple[Any, ...], tuple[float | None, ...]]:
        return {tuple(row[key] for key in KEYS): (row["value"], row["low"], row["high"]) for row in table.to_pylist()}

    mine, its = numbers(one), numbers(other)
    pairs = [pair for key in mine.keys() & its.keys() for pair in zip(mine[key], its[key], strict=True)]
    return max(math.inf if None in pair else abs(pair[0] - pair[1]) for pair in pairs if pair != (None, None))  # type: ignore[operator]


def main(run: RunFolder, folder: RunFolder, contenders: int = CONTENDERS) -> None:
    """Measure the folder; what it took goes to the results, how the numbers compare to the terminal."""
    if not folder.path.exists():
        multiply(run, folder, contenders)
    before = pq.read_table(folder.results, partitioning=None) if folder.results.exists() else None
    took = seconds(lambda: evaluate(folder))
    keys = read_experiment(folder).keys
    against = f"{len(keys)} contenders, {1 + folder.complete_through(keys)} periods"
    sys.stdout.write(write([Figure(name="evaluation", value=took, unit="s", against=against, repeats=1)]))
    if before is not None:
        apart = largest_difference(pq.read_table(folder.results, partitioning=None), before)
        sys.stdout.write(f"largest difference from the results that were there: {apart:.1e}\n")


if __name__ == "__main__":
    main(RunFolder(Path(sys.argv[1])), RunFolder(Path(sys.argv[2])), *map(int, sys.argv[3:4]))
