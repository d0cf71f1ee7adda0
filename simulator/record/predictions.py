"""All that a contender predicted in a period (`predictions/period-00003/<key>.parquet`), read a piece at a time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pkb.errors import DataError
from simulator.record.experiment import key_of
from simulator.record.layout import RunFolder

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
        ("user", pa.int32()),  # id; NOBODY where there is none
        ("request", pa.int64()),  # null where the log has no requests
        ("new_user", pa.bool_()),  # not seen before the period it was shown in; null where there is none
        ("new_item", pa.bool_()),
        ("activity", pa.int32()),  # impressions of the user before that period
        ("scenario", pa.int32()),  # id; null where the log has no scenarios
        ("weight", pa.float32()),  # null where rows have no weights
    ]
)
LEDGER = pa.schema([("arm", pa.string()), ("seed", pa.int32()), ("row_id", pa.int64())])  # of each rank
NOBODY = 0  # pkb.batch.MISSING
BEST_ATTAINABLE = "best_attainable"  # the pseudo-arm that predicts a synthetic world's true probability


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
    no_item: np.ndarray  # [N] bool, the row does not say which
    activity: np.ndarray  # [N] int32, impressions of the user before the period
    scenario: np.ndarray | None  # [N] int32
    weight: np.ndarray | None = None  # [N] float32; None where rows have no weights

    @property
    def no_user(self) -> np.ndarray:
        """[N] bool, the row does not say whose it is."""
        nobodys: np.ndarray = self.user == NOBODY
        return nobodys

    def same_rows(self, other: Self) -> bool:
        """Tell whether the two are for the same rows with the same labels, so that they can be compared."""
        return _same(self.row_id, other.row_id) and _same(self.label, other.label)

    def beside(self, other: Self) -> Self:
        """Hold what it has in common with predictions that were read before once for both, so that memory is not."""
        mine, its = vars(self), vars(other)
        columns = [name for name in mine if name != "probability" and isinstance(mine[name], np.ndarray)]
        return replace(self, **{name: its[name] for name in columns if _same(mine[name], its[name])})

    def renamed(self, arm: str) -> Self:
        """Give the predictions to an arm of another name."""
        return replace(self, arm=arm)


def read_predictions(run: RunFolder, keys: Iterable[str]) -> Iterator[list[Predictions]]:
    """Read the predictions of one evaluated period and kind (prequential or holdout) at a time, by arm and seed.

    Of the periods that all these contenders have committed, and the best attainable ones with them. DataError where
    a file is not as it must be or a row was predicted twice.
    """
    for files in prediction_files(run, keys):
        yield from read_period(files)


def read_period(files: Iterable[Path]) -> Iterator[list[Predictions]]:
    """Read the predictions of the same kind in these files of one period; what they are for is in memory once."""
    kinds: dict[tuple[int, bool], list[Predictions]] = {}
    for file in files:
        for piece in _split(read_columns(file, PREDICTIONS.names), file):
            pieces = kinds.setdefault((piece.evaluated_on, piece.holdout), [])
            pieces.append(piece.beside(pieces[0]) if pieces else piece)
    for kind in sorted(kinds):
        yield sorted(kinds.pop(kind), key=lambda piece: (piece.arm, piece.seed, piece.trained_through))


def of_scenario(pieces: Iterable[Predictions], scenario: int) -> list[Predictions]:
    """Take the rows of one scenario; a column that predictions have in common is in memory once."""
    kept: dict[int, np.ndarray] = {}  # by the column that it is of
    found = []
    for p in pieces:
        rows, columns = p.scenario == scenario, {k: v for k, v in vars(p).items() if isinstance(v, np.ndarray)}
        for column in columns.values():
            if id(column) not in kept:
                kept[id(column)] = column[rows]
        chosen: dict[str, Any] = {name: kept[id(column)] for name, column in columns.items()}
        found.append(replace(p, **chosen))
    return found


def prediction_files(run: RunFolder, keys: Iterable[str]) -> list[list[Path]]:
    """List the files of predictions of each complete period, in time order; DataError where none is complete."""
    keys = list(keys)
    complete = run.complete_through(keys)
    if complete < 0:
        raise DataError(f"{run}: no period is complete; every contender must have committed it first")
    best = key_of((BEST_ATTAINABLE, 0))
    return [
        [run.predictions(period, key) for key in (*keys, best) if key != best or run.predictions(period, key).exists()]
        for period in range(complete + 1)
    ]


def frequent_scenarios(run: RunFolder, keys: Iterable[str], most: int) -> list[int]:
    """Find the scenarios with the most rows predicted before they were learned, so many at most, largest first.

    All contenders predict the same rows, so the first that predicts a period tells.
    """
    counts: dict[int, int] = {}
    for files in prediction_files(run, keys):
        tables = (read_columns(file, ["scenario"], ~pc.field("holdout")) for file in files)
        table = next((table for table in tables if table.num_rows), None)
        for entry in [] if table is None else pc.value_counts(table.column("scenario").drop_null()).to_pylist():
            counts[entry["values"]] = counts.get(entry["values"], 0) + entry["counts"]
    return sorted(counts, key=lambda scenario: (-counts[scenario], scenario))[:most]


def read_columns(file: Path, columns: Sequence[str], wanted: Any = None) -> pa.Table:
    """Read these columns of the rows that a filter lets through; DataError where the file is damaged.

    Arrow tells of damage with errors of its own, and with KeyError, OSError and ValueError.
    """
    try:
        table = pq.read_table(
            file, columns=list(columns), filters=wanted, partitioning=None, page_checksum_verification=True
        )
        return table.select(columns)  # a column that is not there is an error here
    except (pa.ArrowException, OSError, KeyError, ValueError) as error:
        absent = isinstance(error, FileNotFoundError)
        what = "is missing" if absent else f"not readable as predictions: {' '.join(str(error).split())}"
        raise DataError(f"{file}: {what}; restore the file, or delete the run's folder and run again") from None


def _split(table: pa.Table, file: Path) -> Iterator[Predictions]:
    """One contender's predictions, apart by what they are for and the period that it was trained through."""
    if not table.num_rows:  # a period of a split may predict nothing
        return
    arms, seeds = (table.column(name).unique().to_pylist() for name in ("arm", "seed"))
    if [key_of((arm, seed)) for arm in arms for seed in seeds] != [file.stem]:
        raise DataError(
            f"{file}: holds predictions of arms {arms} and seeds {seeds}; delete the run's folder, run again"
        )
    absent = {name for name in ("request", "scenario", "weight") if table.column(name).null_count}
    stored = {name: table.column(name) for name in table.column_names if name not in {"arm", *absent}}
    stored["no_item"] = pc.is_null(stored["new_item"])
    stored |= {name: pc.fill_null(stored[name], False) for name in ("new_user", "new_item")}
    columns = {name: column.to_numpy() for name, column in stored.items()}
    evaluated_on, holdout, through = (
        columns.pop(name).astype(np.int64) for name in ("evaluated_on", "holdout", "trained_through")
    )
    del columns["seed"]
    _, first, kind = np.unique((evaluated_on << 32) + (through << 1) + holdout, return_index=True, return_inverse=True)
    for number, at in enumerate(first):
        rows = np.flatnonzero(kind == number)
        rows = rows[np.argsort(columns["row_id"][rows], kind="stable")]
        its: dict[str, Any] = {name: column[rows] for name, column in columns.items()} | dict.fromkeys(absent)
        twice = np.flatnonzero(its["row_id"][1:] == its["row_id"][:-1])
        if len(twice):
            raise DataError(f"{file}: row {its['row_id'][twice[0]]} was predicted twice by {file.stem}; run again")
        yield Predictions(
            arm=arms[0],
            seed=seeds[0],
            trained_through=int(through[at]),
            evaluated_on=int(evaluated_on[at]),
            holdout=bool(holdout[at]),
            **its,
        )


def _same(one: np.ndarray | None, other: np.ndarray | None) -> bool:
    return one is other or (one is not None and other is not None and np.array_equal(one, other))
