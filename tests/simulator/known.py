"""A world with a known answer, played as a user plays it, and the numbers that its statements are about."""

from __future__ import annotations

import math
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from simulator.measure.estimate import Estimate
from simulator.measure.value import Value
from simulator.record.experiment import read_experiment
from simulator.record.layout import RunFolder
from simulator.record.predictions import Predictions, read_predictions
from simulator.report.finding import Finding, lead
from simulator.report.numbers import Numbers
from simulator.report.verdict import verdict
from simulator.stream.log import Log
from tests.simulator.main_job import PATIENCE, ROOT
from tests.simulator.measure.of_rows import delong_difference

Rows = Callable[[Predictions], np.ndarray]  # bool, of those that count


class Known:
    """A run of one of the configs."""

    def __init__(self, name: str, folder: Path) -> None:
        self.run = RunFolder(folder / "runs" / f"known_{name}")
        self.log = Log(next((folder / "data").glob("eleme-synthetic-*")))
        self.numbers = Numbers(pq.read_table(self.run.results))
        keys = read_experiment(self.run).keys
        read = [piece for pieces in read_predictions(self.run, keys) for piece in pieces if not piece.holdout]
        self.predictions = {(piece.arm, piece.evaluated_on): piece for piece in read}

    @classmethod
    def played(cls, name: str, folder: Path) -> Known:
        """Run it to the end."""
        places = [f"stream.data={folder / 'data'}", f"runs={folder / 'runs'}"]
        words = [sys.executable, "-m", "simulator", "run", f"configs/known/{name}.yaml", *places]
        done = subprocess.run(words, cwd=ROOT, text=True, capture_output=True, timeout=PATIENCE, check=False)
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
        return cls(name, folder)

    def findings(self) -> list[Finding]:
        return verdict(self.numbers, read_experiment(self.run))

    def lead(self, arm: str, other: str) -> Value:
        """Take the other's mean prequential AUC from an arm's, over the whole run."""
        return lead(self.numbers, arm, other)

    def auc(self, arm: str) -> float:
        return self.numbers.mean("auc_prequential", arm).value or math.nan

    def lead_in(self, periods: Iterable[int], arm: str, other: str) -> Value:
        """Take the other's AUC from an arm's in some periods, on average, with its interval."""
        return self.estimate_in(periods, arm, other).interval()

    def estimate_in(self, periods: Iterable[int], arm: str, other: str, rows: Rows | None = None) -> Estimate:
        """Take the other's AUC from an arm's in some periods, on average, by DeLong; on some of the rows if asked."""
        found = []
        for period in periods:
            mine, its = self.predictions[arm, period], self.predictions[other, period]
            keep = np.ones(len(mine.label), dtype=bool) if rows is None else rows(mine)
            estimate = delong_difference(mine.label[keep], mine.probability[keep], its.probability[keep])
            if isinstance(estimate, Estimate):  # else these rows are of one class
                found.append(estimate)
        return mean_of(found)


def mean_of(estimates: list[Estimate]) -> Estimate:
    """Average independent estimates."""
    errors = [math.nan if each.error is None else each.error for each in estimates]
    error = math.sqrt(sum(error**2 for error in errors)) / len(estimates)
    return Estimate(
        point=sum(each.point for each in estimates) / len(estimates), error=error, n=sum(each.n for each in estimates)
    )


def less(one: Estimate, other: Estimate) -> Value:
    """Take from an estimate another one of other rows."""
    error = math.hypot(one.error or math.nan, other.error or math.nan)
    return Estimate(point=one.point - other.point, error=error, n=one.n + other.n).interval()


def above(value: Value, least: float = 0.0) -> bool:
    """Tell whether the whole interval lies above a bound."""
    return value.low is not None and value.low > least
