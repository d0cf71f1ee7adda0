"""What one period of a run leaves on disk: everything predicted during it, and what it cost.

    predictions/period-00003.parquet    a row per prediction, see PREDICTIONS
    costs/period-00003.json             seconds, rows and bytes of every arm and stage

Both are written before the period's checkpoint; a period counts as committed once that checkpoint does,
and what a killed run left beyond its last checkpoint is dropped when it starts again.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from pkb.batch import Batch, Schema
from simulator.arms import Contender
from simulator.files import write_parquet, write_text
from simulator.stream.log import Period

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
    ]
)
BEST_ATTAINABLE = "best_attainable"  # the pseudo-arm that predicts a synthetic world's true probability


def period_file(run: Path, kind: str, period: int) -> Path:
    return run / kind / f"period-{period:05d}.{'parquet' if kind == 'predictions' else 'json'}"


def drop_uncommitted(run: Path, committed_through: int) -> None:
    """Remove what a killed run left of periods beyond its last checkpoint."""
    for kind in ("predictions", "costs"):
        for file in (run / kind).glob("period-*"):
            if int(file.stem.removeprefix("period-")) > committed_through:
                file.unlink()


class Book:
    """Collects one period's predictions and costs."""

    def __init__(self, period: Period, rows: Batch, schema: Schema, known_ids: int, gap_seconds: float) -> None:
        self.period, self.schema = period, schema
        self.tables: list[pa.Table] = []
        new = self._new(rows, known_ids)
        self.facts: dict[str, Any] = {
            "period": period.index,
            "start": period.start,
            "end": period.end,
            "rows": len(rows),
            "positives": int(rows.label.sum()),
            "new_user_share": float(new["new_user"].mean()),
            "new_item_share": float(new["new_item"].mean()),
            "gap_seconds": gap_seconds,
        }
        self.stages: dict[str, dict[str, dict[str, float]]] = {}

    def _new(self, rows: Batch, known_ids: int) -> dict[str, np.ndarray]:
        ids = rows.ids_BF.numpy()
        return {
            "new_user": ids[:, self.schema.user_column] >= known_ids,
            "new_item": ids[:, self.schema.item_column] >= known_ids,
        }

    def predicted(
        self,
        arm: str,
        seed: int,
        trained_through: int,
        evaluated_on: int,
        rows: Batch,
        probability: np.ndarray,
        *,
        holdout: bool,
        known_ids: int,
    ) -> None:
        """Take note of predictions for `rows`, of which ids below `known_ids` had been seen before their period."""
        n = len(rows)
        columns: dict[str, Any] = {
            "row_id": rows.row_id.numpy(),
            "arm": pa.DictionaryArray.from_arrays(pa.array(np.zeros(n, np.int32)), pa.array([arm])),
            "seed": np.full(n, seed, np.int32),
            "trained_through": np.full(n, trained_through, np.int32),
            "evaluated_on": np.full(n, evaluated_on, np.int32),
            "holdout": np.full(n, holdout),
            "probability": probability.astype(np.float32),
            "label": rows.label.numpy().astype(np.int8),
            "user": rows.ids_BF[:, self.schema.user_column].numpy(),
            "request": pa.nulls(n, pa.int64()) if rows.request is None else rows.request.numpy(),
            **self._new(rows, known_ids),
        }
        self.tables.append(pa.table([columns[name] for name in PREDICTIONS.names], schema=PREDICTIONS))

    @contextmanager
    def stage(self, contender: Contender, name: str) -> Iterator[Callable[[int], None]]:
        """Charge the block's seconds, and the rows it reports, to a stage of a contender."""
        spent = self.stages.setdefault(contender.key, {}).setdefault(name, {"seconds": 0.0, "rows": 0})

        def charge(rows: int) -> None:
            spent["rows"] += rows

        started = time.perf_counter()
        yield charge
        spent["seconds"] += time.perf_counter() - started

    def write(self, run: Path, contenders: list[Contender], checkpoint_bytes: dict[str, int]) -> None:
        table = pa.concat_tables(self.tables, promote_options="none").unify_dictionaries()
        arms = [
            {
                "arm": c.arm,
                "seed": c.seed,
                "stopped": c.stopped,
                "stages": self.stages.get(c.key, {}),
                "knowledge_bytes": c.knowledge_bytes(),
                "checkpoint_bytes": checkpoint_bytes[c.key],
            }
            for c in contenders
        ]
        for kind in ("predictions", "costs"):
            (run / kind).mkdir(parents=True, exist_ok=True)
        write_parquet(period_file(run, "predictions", self.period.index), table)
        write_text(period_file(run, "costs", self.period.index), json.dumps({**self.facts, "arms": arms}, indent=1))
