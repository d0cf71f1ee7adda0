"""Numeric fields of a table: what is read, what is set aside, and what their bins are learned from."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pkb.errors import DataError, SettingError
from pkb.numbers import Number
from simulator.stream import numeric
from simulator.stream.knots import of_values
from simulator.stream.log import Log
from simulator.stream.settings import IngestSettings, NumberSettings, StreamSettings, TableSettings
from tests.simulator.stream.raw_files import DAY, MONDAY, Asked, contents, ingested, rejects, rows_of, write_lines

ROLES: dict[str, Any] = {"time": "t", "label": "y", "user": ["u"], "item": ["i"]}


def log_of(folder: Path, *, numbers: NumberSettings | None = None, data: str = "data", **table: Any) -> Log:
    stream = StreamSettings(
        source="table",
        root=str(folder),
        data=str(folder / data),
        table=TableSettings(**({"numeric": ["price"]} | ROLES | table)),
        numbers=numbers or NumberSettings(),
    )
    return ingested(Asked(stream, IngestSettings(max_reject_share=0.9)))


def write_csv(folder: Path, prices: list[list[str]]) -> None:
    """A row per price; a list per day."""
    lines = [
        f"{MONDAY + day * DAY + row},{row % 2},u{row},i{row},{price}"
        for day, on_day in enumerate(prices)
        for row, price in enumerate(on_day)
    ]
    write_lines(folder / "a.csv", ["t,y,u,i,price", *lines])


def write_parquet(folder: Path, **columns: Any) -> None:
    rows = len(next(iter(columns.values())))
    plain = {"t": [MONDAY + row * DAY for row in range(rows)], "y": [1] * rows, "u": ["a"] * rows, "i": ["b"] * rows}
    pq.write_table(pa.table(plain | columns), folder / "a.parquet")


def prices_of(log: Log) -> list[float | None]:
    return [row["price"] for row in rows_of(log)]


def numbers_of(log: Log) -> dict[str, Number]:
    return {f.name: f.number for f in log.schema.fields if f.number is not None}


def test_the_log_keeps_numbers_as_they_are_and_the_batch_has_them_with_their_bins(tmp_path: Path) -> None:
    write_csv(tmp_path, [["1.5", "", "3", "1e2"], ["-7", "nan", "2.999", "1e9"]])
    log = log_of(tmp_path, files="*.csv")
    assert pq.read_schema(log.path(log.periods[0])).field("price").type == pa.float32()
    assert prices_of(log) == [1.5, None, 3.0, 100.0, -7.0, None, float(np.float32(2.999)), 1e9]
    assert numbers_of(log)["price"].knots == (1.5, 3.0, 100.0)
    missing = 4  # behind the rows for new values of u, i and price
    for period, bins in zip(log.periods, ([1, 0, 2, 3], [1, 0, 1, 3]), strict=True):
        batch = log.read(period)
        assert batch.numbers_BN is not None
        assert (batch.ids_BF[:, 2] - missing).tolist() == bins
        assert torch.equal(batch.numbers_BN.isnan().squeeze(1), batch.ids_BF[:, 2] == missing)
        assert batch.ids_BF[:, :2].min() >= log.schema.first_value_id == 8


def test_what_is_no_finite_number_is_set_aside_with_its_row_and_reason(tmp_path: Path) -> None:
    write_csv(tmp_path, [["1", "cheap", "inf", "-Infinity", "1e39", " ", "2"], ["3", "12,5"]])
    lines = (tmp_path / "a.csv").read_text().splitlines()
    lines[-1] = lines[-1].replace("12,5", '"12,5"')
    write_lines(tmp_path / "a.csv", lines)
    log = log_of(tmp_path, files="*.csv")
    assert prices_of(log) == [1, 2, 3]
    assert rejects(log) == [
        ("a.csv", row, f"price '{price}' is not a finite number of 32 bits")
        for row, price in ((3, "cheap"), (4, "inf"), (5, "-Infinity"), (6, "1e39"), (7, " "), (10, "12,5"))
    ]


def test_booleans_are_0_and_1(tmp_path: Path) -> None:
    write_csv(tmp_path, [["true", "False", ""], ["TRUE"]])
    assert prices_of(log_of(tmp_path, files="*.csv")) == [1, 0, None, 1]


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        (pa.array([1, None, 3], pa.uint8()), [1, None, 3]),
        (pa.array([2**62, -1, 0], pa.int64()), [2.0**62, -1, 0]),
        (pa.array([0.5, float("nan"), None], pa.float16()), [0.5, None, None]),
        (pa.array([0.1, 2e-40, 3e38], pa.float64()), [float(np.float32(0.1)), float(np.float32(2e-40)), 3e38]),
        (pa.array([Decimal("12.50"), None, Decimal("-0.01")], pa.decimal128(20, 2)), [12.5, None, -0.01]),
        (pa.array([True, False, None]), [1, 0, None]),
        (pa.array(["7", "", "1e3"]), [7, None, 1000]),
        (pa.array(["7", None, "8"]).dictionary_encode(), [7, None, 8]),
        (pa.array([None, None, None]), [None, None, None]),
    ],
    ids=lambda value: str(value.type) if isinstance(value, pa.Array) else "",
)
def test_numbers_of_a_parquet_file_may_have_any_width(
    tmp_path: Path, column: pa.Array, expected: list[float | None]
) -> None:
    write_parquet(tmp_path, price=column)
    held = [np.nan if price is None else price for price in prices_of(log_of(tmp_path))]
    np.testing.assert_allclose(held, np.array(expected, np.float32))


def test_bad_numbers_of_a_parquet_file_are_set_aside_too(tmp_path: Path) -> None:
    write_parquet(tmp_path, price=[float("inf"), -1e300, 1.0, 2.0])
    log = log_of(tmp_path)
    assert rejects(log) == [
        ("a.parquet", 1, "price 'inf' is not a finite number of 32 bits"),
        ("a.parquet", 2, "price '-1e+300' is not a finite number of 32 bits"),
    ]


@pytest.mark.parametrize("column", [pa.array([1, 2], pa.timestamp("ms")), pa.array([b"1", b"2"])])
def test_a_column_of_another_kind_is_named_with_what_it_is(tmp_path: Path, column: pa.Array) -> None:
    write_parquet(tmp_path, price=column)
    with pytest.raises(DataError, match=rf"column 'price' is {column.type}".replace("[", r"\[").replace("]", r"\]")):
        log_of(tmp_path)


def test_a_column_cannot_be_a_number_and_a_category(tmp_path: Path) -> None:
    write_csv(tmp_path, [["1"], ["2"]])
    with pytest.raises(SettingError, match=r"^stream\.table\.numeric: price stands under stream\.table\.item, too"):
        log_of(tmp_path, files="*.csv", item=["i", "price"])


def test_texts_and_numbers_that_mean_a_missing_value_are_missing() -> None:
    values = ["5", "-1", "-1.0", "NULL", "", "x", "nan", "0", "99.90"]
    missing = ("", "NULL", "-1", "99.9", "inf", "1e300")
    number, is_missing = numeric.number("v", missing), numeric.is_missing("v", missing)
    query = f"SELECT {number}, {is_missing} FROM (SELECT unnest(?) AS v)"
    found = duckdb.execute(query, [values]).fetchall()
    assert [one for one, _ in found] == [5, None, None, None, None, None, None, 0, None]
    assert [told for _, told in found] == [False, True, True, True, True, False, True, False, True]


of_day = st.lists(st.one_of(st.none(), st.floats(-1e6, 1e6, width=32)), min_size=1, max_size=40)


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(first=of_day, later=st.lists(of_day, min_size=1, max_size=3), bins=st.integers(2, 12))
def test_bins_are_learned_from_the_first_period_that_holds_a_value_and_from_no_later_row(
    tmp_path_factory: pytest.TempPathFactory, first: list[float | None], later: list[list[float | None]], bins: int
) -> None:
    folder = tmp_path_factory.mktemp("log")
    write_csv(folder, [["" if v is None else repr(v) for v in day] for day in (first, *later)])
    log = log_of(folder, files="*.csv", numbers=NumberSettings(bins=bins))
    number = numbers_of(log)["price"]
    days = [[v for v in day if v is not None] for day in (first, *later)]
    told = next((day for day in days if day), [])
    assert number.knots == (of_values(np.array(sorted(told), np.float32), bins, Number()).knots if told else ())
    assert len(number.knots) <= bins
    held = [v for period in log.periods for v in log.read(period).ids_BF[:, 2].tolist()]
    every = [v for day in (first, *later) for v in day]
    for v, identity in zip(every, held, strict=True):
        below = sum(knot <= v for knot in number.knots) if v is not None else 0
        assert identity == 4 + (max(1, below) if v is not None and number.knots else 0)


def test_later_rows_and_their_order_in_the_files_change_nothing_of_earlier_periods(tmp_path: Path) -> None:
    for name, later in (("one", ["1e6", "-3"]), ("other", ["", "17", "8", "0.1"])):
        (tmp_path / name).mkdir()
        write_csv(tmp_path / name, [["3", "1", "2", "4.5"], later])
    one, other = (log_of(tmp_path / name, files="*.csv") for name in ("one", "other"))
    assert numbers_of(one) == numbers_of(other)
    assert one.path(one.periods[0]).read_bytes() == other.path(other.periods[0]).read_bytes()


def test_few_values_have_a_bin_each_and_many_are_cut_into_quantiles() -> None:
    few = of_values(np.repeat(np.array([1, 2, 5], np.float32), [900, 90, 10]), 32, Number())
    assert list(few.knots) == [1, 2, 5]
    many = of_values(np.arange(1000, dtype=np.float32), 11, Number())
    np.testing.assert_allclose(many.knots, np.linspace(0, 999, 11), atol=0.51)
    tied = of_values(np.sort(np.append(np.zeros(600), np.arange(1, 401)).astype(np.float32)), 11, Number())
    assert list(tied.knots) == [0, 100, 200, 300, 400]  # seven of eleven quantiles are 0


def test_a_log_of_numbers_is_found_again_and_another_encoding_makes_another_one(tmp_path: Path) -> None:
    write_csv(tmp_path, [["1", "2"], ["3"]])
    one = log_of(tmp_path, files="*.csv")
    assert log_of(tmp_path, files="*.csv").folder == one.folder
    same = log_of(tmp_path, files="*.csv", data="again")
    assert contents(same.folder) == contents(one.folder)
    assert log_of(tmp_path, files="*.csv", numbers=NumberSettings(encoding="buckets")).folder != one.folder
    assert log_of(tmp_path, files="*.csv", numbers=NumberSettings(bins=3)).folder != one.folder


def test_settings_of_numbers_leave_a_log_without_any_where_it_is(tmp_path: Path) -> None:
    write_csv(tmp_path, [["1", "2"], ["3"]])
    one = log_of(tmp_path, files="*.csv", numeric=[])
    assert log_of(tmp_path, files="*.csv", numeric=[], numbers=NumberSettings(bins=3)).folder == one.folder
    assert "number" not in (one.folder / "schema.json").read_text()
