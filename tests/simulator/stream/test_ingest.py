from __future__ import annotations

import dataclasses
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from pkb.errors import DataError, SettingError
from simulator.stream import staging, writing
from simulator.stream.ingest import SOURCES, ingest
from simulator.stream.log import Log
from simulator.stream.settings import SplitSettings, StreamSettings
from simulator.stream.world_settings import WorldSettings
from tests.simulator.stream.raw_files import (
    DAY,
    MONDAY,
    Asked,
    contents,
    eleme_line,
    ingested,
    rejects,
    rows_of,
    settings_for,
    write_eleme,
    write_lines,
)

WORLD = WorldSettings(periods=3, rows_per_period=1_500, users=200, items=150)
LARGER_WORLD = dataclasses.replace(WORLD, periods=16, rows_per_period=2_000)


def test_what_is_read_is_kept_or_rejected_and_ids_and_times_ascend(tmp_path: Path) -> None:
    write_eleme(tmp_path)
    log = ingested(settings_for(tmp_path, source="eleme"))
    manifest = log.manifest
    assert (manifest.rows_in, manifest.rows_kept, manifest.rows_rejected) == (120, 120, 0)
    assert [period.rows for period in log.periods] == [40, 40, 40]
    assert [period.positives for period in log.periods] == [10, 10, 10]
    assert [period.first_row_id for period in log.periods] == [0, 40, 80]
    assert [(p.start, p.end) for p in log.periods] == [(MONDAY + d * DAY, MONDAY + (d + 1) * DAY) for d in range(3)]
    rows = rows_of(log)
    assert [row["row_id"] for row in rows] == list(range(120))
    assert [row["ts"] for row in rows] == sorted(row["ts"] for row in rows)


def test_the_vocabulary_size_of_a_period_covers_just_what_has_appeared(tmp_path: Path) -> None:
    write_eleme(tmp_path)
    log = ingested(settings_for(tmp_path, source="eleme"))
    highest = 0
    for period in log.periods:
        batch = log.read(period, histories=True)
        highest = max(highest, int(batch.ids_BF.max()), *(int(h.max()) for h in batch.histories.values()))
        assert period.vocabulary_size == highest + 1
    words = pq.read_table(log.folder / "vocabulary.parquet").column("id").to_pylist()
    assert words == list(range(log.schema.first_value_id, highest + 1))


def test_a_second_ingest_finds_the_log_and_touches_nothing(tmp_path: Path) -> None:
    write_eleme(tmp_path)
    settings = settings_for(tmp_path, source="eleme")
    first = ingested(settings)
    times = {file: file.stat().st_mtime_ns for file in first.folder.iterdir()}
    assert ingested(settings).folder == first.folder
    assert {file: file.stat().st_mtime_ns for file in first.folder.iterdir()} == times


def test_other_settings_and_other_files_make_other_logs(tmp_path: Path) -> None:
    write_eleme(tmp_path)
    settings = settings_for(tmp_path, source="eleme")
    folders = {ingested(settings).folder}
    for change in ({"period": "2d"}, {"period": "40rows"}, {"utc_offset_hours": 1}, {"history_length": 1}):
        folders.add(ingested(settings_for(tmp_path, source="eleme", **change)).folder)
    write_eleme(tmp_path, rows=41)
    folders.add(ingested(settings).folder)
    assert len(folders) == 6
    assert all(folder.name.startswith("eleme-") for folder in folders)


def test_the_same_input_gives_the_same_bytes(tmp_path: Path) -> None:
    logs = [
        ingested(settings_for(tmp_path, source="world", world=WORLD, data=str(tmp_path / name))) for name in ("a", "b")
    ]
    assert contents(logs[0].folder) == contents(logs[1].folder)


def test_settings_that_do_not_shape_the_log_find_it_again(tmp_path: Path) -> None:
    write_eleme(tmp_path)
    folder = ingested(settings_for(tmp_path, source="eleme", period="40rows")).folder
    for change in ({"utc_offset_hours": 1}, {"window": 3}, {"label_delay": "1h"}, {"holdout_share": 0.2}):
        assert ingested(settings_for(tmp_path, source="eleme", period="40rows", **change)).folder == folder


def test_the_log_does_not_depend_on_how_many_rows_are_held_at_a_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = ingested(settings_for(tmp_path, source="world", world=WORLD))
    monkeypatch.setattr(staging, "ARRIVING_ROWS", 90)
    monkeypatch.setattr(staging, "BATCH_ROWS", 100)
    monkeypatch.setattr(writing, "BATCH_ROWS", 37)
    monkeypatch.setattr(writing, "SORTED_ROWS", 1_600)
    pieces = ingested(settings_for(tmp_path, source="world", world=WORLD, data=str(tmp_path / "pieces")))
    assert rows_of(pieces) == rows_of(whole)
    assert pieces.manifest == whole.manifest
    assert pq.ParquetFile(pieces.path(pieces.periods[0])).num_row_groups == -(-1_500 // 37)


def test_what_is_read_back_is_the_batch_that_the_schema_promises(tmp_path: Path) -> None:
    log = ingested(settings_for(tmp_path, source="world", world=WORLD))
    batch = log.read(log.periods[1], histories=True)
    assert len(batch) == 1_500
    assert batch.ids_BF.shape == (1_500, 17)
    assert set(batch.histories) == {history.name for history in log.schema.histories}
    assert batch.request is not None
    assert np.array_equal(np.unique(batch.request.numpy()), np.arange(300, 600))
    assert not ((batch.ids_BF > 0) & (batch.ids_BF < log.schema.first_value_id)).any()


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Log:
    return ingested(settings_for(tmp_path_factory.mktemp("undisturbed"), source="world", world=LARGER_WORLD))


@pytest.mark.slow
@pytest.mark.parametrize(
    "sight",
    ["work/world-00005", "work/staged", "period-00007"],
    ids=lambda sight: sight,
)
def test_an_ingest_killed_at_any_moment_leaves_nothing_half_written_and_the_next_one_gives_the_same_bytes(
    tmp_path: Path, undisturbed: Log, sight: str
) -> None:
    settings = settings_for(tmp_path, source="world", world=LARGER_WORLD)
    code = f"""
from simulator.stream.settings import *
from simulator.stream.world_settings import *
from simulator.stream.ingest import ingest
ingest({settings.stream!r}, {settings.limits!r}, print)"""
    data = Path(settings.stream.data)
    child = subprocess.Popen([sys.executable, "-c", code], cwd=Path(__file__).parents[3])
    try:
        while child.poll() is None and not list(data.glob(f"*.partial/{sight}*")):
            time.sleep(0.002)
    finally:
        child.kill()
        child.wait()
    (left,) = data.iterdir()
    assert left.suffix == ".partial" or contents(left) == contents(undisturbed.folder)

    log = ingested(settings)
    assert list(data.iterdir()) == [log.folder]
    assert contents(log.folder) == contents(undisturbed.folder)


def test_an_ingest_that_fails_leaves_nothing_behind(tmp_path: Path) -> None:
    write_eleme(tmp_path)
    with pytest.raises(DataError, match="has no rows"):
        ingested(settings_for(tmp_path, source="eleme", period="30m"))
    assert list((tmp_path / "data").iterdir()) == []


def test_bad_rows_are_set_aside_with_file_row_and_reason(tmp_path: Path) -> None:
    write_eleme(tmp_path)
    good = eleme_line(MONDAY)
    bad = {
        2: (eleme_line(MONDAY, label="2"), "label '2' is not 0 or 1"),
        3: (eleme_line(MONDAY, label=""), "no label"),
        4: (eleme_line(MONDAY, times="noon"), "time 'noon' does not parse"),
        5: (eleme_line(MONDAY, times=""), "no time"),
        6: (good.rpartition(",")[0], "39 columns expected, 38 found"),
        7: (good + ",8", "39 columns expected, 40 found"),
        8: ("", "39 columns expected, 1 found"),
        10: (eleme_line(MONDAY, shop_id_list="1;2;3"), "lists of different lengths"),
        11: (
            eleme_line(MONDAY * 10**6),
            f"time '{MONDAY}000000' is not in the years 1970 to 9999; look at the unit of time",
        ),
        12: (eleme_line(MONDAY, times="9" * 30), f"time '{'9' * 30}' does not parse"),
    }
    lines = [bad[row][0] if row in bad else good for row in range(1, 14)]
    write_lines(tmp_path / "raw" / "D1_1.csv", lines)
    notices: list[str] = []
    log = ingest(*settings_for(tmp_path, source="eleme", max_reject_share=0.1), notices.append)
    assert rejects(log) == [("D1_1.csv", row, reason) for row, (_, reason) in bad.items()]
    manifest = log.manifest
    assert (manifest.rows_in, manifest.rows_kept, manifest.rows_rejected) == (133, 123, 10)
    assert len(notices) == 1
    assert "10 of 133 rows (7.52%) are bad; the first: D1_1.csv, row 2: label '2' is not 0 or 1" in notices[0]


def test_lines_that_are_no_text_are_set_aside_and_later_rows_keep_their_numbers(tmp_path: Path) -> None:
    write_eleme(tmp_path)
    good, bad = eleme_line(MONDAY).encode(), eleme_line(MONDAY, label="2").encode()
    lines = [good, b"\xff\xfe,1", good, bad, b"\xff", b"\xff", bad, good, bad]
    (tmp_path / "raw" / "D1_1.csv").write_bytes(b"\n".join(lines))
    write_lines(tmp_path / "raw" / "D1_2.csv", [eleme_line(MONDAY, label="3")])
    log = ingested(settings_for(tmp_path, source="eleme", max_reject_share=0.1))
    assert rejects(log) == [
        ("D1_1.csv", 2, "not UTF-8"),
        ("D1_1.csv", 4, "label '2' is not 0 or 1"),
        ("D1_1.csv", 5, "not UTF-8"),
        ("D1_1.csv", 6, "not UTF-8"),
        ("D1_1.csv", 7, "label '2' is not 0 or 1"),
        ("D1_1.csv", 9, "label '2' is not 0 or 1"),
        ("D1_2.csv", 1, "label '3' is not 0 or 1"),
    ]
    assert log.manifest.rows_in == 130


def test_too_many_bad_rows_stop_the_ingest_with_their_share_and_the_first(tmp_path: Path) -> None:
    write_eleme(tmp_path)
    write_lines(tmp_path / "raw" / "D2_1.csv", [eleme_line(MONDAY), eleme_line(MONDAY, label="x")] * 2)
    expected = (
        r"2 of 124 rows \(1\.61%\) are bad; the first: D2_1\.csv, row 2: label 'x' is not 0 or 1;"
        r" ingest\.max_reject_share=0\.01 allows fewer"
    )
    with pytest.raises(DataError, match=expected):
        ingested(settings_for(tmp_path, source="eleme"))
    assert list((tmp_path / "data").iterdir()) == []


def test_a_source_without_rows_is_an_error(tmp_path: Path) -> None:
    write_lines(tmp_path / "raw" / "D1_0.csv", [])
    with pytest.raises(DataError, match="no rows"):
        ingested(settings_for(tmp_path, source="eleme"))


@pytest.mark.parametrize("source", sorted(SOURCES))
def test_an_absent_root_is_an_error_that_says_what_was_looked_for(tmp_path: Path, source: str) -> None:
    with pytest.raises(DataError, match=r"stream\.root='.*raw' holds no"):
        ingested(settings_for(tmp_path, source=source))
    assert not list((tmp_path / "data").glob("*"))


def test_absent_eleme_files_are_replaced_by_the_synthetic_world_which_says_so(tmp_path: Path) -> None:
    notices: list[str] = []
    log = ingest(*settings_for(tmp_path, source="eleme", when_missing="synthetic", world=WORLD), notices.append)
    assert log.manifest.name == "eleme-synthetic"
    assert log.manifest.source == "world"
    assert log.folder.name.startswith("eleme-synthetic-")
    (notice,) = notices
    assert "\n" not in notice
    assert "D1_0.csv" in notice
    assert "https://tianchi.aliyun.com/dataset/131047" in notice
    assert notice.endswith("replaying the synthetic world eleme-synthetic instead")


def test_a_source_without_a_synthetic_world_cannot_be_replaced(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="no synthetic world has the shape of ebnerd"):
        ingested(settings_for(tmp_path, source="ebnerd", when_missing="synthetic"))


def test_a_folder_name_with_wildcards_and_quotes_is_only_a_name(tmp_path: Path) -> None:
    folder = tmp_path / "we*ird [1]? it's"
    write_eleme(folder)
    settings = settings_for(folder, source="eleme", data=str(tmp_path / "data"))
    assert ingested(settings).manifest.rows_kept == 120


def test_days_are_cut_on_the_clock_of_the_log(tmp_path: Path) -> None:
    write_eleme(tmp_path, days=2)
    log = ingested(settings_for(tmp_path, source="eleme", utc_offset_hours=-2))
    assert log.periods[0].start == MONDAY - 22 * 3_600
    assert sum(period.rows for period in log.periods) == 80
    assert StreamSettings().utc_offset_hours == 0


def test_periods_of_rows_hold_so_many_and_a_second_is_never_torn(tmp_path: Path) -> None:
    times = [*range(5), *[5] * 7, *range(6, 10)]  # the sixth to the twelfth row share a second
    write_lines(tmp_path / "raw" / "D1_0.csv", [eleme_line(MONDAY + time) for time in times])
    log = ingested(settings_for(tmp_path, source="eleme", period="6rows"))
    assert [period.rows for period in log.periods] == [12, 4]
    assert [(period.start - MONDAY, period.end - MONDAY) for period in log.periods] == [(0, 6), (6, 10)]


def split_settings(folder: Path, **split: Any) -> Asked:
    """Pool 2022-01-03, training and validation the 4th, test the 5th."""
    parts = SplitSettings(train_from="2022-01-04", test_from="2022-01-05", validation_share=0.8, **split)
    return settings_for(folder, source="eleme", protocol="split", split=parts)


def test_a_split_makes_four_periods(tmp_path: Path) -> None:
    write_eleme(tmp_path)
    log = ingested(split_settings(tmp_path))
    assert [period.rows for period in log.periods] == [40, 29, 11, 40]
    starts = [0, DAY, DAY + DAY // 5, 2 * DAY]
    assert [period.start - MONDAY for period in log.periods] == starts
    assert [period.end - MONDAY for period in log.periods] == [*starts[1:], 2 * DAY + 39 * 600 + 1]


def test_a_share_of_the_rows_behind_the_pool_is_kept_the_same_ones_again(tmp_path: Path) -> None:
    write_eleme(tmp_path)
    whole = rows_of(ingested(split_settings(tmp_path)))
    notices: list[str] = []
    log = ingest(*split_settings(tmp_path, target_share=0.5), notices.append)
    pool, *targets = log.periods
    kept = sum(period.rows for period in targets)
    assert pool.rows == 40
    assert 20 < kept < 60
    assert log.manifest.rows_in == 40 + kept
    assert notices == [
        f"{80 - kept} raw rows are left out: they lie at or after stream.split.train_from, where"
        " stream.split.target_share=0.5 keeps fewer"
    ]
    assert {row["ts"] for row in rows_of(log)} < {row["ts"] for row in whole}
    again = ingested(split_settings(tmp_path, target_share=0.5))
    assert contents(again.folder) == contents(log.folder)


def test_a_log_of_bad_rows_only_is_an_error_whatever_share_is_allowed(tmp_path: Path) -> None:
    write_lines(tmp_path / "raw" / "D1_0.csv", [eleme_line(MONDAY, label="2")])
    with pytest.raises(DataError, match=r"1 of 1 rows .* are bad"):
        ingested(settings_for(tmp_path, source="eleme", max_reject_share=1.0))
    assert list((tmp_path / "data").iterdir()) == []
