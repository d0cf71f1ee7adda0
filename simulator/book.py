"""What one period of a run leaves on disk: everything predicted during it, and what it cost.

    predictions/period-00003.parquet    a row per prediction, see PREDICTIONS
    costs/period-00003.json             seconds, rows and bytes of every arm and stage
    ledger/period-00003-rank-0.parquet  the rows that each rank has learned, if `train.ledger` asks for it

All are written before the period's checkpoint; a period counts as committed once that checkpoint does,
and what a killed run left beyond its last checkpoint is dropped when it starts again.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from simulator.arms import Contender
from simulator.files import write_parquet, write_text
from simulator.neighbours import Finder
from simulator.provenance import source_commit
from simulator.stream.log import Period
from simulator.stream.shown import Shown
from simulator.train.ranks import Ranks

PREDICTIONS = pa.schema(
    [
        ("row_id", pa.int64()),
        ("arm", pa.dictionary(pa.int32(), pa.string())),
        ("seed", pa.int32()),
        ("trained_through", pa.int32()),  # -1 before any training
        ("evaluated_on", pa.int32()),
        ("holdout", pa.bool_()),
        ("probability", pa.float32()),
        ("label", pa.int8()),
        ("user", pa.int32()),
        ("request", pa.int64()),  # null where the log has no requests
        ("new_user", pa.bool_()),  # not seen before the period it was shown in
        ("new_item", pa.bool_()),
        ("activity", pa.int32()),  # impressions of the user before that period
        ("scenario", pa.int32()),  # id; null where the log has no scenarios
    ]
)
BEST_ATTAINABLE = "best_attainable"  # the pseudo-arm that predicts a synthetic world's true probability


LEDGER = pa.schema([("arm", pa.string()), ("seed", pa.int32()), ("row_id", pa.int64())])


def period_file(run: Path, kind: str, period: int) -> Path:
    return run / kind / f"period-{period:05d}.{'parquet' if kind == 'predictions' else 'json'}"


def write_ledger(run: Path, period: Period, contenders: list[Contender], ranks: Ranks) -> None:
    """Which rows this rank has learned in the period, one for each time; empties the contenders' own lists."""
    learned = [c for c in contenders if c.ledger]
    if not learned:
        return
    tables = []
    for c in learned:
        row_id = torch.cat(c.ledger).numpy()
        columns = [pa.array([c.arm] * len(row_id)), pa.array(np.full(len(row_id), c.seed, np.int32)), row_id]
        tables.append(pa.table(columns, schema=LEDGER))
        c.ledger.clear()
    (run / "ledger").mkdir(parents=True, exist_ok=True)
    write_parquet(run / "ledger" / f"period-{period.index:05d}-rank-{ranks.rank}.parquet", pa.concat_tables(tables))


def drop_uncommitted(run: Path, committed_through: int) -> None:
    """Remove what a killed run left of periods beyond its last checkpoint."""
    for kind in ("predictions", "costs", "ledger", "neighbours"):
        folder = run / kind
        for file in [*folder.glob("period-*"), *folder.glob("*/period-*.parquet")]:
            if int(file.name.split("-")[1].split(".")[0]) > committed_through:
                file.unlink()


class Book:
    """Collects one period's predictions and costs."""

    def __init__(self, period: Period, now: Shown, gap_seconds: float, since: float) -> None:
        self.period, self.since = period, since  # when the period before was done, in seconds of `perf_counter`
        self.tables: list[pa.Table] = [PREDICTIONS.empty_table()]  # a period of a split may predict nothing
        self.facts: dict[str, Any] = {
            "period": period.index,
            "commit": source_commit(),
            "start": period.start,
            "end": period.end,
            "rows": len(now.rows),
            "positives": int(now.rows.label.sum()),
            "new_user_share": float(now.new_user.mean()),
            "new_item_share": float(now.new_item.mean()),
            "gap_seconds": gap_seconds,
        }
        self.dense_builds: dict[str, list[dict[str, Any]]] = {}
        self.index_bytes: dict[str, dict[str, int]] = {}
        self.stages: dict[str, dict[str, dict[str, float]]] = {}

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
    def stage(self, contenders: list[Contender], name: str) -> Iterator[Callable[[int], None]]:
        """Charge the block's seconds, and the rows it reports, to a stage of each contender."""
        stages = [self.stages.setdefault(c.key, {}) for c in contenders]
        charged = [stage.setdefault(name, {"seconds": 0.0, "rows": 0}) for stage in stages]

        def charge(rows: int) -> None:
            for spent in charged:
                spent["rows"] += rows

        started = time.perf_counter()
        yield charge
        for spent in charged:
            spent["seconds"] += time.perf_counter() - started

    def searched(self, contenders: list[Contender], finder: Finder) -> None:
        """Note what a contender keeps to search in: bytes, and how good an index of its own is."""
        self.index_bytes = {c.key: finder.bytes(c) for c in contenders}
        self.dense_builds = {c.key: [asdict(build) for build in finder.builds(c)] for c in contenders}

    def write(self, run: Path, contenders: list[Contender], checkpoint_bytes: dict[str, int]) -> None:
        table = pa.concat_tables(self.tables, promote_options="none").unify_dictionaries()
        arms = [
            {
                "arm": c.arm,
                "seed": c.seed,
                "stopped": c.stopped,
                "stages": self.stages.get(c.key, {}),
                "knowledge_bytes": c.knowledge_bytes(),
                "memory_bytes": c.memory_bytes() | self.index_bytes.get(c.key, {}),
                "searches": bool(c.reads),
                "dense_builds": self.dense_builds.get(c.key, []),
                "notes": c.notes,
                "checkpoint_bytes": checkpoint_bytes[c.key],
            }
            for c in contenders
        ]
        facts = {**self.facts, "wall_seconds": time.perf_counter() - self.since, "arms": arms}
        for kind in ("predictions", "costs"):
            (run / kind).mkdir(parents=True, exist_ok=True)
        write_parquet(period_file(run, "predictions", self.period.index), table)
        write_text(period_file(run, "costs", self.period.index), json.dumps(facts, indent=1))
