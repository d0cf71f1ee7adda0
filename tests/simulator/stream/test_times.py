"""One instant is one `ts`, however it is written and wherever the ingest runs; what is no time is refused."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pkb.errors import DataError, SettingError
from simulator.stream.log import Log
from simulator.stream.settings import TableSettings
from tests.simulator.stream.raw_files import DAY, MONDAY, contents, rejects, rows_of
from tests.simulator.stream.tables import clicks, log_of, write_csv

ROWS = 96  # over four days, a row an hour
INSTANTS = [MONDAY + row * 3_600 for row in range(ROWS)]


def at(row: int) -> datetime:
    return datetime.fromtimestamp(INSTANTS[row], UTC)


def shifted(hours: float) -> timezone:
    return timezone(timedelta(hours=hours))


ZONED: dict[str, Callable[[datetime], str]] = {
    "Z": lambda t: t.strftime("%Y-%m-%dT%H:%M:%SZ"),
    "lower z and a fraction": lambda t: t.strftime("%Y-%m-%d %H:%M:%S.250Z"),
    "+02:00": lambda t: t.astimezone(shifted(2)).isoformat(),
    "+0200": lambda t: t.astimezone(shifted(2)).strftime("%Y-%m-%dT%H:%M:%S%z"),
    "+02": lambda t: t.astimezone(shifted(2)).strftime("%Y-%m-%d %H:%M:%S+02"),
    "-11:30": lambda t: t.astimezone(shifted(-11.5)).isoformat(sep=" "),
    "+05:45 with milliseconds": lambda t: t.astimezone(shifted(5.75)).isoformat(sep=" ", timespec="milliseconds"),
    "microseconds": lambda t: t.astimezone(shifted(-3)).isoformat(timespec="microseconds"),
    "UTC by name": lambda t: t.strftime("%Y-%m-%d %H:%M:%S UTC"),
    "a zone by name": lambda t: t.astimezone(ZoneInfo("America/New_York")).strftime(
        "%Y-%m-%d %H:%M:%S America/New_York"
    ),
    "minutes": lambda t: t.astimezone(shifted(1)).strftime("%Y-%m-%d %H:%M+01:00"),
}
UNZONED: dict[str, Callable[[datetime], str]] = {
    "plain": lambda t: t.strftime("%Y-%m-%d %H:%M:%S"),
    "T": lambda t: t.strftime("%Y-%m-%dT%H:%M:%S"),
    "milliseconds": lambda t: t.strftime("%Y-%m-%d %H:%M:%S.000"),
    "slashes": lambda t: t.strftime("%Y/%m/%d %H:%M:%S"),
}
FORMATTED: dict[str, Callable[[datetime], str]] = {
    "%Y%m%d%H": lambda t: t.strftime("%Y%m%d%H"),
    "%y%m%d%H": lambda t: t.strftime("%y%m%d%H"),
    "%Y%m%d%H%M": lambda t: t.strftime("%Y%m%d%H%M"),
    "%Y%m%d%H%M%S": lambda t: t.strftime("%Y%m%d%H%M%S"),
    "%d/%m/%Y %H:%M": lambda t: t.strftime("%d/%m/%Y %H:%M"),
    "%m/%d/%Y %I:%M %p": lambda t: t.strftime("%m/%d/%Y %I:%M %p"),
    "%a, %d %b %Y %H:%M:%S %z": lambda t: t.astimezone(shifted(2)).strftime("%a, %d %b %Y %H:%M:%S %z"),
    "%Y-%m-%dT%H.%M.%S%z": lambda t: t.astimezone(shifted(-7)).strftime("%Y-%m-%dT%H.%M.%S%z"),
}
NUMBERS: dict[str, tuple[str, Callable[[int], Any]]] = {
    "s": ("s", lambda s: s),
    "s as a float": ("s", lambda s: f"{s}.0"),
    "s with a fraction": ("s", lambda s: f"{s}.999"),
    "s with an exponent": ("s", lambda s: f"{s:.9e}"),
    "ms": ("ms", lambda s: s * 1_000 + 999),
    "us": ("us", lambda s: s * 1_000_000),
    "ns": ("ns", lambda s: s * 1_000_000_000 + 1),
    "ms as a float": ("ms", lambda s: f"{s * 1_000}.5"),
}


def written(folder: Path, form: Callable[[datetime], Any], told: list[str] | None = None, **table: Any) -> Log:
    write_csv(folder / "raw" / "a.csv", clicks(ROWS, 4, t=lambda row: form(at(row))))
    return log_of(folder, told, **table)


def seconds_of(log: Log) -> list[int]:
    assert log.manifest.rows_rejected == 0
    return [row["ts"] for row in rows_of(log)]


@pytest.mark.parametrize("name", ZONED)
def test_a_text_with_an_offset_or_a_zone_is_that_instant(name: str, tmp_path: Path) -> None:
    told: list[str] = []
    assert seconds_of(written(tmp_path, ZONED[name], told)) == INSTANTS
    assert told == []


@pytest.mark.parametrize("name", UNZONED)
def test_a_text_without_a_zone_is_utc_and_that_is_told(name: str, tmp_path: Path) -> None:
    told: list[str] = []
    assert seconds_of(written(tmp_path, UNZONED[name], told)) == INSTANTS
    first = UNZONED[name](at(0))
    assert told == [f"column 't': {ROWS} times without an offset or a zone, such as '{first}', are read as UTC"]


@pytest.mark.parametrize("form", FORMATTED)
def test_a_format_reads_numbers_and_texts_in_any_other_form(form: str, tmp_path: Path) -> None:
    told: list[str] = []
    assert seconds_of(written(tmp_path, FORMATTED[form], told, time_format=form)) == INSTANTS
    assert len(told) == ("%z" not in form)


@pytest.mark.parametrize("name", NUMBERS)
def test_a_number_is_its_whole_seconds_never_rounded_up(name: str, tmp_path: Path) -> None:
    unit, form = NUMBERS[name]
    told: list[str] = []
    assert seconds_of(written(tmp_path, lambda t: form(int(t.timestamp())), told, time_unit=unit)) == INSTANTS
    assert told == []


def test_files_written_on_different_clocks_meet_at_the_same_instants(tmp_path: Path) -> None:
    forms = [*ZONED.values(), *UNZONED.values(), lambda t: str(int(t.timestamp()))]
    for number, form in enumerate(forms):
        part = [row for row in range(ROWS) if row % len(forms) == number]
        rows = clicks(ROWS, 4, t=lambda row, form=form: form(at(row)))  # type: ignore[misc]
        write_csv(tmp_path / "raw" / f"{number}.csv", [rows[row] for row in part])
    assert seconds_of(log_of(tmp_path)) == INSTANTS


LOOKS: dict[str, tuple[Callable[[datetime], Any], dict[str, Any], str]] = {
    "YYMMDDHH": (
        lambda t: t.strftime("%y%m%d%H"),
        {},
        "it looks like YYMMDDHH: set stream.table.time_format='%y%m%d%H'",
    ),
    "YYYYMMDD": (lambda t: t.strftime("%Y%m%d"), {}, "it looks like YYYYMMDD: set stream.table.time_format='%Y%m%d'"),
    "YYYYMMDDHH": (
        lambda t: t.strftime("%Y%m%d%H"),
        {},
        "looks like YYYYMMDDHH: set stream.table.time_format='%Y%m%d%H'",
    ),
    "YYYYMMDDHHMM": (lambda t: t.strftime("%Y%m%d%H%M"), {}, "stream.table.time_format='%Y%m%d%H%M'"),
    "YYYYMMDDHHMMSS": (lambda t: t.strftime("%Y%m%d%H%M%S"), {}, "stream.table.time_format='%Y%m%d%H%M%S'"),
    "YYMMDDHHMM": (lambda t: t.strftime("%y%m%d%H%M"), {}, "stream.table.time_format='%y%m%d%H%M'"),
    "YYYYMMDD as ms": (lambda t: t.strftime("%Y%m%d"), {"time_unit": "ms"}, "time_format='%Y%m%d'"),
    "YYYYMMDDHHMMSS as us": (lambda t: t.strftime("%Y%m%d%H%M%S"), {"time_unit": "us"}, "time_format='%Y%m%d%H%M%S'"),
    "YYYYMMDD.0": (lambda t: t.strftime("%Y%m%d") + ".0", {}, "time_format='%Y%m%d'"),
    "ms as s": (lambda t: int(t.timestamp() * 1e3), {}, "it looks like milliseconds: set stream.table.time_unit=ms"),
    "us as s": (lambda t: int(t.timestamp() * 1e6), {}, "it looks like microseconds: set stream.table.time_unit=us"),
    "ns as s": (lambda t: int(t.timestamp()) * 10**9, {}, "it looks like nanoseconds: set stream.table.time_unit=ns"),
    "us as ms": (lambda t: int(t.timestamp() * 1e6), {"time_unit": "ms"}, "set stream.table.time_unit=us"),
    "s as ms": (lambda t: int(t.timestamp()), {"time_unit": "ms"}, "set stream.table.time_unit=s"),
    "s as us": (lambda t: int(t.timestamp()), {"time_unit": "us"}, "set stream.table.time_unit=s"),
    "ms as us": (lambda t: int(t.timestamp() * 1e3), {"time_unit": "us"}, "set stream.table.time_unit=ms"),
    "the day's number": (lambda t: t.day, {}, "stream.table.first_year=2000"),
    "the row's number": (lambda t: int(t.timestamp() - MONDAY) // 3_600, {}, "stream.table.first_year=2000"),
    "days since 1900": (lambda t: 44_562 + t.day, {}, "stream.table.first_year=2000"),
}


@pytest.mark.parametrize("period", ["1d", "1h", "40rows"])
@pytest.mark.parametrize("name", LOOKS)
def test_numbers_that_are_dates_or_of_another_unit_are_refused_with_what_to_set(
    name: str, period: str, tmp_path: Path
) -> None:
    form, table, said = LOOKS[name]
    write_csv(tmp_path / "raw" / "a.csv", clicks(ROWS, 4, t=lambda row: form(at(row))))
    with pytest.raises(DataError) as refusal:
        log_of(tmp_path, stream={"period": period}, **table)
    message = str(refusal.value)
    assert message.startswith(f"column 't': {ROWS} of {ROWS} times, such as '{form(at(0))}', are ")
    assert said in message
    assert message.isprintable()
    assert not list((tmp_path / "data").iterdir())


def test_a_log_of_other_years_is_read_when_they_are_asked_for(tmp_path: Path) -> None:
    log = written(tmp_path, lambda t: int(t.timestamp()) - MONDAY, first_year=1970)
    assert seconds_of(log) == [instant - MONDAY for instant in INSTANTS]


def test_single_times_of_impossible_years_are_set_aside(tmp_path: Path) -> None:
    rows = clicks(600, 4)
    rows[7]["t"] = 17
    write_csv(tmp_path / "raw" / "a.csv", rows)
    assert rejects(log_of(tmp_path)) == [("a.csv", 9, "time '17' is not in the years 2000 to 2100")]


def test_seconds_of_which_some_may_be_read_as_dates_are_seconds(tmp_path: Path) -> None:
    start = 1_704_072_000  # as a date: 17-04-07, a day without an hour 20:00
    log = written(tmp_path, lambda t: int(t.timestamp()) - MONDAY + start)
    assert seconds_of(log)[0] == start


@pytest.mark.parametrize("bad", ["seconds", "it's %Y"])
def test_a_format_must_be_one(bad: str) -> None:
    with pytest.raises(SettingError, match=r"time_format=.* must be in the words of strptime"):
        TableSettings(time_format=bad)


PARQUET = {
    f"{unit}, {zone}": pa.timestamp(unit, zone)
    for unit in ("s", "ms", "us", "ns")
    for zone in (None, "UTC", "America/New_York", "Asia/Tokyo", "+05:30")
}


@pytest.mark.parametrize("name", PARQUET)
def test_parquet_timestamps_are_instants_and_utc_where_they_have_no_zone(name: str, tmp_path: Path) -> None:
    (tmp_path / "raw").mkdir()
    kind, told = PARQUET[name], list[str]()
    for version in ("1.0", "2.6"):
        table = pa.Table.from_pylist(clicks(ROWS, 4))
        times = pa.array(INSTANTS, pa.int64()).cast(pa.timestamp("s", kind.tz)).cast(kind)
        pq.write_table(table.set_column(0, "t", times), tmp_path / "raw" / "a.parquet", version=version)
        told.clear()
        assert seconds_of(log_of(tmp_path, told, files="*.parquet")) == INSTANTS
        assert len(told) == (kind.tz is None)


INGEST = """
import sys
from pathlib import Path
from tests.simulator.stream.tables import log_of
for kind in sys.argv[3:]:
    log = log_of(Path(sys.argv[1]) / kind, raw=Path(sys.argv[2]) / kind, files="*.*")
    print(log.folder)
"""


def test_the_clock_of_the_machine_decides_nothing(tmp_path: Path) -> None:
    raw, kinds = tmp_path / "raw", ("zoned", "naive", "text", "offset")
    for kind, zone in (("zoned", "Europe/Paris"), ("naive", None)):
        (raw / kind).mkdir(parents=True)
        times = pa.array(INSTANTS, pa.int64()).cast(pa.timestamp("s", zone)).cast(pa.timestamp("us", zone))
        table = pa.Table.from_pylist(clicks(ROWS, 4))
        pq.write_table(table.set_column(0, "t", times), raw / kind / "a.parquet")
    for kind, form in (("text", UNZONED["plain"]), ("offset", ZONED["+02:00"])):
        told = [form(at(row)) for row in range(ROWS)]
        write_csv(raw / kind / "a.csv", clicks(ROWS, 4, t=told.__getitem__))
    by_zone = []
    for zone in ("UTC", "America/Los_Angeles", "Asia/Kathmandu"):
        command = [sys.executable, "-c", INGEST, str(tmp_path / zone.replace("/", "-")), str(raw), *kinds]
        done = subprocess.run(
            command,
            env=os.environ | {"TZ": zone},
            cwd=Path(__file__).parents[3],
            capture_output=True,
            text=True,
            check=True,
        )
        by_zone.append([Log(Path(line)) for line in done.stdout.splitlines()])
    for logs in zip(*by_zone, strict=True):  # of a kind
        assert {log.folder.name for log in logs} == {logs[0].folder.name}
        assert all(contents(log.folder) == contents(logs[0].folder) for log in logs)
        assert seconds_of(logs[0]) == INSTANTS
        assert [period.start for period in logs[0].periods] == [MONDAY + day * DAY for day in range(4)]
    assert len(logs) == len(by_zone)
