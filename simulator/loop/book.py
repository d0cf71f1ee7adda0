"""What one period of a run leaves on disk of each contender: everything that it predicted, and what it cost."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from pkb.batch import MISSING
from simulator.record.costs import ArmCosts, PeriodFacts, StageCosts, write_arm_costs, write_period_facts
from simulator.record.experiment import ArmAndSeed, key_of, who_of
from simulator.record.files import write_parquet
from simulator.record.layout import RunFolder
from simulator.record.predictions import BEST_ATTAINABLE, LEDGER, PREDICTIONS
from simulator.record.provenance import source_commit
from simulator.record.stale import Stale, write_stale
from simulator.stream.log import Period
from simulator.stream.shown import Shown

NOTHING = StageCosts(seconds=0.0, cpu_seconds=0.0, rows=0)


class Book:
    """Collects one period's predictions and costs."""

    def __init__(self, run: RunFolder, period: Period, present: Shown, gap_seconds: float, since: float) -> None:
        self.run, self.period, self.present, self.gap_seconds = run, period, present, gap_seconds
        self.since = since  # when the period before was done, in seconds of `perf_counter`
        self.tables: dict[ArmAndSeed, list[pa.Table]] = {}
        self.stale: dict[ArmAndSeed, Stale] = {}  # for rows of the period to come
        self.spent: dict[ArmAndSeed, dict[str, StageCosts]] = {}  # by stage

    def predicted(
        self,
        who: ArmAndSeed,
        trained_through: int,
        evaluated_on: int,
        shown: Shown,
        probability: np.ndarray,
        *,
        holdout: bool,
    ) -> None:
        """Take note of a contender's predictions for these rows."""
        rows, n, (arm, seed) = shown.rows, len(shown.rows), who
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
            "new_user": pa.array(shown.new_user, mask=shown.user == MISSING),
            "new_item": pa.array(shown.new_item, mask=shown.no_item),
            "activity": shown.activity,
            "scenario": pa.nulls(n, pa.int32()) if shown.scenario is None else shown.scenario,
            "weight": pa.nulls(n, pa.float32()) if rows.weight is None else rows.weight.numpy(),
        }
        table = pa.table([columns[name] for name in PREDICTIONS.names], schema=PREDICTIONS)
        self.tables.setdefault(who, []).append(table)

    def charge(self, who: ArmAndSeed, stage: str, seconds: float, cpu_seconds: float, rows: int) -> None:
        """Add to what a stage has cost a contender."""
        stages = self.spent.setdefault(who, {})
        before = stages.get(stage, NOTHING)
        stages[stage] = StageCosts(
            seconds=before.seconds + seconds, cpu_seconds=before.cpu_seconds + cpu_seconds, rows=before.rows + rows
        )

    @contextmanager
    def stage(self, everyone: Sequence[ArmAndSeed], name: str) -> Iterator[Callable[[int], None]]:
        """Charge the block's seconds, and the rows it reports, to a stage of each of these; to each in full."""
        rows = 0

        def done(more: int) -> None:
            nonlocal rows
            rows += more

        clock = _cpu_clock()
        started, cpu_started = time.perf_counter(), clock()
        yield done
        seconds, cpu_seconds = time.perf_counter() - started, clock() - cpu_started
        for who in everyone:
            self.charge(who, name, seconds, cpu_seconds, rows)

    def write(self, costs: ArmCosts, key: str) -> None:
        """Write a contender's predictions, what the period was, and the costs with what this book knows of them."""
        self._write_predictions(costs.who, key)
        if costs.who in self.stale:
            write_stale(self.run, self.period.index, key, self.stale[costs.who])
        present = self.present
        facts = PeriodFacts(
            period=self.period.index,
            start=self.period.start,
            end=self.period.end,
            rows=len(present.rows),
            positives=int(present.rows.label.sum()),
            new_user_share=float(present.new_user.mean()) if len(present.rows) else None,
            new_item_share=float(present.new_item.mean()) if len(present.rows) else None,
        )
        write_period_facts(self.run, facts)
        known = replace(
            costs,
            stages=self.spent.get(costs.who, {}),
            commit=source_commit(),
            gap_seconds=self.gap_seconds,
            wall_seconds=time.perf_counter() - self.since,
        )
        write_arm_costs(self.run, self.period.index, known)

    def write_best(self) -> None:
        """Write the best attainable predictions, if they were noted."""
        best = (BEST_ATTAINABLE, 0)
        if best in self.tables:
            self._write_predictions(best, key_of(best))

    def _write_predictions(self, who: ArmAndSeed, key: str) -> None:
        tables = [PREDICTIONS.empty_table(), *self.tables.get(who, [])]  # a period of a split may predict nothing
        file = self.run.predictions(self.period.index, key)
        file.parent.mkdir(parents=True, exist_ok=True)
        write_parquet(file, pa.concat_tables(tables, promote_options="none").unify_dictionaries())


def _cpu_clock() -> Callable[[], float]:
    """What measures CPU seconds of this worker's work.

    With one thread, all of it is done by this thread, and the process's other threads (Ray's, Arrow's) are not the
    contender's. With more, or on a GPU, backward and operators use further threads, which the process's clock sees.
    """
    return time.process_time if torch.get_num_threads() > 1 or torch.cuda.is_initialized() else time.thread_time


def write_ledger(run: RunFolder, period: int, key: str, row_ids: list[Tensor], rank: int) -> None:
    """Write which rows this rank has learned for a contender in the period, an entry for each time."""
    if row_ids:
        learned, (arm, seed) = torch.cat(row_ids).numpy(), who_of(key)
        columns = [pa.array([arm] * len(learned)), pa.array(np.full(len(learned), seed, np.int32)), learned]
        file = run.ledger(period, key, rank)
        file.parent.mkdir(parents=True, exist_ok=True)
        write_parquet(file, pa.table(columns, schema=LEDGER))
