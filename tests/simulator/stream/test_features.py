"""Features of earlier rows: what they are, by a loop over all rows, and that none looks into the future."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from pkb.errors import DataError, SettingError
from simulator.stream import deriving
from simulator.stream.as_of import AsOf
from simulator.stream.by_definition import GUARDED
from simulator.stream.features import Feature, parsed
from simulator.stream.knots import DOUBLINGS
from simulator.stream.log import Log
from simulator.stream.settings import NumberSettings
from tests.simulator.stream import test_ebnerd
from tests.simulator.stream.derived_logs import log_of, stream_of, write
from tests.simulator.stream.raw_files import DAY, MONDAY, contents, rows_of, settings_for

SMOOTHING = 20
NUMBERS = {
    "item_age": "age(item)",
    "pair_age": "age(user, kind)",
    "user_pause": "since_last(user)",
    "item_shown": "impressions(item)",
    "shown_lately": "impressions(item, kind) over 1h",
    "user_clicks": "clicks(user) over all",
    "cell_clicks": "clicks(user, kind) over 3h",
    "item_rate": "click_rate(item)",
    "kind_rate_day": "click_rate(kind) over 1d",
    "place": "position",
    "size": "list_size",
}
CLOCK = {"at": "hour", "day": "weekday"}


def by_a_loop(rows: list[dict[str, Any]], features: tuple[Feature, ...], delay: int) -> list[dict[str, float | None]]:
    """The features of every row, looked for among all rows."""
    ts, click = np.array([row["ts"] for row in rows]), np.array([row["y"] for row in rows])
    request = np.array([row["request_id"] for row in rows])
    came = np.maximum(ts + delay, [row.get("label_ts", 0) for row in rows])
    mine: dict[tuple[str, ...], dict[Any, np.ndarray]] = {}
    for f in features:
        values_of: dict[Any, list[int]] = {}
        for number, row in enumerate(rows):
            values_of.setdefault(tuple(row[name] for name in f.key), []).append(number)
        mine[f.key] = {value: np.array(numbers) for value, numbers in values_of.items()}
    values: list[dict[str, float | None]] = []
    for number, row in enumerate(rows):
        due = (ts < row["ts"]) & (ts + delay <= row["ts"])
        clicked = due & (came <= row["ts"]) & (click == 1)
        rate = clicked.sum() / due.sum() if due.any() else None
        together = request == row["request_id"]
        held: dict[str, float | None] = {}
        for f in features:
            of_key = mine[f.key][tuple(row[name] for name in f.key)]
            counted = of_key[due[of_key] & (ts[of_key] >= row["ts"] - (row["ts"] if f.window is None else f.window))]
            earlier = ts[of_key][ts[of_key] < row["ts"]]
            shown, clicks = len(counted), int(clicked[counted].sum())
            held[f.name] = {
                "age": row["ts"] - earlier.min() if len(earlier) else None,
                "since_last": row["ts"] - earlier.max() if len(earlier) else None,
                "impressions": shown,
                "clicks": clicks,
                "click_rate": None if rate is None else (clicks + SMOOTHING * rate) / (shown + SMOOTHING),
                "position": 1 + together[:number].sum(),
                "list_size": together.sum(),
            }[f.kind]
            if any(row[name] is None for name in f.key):
                held[f.name] = None
        values.append(held)
    return values


def assert_as_by_a_loop(log: Log, delay: int, names: dict[str, str]) -> None:
    rows, features = rows_of(log), parsed(names)
    expected = by_a_loop(rows, features, delay)
    for f in features:
        found = np.array([row[f.name] for row in rows], np.float32)
        np.testing.assert_array_equal(found, np.array([row[f.name] for row in expected], np.float32), f.name)


def test_ten_thousand_rows_have_the_features_that_a_loop_over_all_earlier_rows_gives(tmp_path: Path) -> None:
    write(tmp_path, 10_000, seed=7)
    log = log_of(stream_of(tmp_path, NUMBERS, label_delay="20m"))
    assert_as_by_a_loop(log, 20 * 60, NUMBERS)
    rows = rows_of(log)
    assert len({row["ts"] for row in rows}) < 0.6 * len(rows)  # ties
    for name in NUMBERS:
        held = [row[name] for row in rows]
        assert len(set(held)) > 3, name
    assert all(
        0.02 < sum(row[name] is None for row in rows) / len(rows) < 0.5 for name in ("pair_age", "kind_rate_day")
    )


@pytest.mark.parametrize("delay", ["0m", "1m", "3h", "2d"])
@pytest.mark.parametrize("seed", [0, 1])
def test_features_are_those_of_a_loop_whatever_the_delay(tmp_path: Path, delay: str, seed: int) -> None:
    names = {"a": "clicks(kind) over 2d", "b": "click_rate(user, kind) over 2d", "c": "impressions(item)"}
    if delay in ("0m", "1m"):
        names |= {"d": "impressions(kind) over 1m", "e": "click_rate(kind) over 2m"}
    names |= {"f": "age(kind)", "g": "since_last(kind)"}
    write(tmp_path, 300, seed)
    log = log_of(stream_of(tmp_path, names, label_delay=delay))
    seconds = {"0m": 0, "1m": 60, "3h": 10_800, "2d": 2 * DAY}[delay]
    assert_as_by_a_loop(log, seconds, names)


def with_times_of_labels(folder: Path, late: int) -> None:
    """Of every file, a column of when each label came, up to so many seconds late."""
    for number, file in enumerate(sorted(folder.glob("*.parquet"))):
        table = pq.read_table(file, partitioning=None)
        came = table["t"].to_numpy() + np.random.default_rng(number).integers(0, late, table.num_rows)
        pq.write_table(table.append_column("came", pa.array(came)), file)


@pytest.mark.parametrize("delay", ["0m", "30m"])
def test_features_are_those_of_a_loop_where_labels_have_times_of_their_own(tmp_path: Path, delay: str) -> None:
    names = {"a": "clicks(kind) over 1h", "b": "click_rate(user, kind) over 1d", "c": "impressions(item) over 1h"}
    names |= {"d": "click_rate(item)", "e": "impressions(kind)", "f": "clicks(item)"}
    write(tmp_path, 600, seed=3)
    with_times_of_labels(tmp_path, late=7_200)
    stream = stream_of(tmp_path, names, table={"label_time": "came"}, label_delay=delay)
    log = log_of(stream)
    assert_as_by_a_loop(log, {"0m": 0, "30m": 1_800}[delay], names)
    asked = AsOf(log, stream)
    for rows in map(log.read, log.periods):
        assert rows.ts is not None
        assert rows.numbers_BN is not None
        np.testing.assert_array_equal(asked.numbers(rows.ids_BF, rows.ts).numpy(), rows.numbers_BN.numpy())


def test_a_click_that_has_not_come_yet_changes_no_feature(tmp_path: Path) -> None:
    times = {"t": [MONDAY + t for t in (0, 500, 1_000, 1_001, DAY)], "came": [MONDAY + 1_000] * 5}
    columns = times | {"user": ["u"] * 5, "item": ["i"] * 5, "kind": ["k"] * 5}
    names = {
        "n": "impressions(item)",
        "c": "clicks(item)",
        "rate": "click_rate(item)",
        "lately": "impressions(item) over 1h",
    }
    found = []
    for label in (0, 1):
        folder = tmp_path / str(label)
        folder.mkdir()
        pq.write_table(pa.table(columns | {"y": [label, 0, 0, 0, 0]}), folder / "a.parquet")
        table = {"request": None, "label_time": "came"}
        found.append([[row[name] for name in names] for row in rows_of(log_of(stream_of(folder, names, table=table)))])
    assert found[0][:2] == found[1][:2]
    assert [row[:2] for row in found[1]] == [[0, 0], [1, 0], [2, 1], [3, 1], [4, 1]]


def test_a_row_of_the_same_second_is_never_seen_and_one_a_second_earlier_is(tmp_path: Path) -> None:
    times = [0, 0, 1, 3601, 3602, DAY]
    columns = {"t": [MONDAY + t for t in times], "y": [1] * 6, "user": ["u"] * 6, "item": ["i"] * 6, "kind": ["k"] * 6}
    pq.write_table(pa.table(columns), tmp_path / "a.parquet")
    names = {"n": "impressions(item) over 1h", "age": "age(item)", "pause": "since_last(item)"}
    rows = rows_of(log_of(stream_of(tmp_path, names, table={"request": None})))
    assert [row["n"] for row in rows] == [0, 0, 2, 1, 1, 0]
    assert [row["age"] for row in rows] == [None, None, 1, 3601, 3602, DAY]
    assert [row["pause"] for row in rows] == [None, None, 1, 3600, 1, DAY - 3602]


def test_hour_and_weekday_are_those_of_the_streams_clock(tmp_path: Path) -> None:
    write(tmp_path, 500, seed=3)
    log = log_of(stream_of(tmp_path, CLOCK | {"rate": "click_rate(at)"}, utc_offset_hours=-7, period="12h"))
    assert log.schema.names == ("user", "item", "kind", "at", "day", "rate")
    assert [f.role for f in log.schema.fields[3:]] == ["context"] * 3
    for row in rows_of(log):
        there = datetime.fromtimestamp(row["ts"], UTC) - timedelta(hours=7)
        assert (row["at"], row["day"]) == (str(there.hour), str(there.isoweekday()))
    assert len({row["rate"] for row in rows_of(log)}) > 50


def test_derived_numbers_stand_behind_the_logs_own_and_have_bins(tmp_path: Path) -> None:
    write(tmp_path, 600, seed=2)
    stream = stream_of(tmp_path, {"age": "age(item)"}, table={"numeric": ["list"], "request": None})
    log = log_of(stream)
    assert log.schema.names_of("number") == ("list", "age")
    batch = log.read(log.periods[-1])
    assert batch.numbers_BN is not None
    missing = batch.numbers_BN[:, 1].isnan()
    assert missing.any()
    assert torch.equal(missing, batch.ids_BF[:, 4] == batch.ids_BF[missing, 4][0])


def test_what_grows_has_knots_beyond_the_first_period(tmp_path: Path) -> None:
    write(tmp_path, 2_000, seed=5)
    names = {"age": "age(kind)", "rate": "click_rate(kind)"}
    log = log_of(stream_of(tmp_path, names, numbers=NumberSettings(bins=8)))
    age, rate = log.schema.numbers
    assert len(age.knots) == 8 + DOUBLINGS
    assert len(rate.knots) == 8
    assert age.knots[7] <= DAY < age.knots[-1]
    last = log.read(log.periods[-1])
    assert last.numbers_BN is not None
    assert len(set(age.bins(last.numbers_BN[:, 0]).tolist()) - set(range(9))) >= 1  # missing, and eight bins


def test_later_rows_change_nothing_of_earlier_periods(tmp_path: Path) -> None:
    write(tmp_path, 900, seed=4)
    names = CLOCK | {name: line for name, line in NUMBERS.items() if name not in ("place", "size")}
    whole = log_of(stream_of(tmp_path, names))
    rows = pa.concat_tables(pq.read_table(file, partitioning=None) for file in sorted(tmp_path.glob("*.parquet")))
    (tmp_path / "cut").mkdir()
    early = rows.filter(pa.compute.less(rows["t"], MONDAY + 2 * DAY))
    pq.write_table(early, tmp_path / "cut" / "part0.parquet")
    cut = log_of(stream_of(tmp_path / "cut", names))
    for one, other in zip(cut.periods, whole.periods, strict=False):
        assert cut.path(one).read_bytes() == whole.path(other).read_bytes()
    assert len(cut.periods) == 2


def test_the_same_rows_give_the_same_bytes_whatever_the_files_they_come_in(tmp_path: Path) -> None:
    write(tmp_path / "a", 3_000, seed=8)
    one = log_of(stream_of(tmp_path / "a", CLOCK | NUMBERS))
    other = log_of(stream_of(tmp_path / "a", CLOCK | NUMBERS, data=str(tmp_path / "again")))
    assert contents(one.folder) == contents(other.folder)
    assert not (one.folder / "work").exists()


def test_settings_of_features_make_another_log_and_none_leave_it_where_it_was(tmp_path: Path) -> None:
    write(tmp_path, 200, seed=1)
    folders = [
        log_of(stream_of(tmp_path, features, **more)).folder
        for features in ({}, {"age": "age(item)"}, {"age": "age(user)"}, {"at": "hour"})
        for more in (dict[str, Any](), {"label_delay": "1h"})
    ]
    assert folders[0] == folders[1]
    assert len(set(folders)) == 7
    spaced = log_of(stream_of(tmp_path, {"age": " age( item )  "}))
    assert spaced.folder == folders[2]


def test_a_list_tells_places_and_the_report_what_is_wrong_with_them(tmp_path: Path) -> None:
    write(tmp_path, 1_500, seed=6)
    table = pq.read_table(tmp_path / "part0.parquet", partitioning=None)
    day = pa.array([int(t) // DAY if row % 2 else row * 1000 for row, t in enumerate(table["t"].to_pylist())])
    for part in tmp_path.glob("*.parquet"):
        part.unlink()
    pq.write_table(table.set_column(table.column_names.index("list"), "list", day), tmp_path / "a.parquet")
    told: list[str] = []
    log = log_of(stream_of(tmp_path, {"place": "position", "size": "list_size"}), told)
    assert [line for line in told if line.startswith("stream.features.place=position: tells what the ranker")]
    assert {(row["place"], row["size"]) for row in rows_of(log)} >= {(1, 1)}
    assert_as_by_a_loop(log, 0, {"place": "position", "size": "list_size"})


@pytest.mark.parametrize("line", [line for line in NUMBERS.values() if "(" in line])
def test_a_feature_that_peeks_by_one_second_is_caught_by_the_guard(
    tmp_path: Path, line: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, 1_000, seed=9)
    monkeypatch.setattr(deriving, "STRICTLY", 0)
    with pytest.raises(
        DataError, match=r"^stream\.features\.peeks=.* row \d+ of the log has .*, but by the rows before"
    ):
        log_of(stream_of(tmp_path, {"fine": "list_size", "peeks": line}))
    assert not list((tmp_path / "data").iterdir())


def test_a_label_that_is_known_a_second_too_early_is_caught_by_the_guard(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    half = np.arange(3 * GUARDED) // 2  # hours; each label arrives half an hour after, a second behind another row
    write(tmp_path, 3 * GUARDED, seed=9, at=MONDAY + 3_600 * half + np.arange(3 * GUARDED) % 2 * 1_799)
    early = "greatest(arrived - 1, ts + 1) AS visible"
    query = deriving.Part.query
    peeks = lambda *a: query(*a).replace("greatest(arrived, ts + 1) AS visible", early)  # noqa: E731
    monkeypatch.setattr(deriving.Part, "query", peeks)
    with pytest.raises(DataError, match=r"stream\.features\.rate="):
        log_of(stream_of(tmp_path, {"rate": "click_rate(kind)"}, label_delay="30m"))


def test_a_served_request_gets_the_features_that_the_log_has(tmp_path: Path) -> None:
    write(tmp_path, 4_000, seed=11)
    stream = stream_of(tmp_path, CLOCK | NUMBERS | {"at_rate": "click_rate(at)"}, label_delay="10m")
    log = log_of(stream)
    rows = [log.read(period) for period in log.periods]
    asked = AsOf(log, stream)
    assert [f.name for f in asked.features] == list(log.schema.names_of("number"))
    draw = np.random.default_rng(0)
    compared = 0
    for period in rows:
        assert period.request is not None
        lists = period.request.unique()
        some = lists[torch.from_numpy(draw.permutation(len(lists))[:120])]
        chosen = period.select(torch.isin(period.request, some))
        assert chosen.ts is not None
        assert chosen.numbers_BN is not None
        found = asked.numbers(chosen.ids_BF, chosen.ts, chosen.request)
        np.testing.assert_array_equal(found.numpy(), chosen.numbers_BN.numpy())
        compared += len(chosen)
    assert compared > 300


def test_features_of_a_known_format_are_of_its_own_fields(tmp_path: Path) -> None:
    test_ebnerd.write(
        tmp_path,
        behaviors_train=[
            test_ebnerd.behavior(72, test_ebnerd.NOON, [30, 10, 20], [20]),
            test_ebnerd.behavior(71, test_ebnerd.NOON + timedelta(seconds=5), [20, 40], [], user_id=2),
        ],
        behaviors_val=[test_ebnerd.behavior(90, test_ebnerd.NOON + timedelta(days=1), [20, 50], [50])],
        history_train=[test_ebnerd.history(1, [(test_ebnerd.NOON, 20)])],
        history_val=[test_ebnerd.history(1, [(test_ebnerd.NOON, 20)])],
    )
    features = {"clicks": "clicks(article_id)", "pause": "since_last(user_id)", "place": "position"}
    stream = settings_for(tmp_path, source="ebnerd", features=features).stream
    rows = [(row["article_id"], row["clicks"], row["pause"], row["place"]) for row in rows_of(log_of(stream))]
    assert rows[:5] == [
        ("30", 0, None, 1),
        ("10", 0, None, 2),
        ("20", 0, None, 3),
        ("20", 1, None, 1),
        ("40", 0, None, 2),
    ]
    assert rows[5:] == [("20", 1, DAY, 1), ("50", 0, DAY, 2)]
    with pytest.raises(SettingError, match=r"^stream\.features\.hour='hour': the log has a column of this name"):
        log_of(settings_for(tmp_path, source="ebnerd", features={"hour": "hour"}).stream)
