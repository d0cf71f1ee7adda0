"""Vectors of a table, in whatever form files have them, as the log and its batches have them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from pkb.errors import DataError, SettingError
from pkb.vectors import Vector
from simulator.stream.knots import usual_size
from simulator.stream.log import Log
from simulator.stream.settings import TableSettings
from tests.simulator.stream import test_lists
from tests.simulator.stream.raw_files import contents, rejects, rows_of
from tests.simulator.stream.test_lists import CSV, write_csv, write_parquet


def log_of(folder: Path, **table: Any) -> Log:
    return test_lists.log_of(folder, **({"lists": [], "vectors": {"text": 3}} | table))


def vectors_of(log: Log) -> list[Any]:
    return [row["text"] for row in rows_of(log)]


ROWS = [[1, 2, -3.5], None, [0, 0, 1e-3], []]


@pytest.mark.parametrize(
    "kind",
    [pa.list_(pa.float32()), pa.list_(pa.float64()), pa.large_list(pa.float32()), pa.list_(pa.string())],
    ids=str,
)
def test_vectors_come_out_as_they_went_in(tmp_path: Path, kind: pa.DataType) -> None:
    written = [v if v is None or kind.value_type != pa.string() else [str(x) for x in v] for v in ROWS]
    write_parquet(tmp_path, 4, text=pa.array(written, kind))
    check(log_of(tmp_path))


def test_vectors_of_fixed_length_and_of_texts_are_read_alike(tmp_path: Path) -> None:
    write_csv(tmp_path, "text", ["[1, 2, -3.5]", "", "0;0;1e-3", "[]"])
    check(log_of(tmp_path, **CSV))
    fixed = pa.array([v or None for v in ROWS], pa.list_(pa.float32(), 3))
    write_parquet(tmp_path, 4, text=fixed)
    check(log_of(tmp_path))


def check(log: Log) -> None:
    assert pq.read_schema(log.path(log.periods[0])).field("text").type == pa.list_(pa.float32())
    expected = [[1, 2, -3.5], [], [0, 0, float(np.float32(1e-3))], []]
    assert vectors_of(log) == expected
    batches = [log.read(period) for period in log.periods]
    read = torch.cat([batch.vectors["text"] for batch in batches])
    assert torch.equal(read[[0, 2]], torch.tensor([[1, 2, -3.5], [0, 0, 1e-3]]))
    assert read[[1, 3]].isnan().all()
    missing = 4  # behind the rows for new values of u, i and text
    assert torch.cat([batch.ids_BF[:, 2] for batch in batches]).tolist() == [5, missing, 5, missing]
    assert log.schema.first_value_id == 9


def test_a_vector_of_another_length_or_with_an_odd_entry_is_set_aside_with_its_row_and_reason(tmp_path: Path) -> None:
    odd = [[1.0, 2.0], [1.0, 2.0, 3.0, 4.0], [1.0, None, 3.0], [1.0, 2.0, float("nan")], [float("inf"), 0.0, 1e300]]
    write_parquet(tmp_path, 7, text=pa.array([[1.0, 2.0, 3.0], *odd, None], pa.list_(pa.float64())))
    log = log_of(tmp_path)
    assert vectors_of(log) == [[1, 2, 3], []]
    assert rejects(log) == [
        ("a.parquet", 2, "text holds 2 numbers, not 3"),
        ("a.parquet", 3, "text holds 4 numbers, not 3"),
        ("a.parquet", 4, "text holds 'null', which is not a finite number of 32 bits"),
        ("a.parquet", 5, "text holds 'nan', which is not a finite number of 32 bits"),
        ("a.parquet", 6, "text holds 'inf', which is not a finite number of 32 bits"),
    ]


def test_texts_that_are_no_vectors_are_set_aside_too(tmp_path: Path) -> None:
    write_csv(tmp_path, "text", ["1;2;3", "1;two;3", "[1, 2", "7", "4;5;6"])
    log = log_of(tmp_path, **CSV)
    assert vectors_of(log) == [[1, 2, 3], [4, 5, 6]]
    reasons = [reason for _, _, reason in rejects(log)]
    assert reasons[0] == "text holds 'two', which is not a finite number of 32 bits"
    assert reasons[1].startswith("text '[1, 2' is no list")
    assert reasons[2] == "text holds 1 numbers, not 3"


def test_the_scale_is_what_the_first_period_with_a_vector_tells_and_no_later_row(tmp_path: Path) -> None:
    day = [None, None, [3.0, 4.0, 0.0], [0.0, 0.0, 5.0], [1e4, 0.0, 0.0]]  # two a day
    write_parquet(tmp_path, 5, text=pa.array(day, pa.list_(pa.float32())))
    (told,) = log_of(tmp_path).schema.vectors.values()
    assert told == Vector(length=3, scale=(25 / 3) ** 0.5)
    write_parquet(tmp_path, 5, text=pa.array([None] * 5, pa.list_(pa.float32())))
    assert log_of(tmp_path).schema.vectors["text"].scale == 1


def test_entries_that_are_0_leave_the_scale_alone() -> None:
    assert usual_size(np.zeros((3, 2), np.float32)) == 1
    assert usual_size(np.array([[3, 4], [0, 0]], np.float32)) == pytest.approx(2.5)


def test_the_same_files_make_the_same_log_and_another_length_another_one(tmp_path: Path) -> None:
    write_parquet(tmp_path, 4, text=pa.array(ROWS, pa.list_(pa.float32())))
    one = log_of(tmp_path)
    assert contents(log_of(tmp_path, data="again").folder) == contents(one.folder)
    assert "vector" not in (log_of(tmp_path, vectors={}).folder / "schema.json").read_text()


def test_a_column_that_is_no_list_of_numbers_is_named_with_what_it_is(tmp_path: Path) -> None:
    write_parquet(tmp_path, 2, text=pa.array([[b"1"], [b"2"]]))
    with pytest.raises(DataError, match=r"column 'text' is binary, numeric and vectors of stream\.table take numbers"):
        log_of(tmp_path)


def test_a_length_below_1_is_refused() -> None:
    with pytest.raises(SettingError, match=r"^vectors\.text=0: must be the number of its entries, at least 1"):
        TableSettings(vectors={"text": 0})
