"""`inspect` finds the time of a row, whatever it is written in, and cuts the log into periods that have rows."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import pytest

from simulator.stream.periods import width_seconds
from tests.simulator.inspect.logs import MONDAY, Row, clock, impressions, proposed, replayed, with_columns, write


@pytest.mark.parametrize(
    ("of", "unit", "form"),
    [
        (lambda row, _: row["time"], "s", ""),
        (lambda row, _: row["time"] * 1_000 + 7, "ms", ""),
        (lambda row, _: row["time"] * 1_000_000, "us", ""),
        (lambda row, _: row["time"] * 1_000_000_000, "ns", ""),
        (lambda row, _: row["time"] + 0.25, "s", ""),
        (clock("%Y-%m-%d %H:%M:%S"), "s", ""),
        (clock("%Y-%m-%dT%H:%M:%SZ"), "s", ""),
        (clock("%Y-%m-%d"), "s", ""),
        (clock("%Y%m%d%H"), "s", "%Y%m%d%H"),
        (clock("%y%m%d%H"), "s", "%y%m%d%H"),
        (clock("%Y%m%d"), "s", "%Y%m%d"),
        (clock("%d/%m/%Y %H:%M"), "s", "%d/%m/%Y %H:%M"),
    ],
)
def test_the_time_is_read_in_its_unit_or_form(
    tmp_path: Path, of: Callable[[Row, Random], Any], unit: str, form: str
) -> None:
    write(tmp_path / "log.csv", with_columns(impressions(), time=of))
    found, told = proposed(tmp_path, tmp_path / "log.csv")
    table = found.stream.table
    assert (table.time, table.time_unit, table.time_format) == ("time", unit, form)
    assert found.stream.period == "1d"
    log = replayed(found)
    assert (log.periods[0].start, log.periods[-1].end) == (MONDAY, MONDAY + 8 * 86_400)
    assert ("its times are numbers of" in told) == (unit != "s")


def test_the_time_of_the_row_is_taken_and_not_that_of_something_else(tmp_path: Path) -> None:
    rows = with_columns(
        impressions(),
        birth_date=lambda row, _: f"1980-01-{1 + row['user_id'] % 28:02}",
        published_at=lambda row, _: MONDAY - 1_000 * row["item_id"],
        click_time=lambda row, _: row["time"] + 9 if row["click"] else "",
        day=lambda row, _: 20_240_701 + (row["time"] - MONDAY) // 86_400,
    )
    write(tmp_path / "log.csv", rows)
    assert proposed(tmp_path, tmp_path / "log.csv")[0].stream.table.time == "time"


def test_ids_that_could_be_seconds_are_no_time(tmp_path: Path) -> None:
    rows = [row | {"user_id": 1_500_000_000 + 7 * row["user_id"]} for row in impressions()]
    write(tmp_path / "log.csv", rows)
    table = proposed(tmp_path, tmp_path / "log.csv")[0].stream.table
    assert (table.time, table.user[0]) == ("time", "user_id")


def test_a_log_without_times_is_replayed_in_the_order_of_its_rows(tmp_path: Path) -> None:
    rows = [{name: value for name, value in row.items() if name != "time"} for row in impressions()]
    write(tmp_path / "log.csv", rows)
    found, told = proposed(tmp_path, tmp_path / "log.csv")
    assert (found.stream.table.time, found.stream.period) == ("row", "150rows")
    assert "the order of the rows stands for time" in told
    assert [period.rows for period in replayed(found).periods] == [150] * 10


@pytest.mark.parametrize("days", [0.02, 0.3, 3, 60, 3_000])
def test_a_log_of_any_length_has_5_to_30_periods_with_rows(tmp_path: Path, days: float) -> None:
    write(tmp_path / "log.csv", impressions(days=days))
    found, _ = proposed(tmp_path, tmp_path / "log.csv")
    assert width_seconds(found.stream.period)
    assert 5 <= len(replayed(found).periods) <= 30


def test_times_of_one_burst_and_a_stray_one_are_cut_by_rows(tmp_path: Path) -> None:
    rows = impressions(days=0.001)
    write(tmp_path / "log.csv", [rows[0] | {"time": MONDAY - 400 * 86_400}, *rows[1:]])
    found, _ = proposed(tmp_path, tmp_path / "log.csv")
    assert found.stream.period == "150rows"
    replayed(found)
