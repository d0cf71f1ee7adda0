"""What one period of a run leaves on disk: everything predicted during it, and what it cost."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
from torch import Tensor

from simulator.record.costs import ArmCosts, PeriodCosts, StageCosts, write_costs
from simulator.record.experiment import ArmAndSeed
from simulator.record.files import write_parquet
from simulator.record.layout import RunFolder
from simulator.record.predictions import LEDGER, PREDICTIONS
from simulator.record.provenance import source_commit
from simulator.stream.log import Period
from simulator.stream.shown import Shown


class Book:
    """Collects one period's predictions and costs."""

    def __init__(self, period: Period, present: Shown, gap_seconds: float, since: float) -> None:
        self.period, self.present, self.gap_seconds = period, present, gap_seconds
        self.since = since  # when the period before was done, in seconds of `perf_counter`
        self.tables: list[pa.Table] = [PREDICTIONS.empty_table()]  # a period of a split may predict nothing
        self.spent: dict[ArmAndSeed, dict[str, StageCosts]] = {}  # by stage

    def predicted(
        self,
        arm: str,
        seed: int,
        trained_through: int,
        evaluated_on: int,
        shown: Shown,
        probability: np.ndarray,
        *,
        holdout: bool,
    ) -> None:
        """Take note of predictions for these rows."""
        rows, n = shown.rows, len(shown.rows)
        columns: dict[str, Any] = {
            "row_id": rows.row_id.numpy(),
            "arm": pa.DictionaryArray.from_arrays(pa.array(np.zeros(n, np.int32)), pa.array([arm])),
            "seed": np.full(n, seed, np.int32),
            "trained_through": np.full(n, trained_through, np.int32),
            "evaluated_on": np.full(n, evaluated_on, np.int32),
            "holdout": np.full(n, holdout),
            "probability": probability.astype(np.float32),
            "label": rows.label.numpy().astype(np.int8),
            "user": shown.user,
            "request": pa.nulls(n, pa.int64()) if rows.request is None else rows.request.numpy(),
            "new_user": shown.new_user,
            "new_item": shown.new_item,
            "activity": shown.activity,
            "scenario": pa.nulls(n, pa.int32()) if shown.scenario is None else shown.scenario,
        }
        self.tables.append(pa.table([columns[name] for name in PREDICTIONS.names], schema=PREDICTIONS))

    @contextmanager
    def stage(self, everyone: Sequence[ArmAndSeed], name: str) -> Iterator[Callable[[int], None]]:
        """Charge the block's seconds, and the rows it reports, to a stage of each of these; to each in full."""
        rows = 0

        def charge(more: int) -> None:
            nonlocal rows
            rows += more

        started = time.perf_counter()
        yield charge
        seconds = time.perf_counter() - started
        for who in everyone:
            stages = self.spent.setdefault(who, {})
            before = stages.get(name, StageCosts(seconds=0.0, rows=0))
            stages[name] = StageCosts(seconds=before.seconds + seconds, rows=before.rows + rows)

    def write(self, run: RunFolder, arms: Sequence[ArmCosts]) -> None:
        """Write the period's predictions, and its costs: those given, with the stages that were charged here."""
        file = run.predictions(self.period.index)
        file.parent.mkdir(parents=True, exist_ok=True)
        write_parquet(file, pa.concat_tables(self.tables, promote_options="none").unify_dictionaries())
        present = self.present
        costs = PeriodCosts(
            period=self.period.index,
            commit=source_commit(),
            start=self.period.start,
            end=self.period.end,
            rows=len(present.rows),
            positives=int(present.rows.label.sum()),
            new_user_share=float(present.new_user.mean()),
            new_item_share=float(present.new_item.mean()),
            gap_seconds=self.gap_seconds,
            wall_seconds=time.perf_counter() - self.since,
            arms=[replace(arm, stages=self.spent.get(arm.who, {})) for arm in arms],
        )
        write_costs(run, costs)


def write_ledger(run: RunFolder, period: int, learned: Sequence[tuple[str, int, Tensor]], rank: int) -> None:
    """Write which rows this rank has learned in the period, an entry for each time: arm, seed, row ids."""
    tables = [
        pa.table(
            [pa.array([arm] * len(row_id)), pa.array(np.full(len(row_id), seed, np.int32)), row_id.numpy()],
            schema=LEDGER,
        )
        for arm, seed, row_id in learned
    ]
    if tables:
        file = run.ledger(period, rank)
        file.parent.mkdir(parents=True, exist_ok=True)
        write_parquet(file, pa.concat_tables(tables))
