"""What a run has left on disk, as the metrics read it: predictions a piece at a time, costs, serving."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pkb.errors import DataError
from simulator.book import PREDICTIONS


@dataclass(frozen=True, kw_only=True)
class Predictions:
    """One model's predictions for one set of rows, in the order of their row ids."""

    arm: str
    seed: int
    trained_through: int
    evaluated_on: int
    holdout: bool
    row_id: np.ndarray  # [N] int64
    label: np.ndarray  # [N] int8
    probability: np.ndarray  # [N] float32
    user: np.ndarray  # [N] int32
    request: np.ndarray | None  # [N] int64
    new_user: np.ndarray  # [N] bool
    new_item: np.ndarray  # [N] bool
    activity: np.ndarray  # [N] int32, impressions of the user before the period
    scenario: np.ndarray | None  # [N] int32

    def same_rows(self, other: Self) -> bool:
        """Whether the two are for the same rows with the same labels, so that they can be compared."""
        return np.array_equal(self.row_id, other.row_id) and np.array_equal(self.label, other.label)

    def renamed(self, arm: str) -> Self:
        return replace(self, arm=arm)


def predictions(run: Path) -> Iterator[list[Predictions]]:
    """All predictions for one evaluated period and kind (prequential or holdout) at a time, by arm and seed.

    Memory holds one such piece. DataError where a file is not as it must be or a row was predicted twice.
    """
    for file in prediction_files(run):
        try:
            kinds = pq.read_table(file, columns=["evaluated_on", "holdout"])
            pairs = kinds.group_by(["evaluated_on", "holdout"], use_threads=False).aggregate([])
            for evaluated_on, holdout in sorted((row["evaluated_on"], row["holdout"]) for row in pairs.to_pylist()):
                wanted = (pc.field("evaluated_on") == evaluated_on) & (pc.field("holdout") == holdout)
                table = pq.read_table(file, columns=PREDICTIONS.names, filters=wanted)
                yield _split(table, file, evaluated_on, holdout)
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError, KeyError) as error:
            raise _unreadable(file, error) from None


def prediction_files(run: Path) -> list[Path]:
    """In time order; DataError where there is none."""
    files = sorted((run / "predictions").glob("period-*.parquet"))
    if not files:
        raise DataError(f"{run / 'predictions'}: holds no period-*.parquet; the run has committed no period yet")
    return files


def frequent_scenarios(run: Path, most: int) -> list[int]:
    """The scenarios with the most rows predicted before they were learned, at most so many; the more frequent first."""
    counts: dict[int, int] = {}
    for file in prediction_files(run):
        try:
            table = pq.read_table(file, columns=["scenario"], filters=~pc.field("holdout"))
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError, KeyError) as error:
            raise _unreadable(file, error) from None
        for entry in pc.value_counts(table.column("scenario").drop_null()).to_pylist():
            counts[entry["values"]] = counts.get(entry["values"], 0) + entry["counts"]
    return sorted(counts, key=lambda scenario: (-counts[scenario], scenario))[:most]


def _unreadable(file: Path, error: Exception) -> DataError:
    return DataError(f"{file}: not readable as predictions: {' '.join(str(error).split())}")


def _split(table: pa.Table, file: Path, evaluated_on: int, holdout: bool) -> list[Predictions]:
    arms = sorted(table.column("arm").unique().to_pylist())
    code = pc.index_in(table.column("arm").cast(pa.string()), value_set=pa.array(arms, pa.string())).to_numpy()
    absent = {name for name in ("request", "scenario") if table.column(name).null_count}
    columns = {name: table.column(name).to_numpy() for name in table.column_names if name not in {"arm", *absent}}

    keys = (columns["row_id"], columns["trained_through"], columns["seed"], code)
    order = np.lexsort(keys)
    row_id, through, seed, code = (key[order] for key in keys)
    columns = {name: column[order] for name, column in columns.items()}
    edge = (through[1:] != through[:-1]) | (seed[1:] != seed[:-1]) | (code[1:] != code[:-1])
    twice = np.flatnonzero(~edge & (row_id[1:] == row_id[:-1]))
    if len(twice):
        at = twice[0]
        raise DataError(f"{file}: row {row_id[at]} was predicted twice by {arms[code[at]]}, seed {seed[at]}; run again")
    edges = np.concatenate([[0], np.flatnonzero(edge) + 1, [len(order)]])
    return [
        Predictions(
            arm=arms[code[start]],
            seed=int(seed[start]),
            trained_through=int(through[start]),
            evaluated_on=evaluated_on,
            holdout=holdout,
            row_id=row_id[start:stop],
            label=columns["label"][start:stop],
            probability=columns["probability"][start:stop],
            user=columns["user"][start:stop],
            request=None if "request" in absent else columns["request"][start:stop],
            new_user=columns["new_user"][start:stop],
            new_item=columns["new_item"][start:stop],
            activity=columns["activity"][start:stop],
            scenario=None if "scenario" in absent else columns["scenario"][start:stop],
        )
        for start, stop in pairwise(edges.tolist())
    ]


def costs(run: Path) -> list[dict[str, Any]]:
    """What each committed period was and cost, in time order."""
    return [read_json(file) for file in sorted((run / "costs").glob("period-*.json"))]


def serving(run: Path) -> dict[str, Any] | None:
    """What the load test measured; None where the run was not served."""
    file = run / "serving.json"
    return read_json(file) if file.exists() else None


def environment(run: Path) -> dict[str, Any]:
    """What the run ran on; empty where it was not noted."""
    file = run / "environment.json"
    return read_json(file) if file.exists() else {}


def read_json(file: Path) -> dict[str, Any]:
    try:
        content = json.loads(file.read_text())
    except ValueError as error:
        raise DataError(f"{file}: not readable as JSON: {error}; run again") from None
    if not isinstance(content, dict):
        raise DataError(f"{file}: holds no JSON object; run again")
    return content


def stop_reasons(periods: list[dict[str, Any]]) -> dict[tuple[str, int], str]:
    """Why contenders (arm, seed) were stopped, of those that were."""
    return {
        (arm["arm"], arm["seed"]): f"stopped: {arm['stopped']}"
        for period in reversed(periods)
        for arm in period["arms"]
        if arm["stopped"]
    }
