"""A positive is a negative until its label arrives, and is learned again then."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pkb.batch import Batch
from pkb.errors import FutureError, SettingError
from simulator.contender.learning import check_known
from simulator.contender.settings import ArmSettings
from simulator.stream.holdout import holdout_mask
from simulator.stream.learnable import Learnable
from simulator.stream.log import Log
from simulator.stream.settings import StreamSettings, TableSettings
from tests.simulator.stream.raw_files import DAY, MONDAY, rejects
from tests.simulator.stream.tables import Row, clicks, log_of, write_csv
from tests.simulator.tiny import contender_of, tiny_settings

HOUR = 3_600


def late_clicks(rows: int = 600, days: int = 6) -> list[Row]:
    """Labels that come at once, on the same day, days later, and after the log's end."""
    draw = np.random.default_rng(0)
    made = clicks(rows, days, click=lambda row: row % 2)
    for row in made:
        row["came"] = row["t"] + int(draw.choice([0, 1, HOUR, 5 * HOUR, DAY, 2 * DAY, 9 * DAY])) if row["click"] else ""
    return made


def late_log(folder: Path, rows: list[Row] | None = None, **stream: Any) -> Log:
    write_csv(folder / "raw" / "a.csv", rows or late_clicks())
    return log_of(folder, label_time="came", stream=stream)


def lesson(log: Log, stream: StreamSettings, periods: range, **how: bool) -> Batch:
    return Learnable(log, stream).rows(periods, log.read, **how)


@pytest.mark.parametrize("window", [1, 2, 6])
@pytest.mark.parametrize("delay", ["0m", "3h", "2d"])
def test_each_lesson_holds_the_rows_that_are_due_as_they_are_known_and_late_labels_again(
    tmp_path: Path, delay: str, window: int
) -> None:
    """Against a loop over all rows and lessons."""
    log = late_log(tmp_path)
    stream = StreamSettings(label_delay=delay, holdout_share=0.2)
    wait = stream.label_delay_seconds or 0
    every = [log.read(period) for period in log.periods]
    held = {int(row) for rows in every for row in rows.row_id[holdout_mask(rows, 0.2)]}
    assert held
    for last in range(len(log.periods)):
        periods = range(max(0, last + 1 - window), last + 1)
        start, end = log.periods[periods[0]].start, log.periods[last].end
        expected: list[tuple[int, float]] = []
        for rows in every:
            assert rows.ts is not None
            assert rows.label_ts is not None
            columns = (rows.row_id, rows.ts, rows.label_ts, rows.label)
            for row, ts, came, label in zip(*(column.tolist() for column in columns), strict=True):
                due, known = ts + wait, bool(label) and came < end
                first = 0 if periods[0] == 0 else start
                if row in held or due >= end:
                    continue
                if due >= first:
                    expected.append((row, float(known)))
                elif label and start <= came < end:
                    expected.append((row, 1.0))
        got = lesson(log, stream, periods)
        assert list(zip(got.row_id.tolist(), got.label.tolist(), strict=True)) == expected
        if len(got):
            assert got.label_ts is not None
            assert int(got.label_ts.max()) < end


def test_over_the_whole_log_a_row_is_learned_once_and_a_late_positive_twice(tmp_path: Path) -> None:
    log, stream = late_log(tmp_path), StreamSettings(label_delay="1h")
    learned: dict[int, list[tuple[float, int]]] = {}
    for period in log.periods:
        rows = lesson(log, stream, range(period.index, period.index + 1))
        for row, label in zip(rows.row_id.tolist(), rows.label.tolist(), strict=True):
            learned.setdefault(row, []).append((label, period.index))
    final = torch.cat([log.read(period).label for period in log.periods])
    kinds = set()
    for row, lessons in learned.items():
        labels = tuple(label for label, _ in lessons)
        assert len({period for _, period in lessons}) == len(lessons)
        assert labels in {(0.0,), (1.0,), (0.0, 1.0)}
        assert final[row] == 1 or labels == (0.0,)
        kinds.add((float(final[row]), labels))
    assert kinds == {(0.0, (0.0,)), (1.0, (1.0,)), (1.0, (0.0, 1.0)), (1.0, (0.0,))}  # the last came after the end


def test_a_pool_takes_a_row_once_as_it_is_known(tmp_path: Path) -> None:
    log, stream = late_log(tmp_path), StreamSettings()
    taken = [lesson(log, stream, range(n, n + 1), again=False) for n in range(len(log.periods))]
    rows = torch.cat([rows.row_id for rows in taken]).tolist()
    assert len(set(rows)) == len(rows)
    for rows_of, period in zip(taken, log.periods, strict=True):
        assert rows_of.label_ts is not None
        assert int(rows_of.label_ts.max()) < period.end


def test_a_label_that_has_not_arrived_cannot_be_learned(tmp_path: Path) -> None:
    log = late_log(tmp_path)
    settings = tiny_settings(tmp_path, arms={"finetune": ArmSettings(policy="finetune")})
    contender = contender_of(settings, "finetune")
    now = log.periods[0]
    check_known(contender, "model", lesson(log, settings.stream, range(1)), now.start, now.end)
    with pytest.raises(FutureError, match="the model of finetune-0 was built until"):
        check_known(contender, "model", log.read(now), now.start, now.end)


def test_labels_are_measured_as_they_end_up(tmp_path: Path) -> None:
    """What predictions are held against is the log's label, whenever it arrived."""
    rows = late_clicks()
    log = late_log(tmp_path, rows)
    final = torch.cat([log.read(period).label for period in log.periods])
    assert final.tolist() == [row["click"] for row in rows]
    came = [log.read(period).label_ts for period in log.periods]
    assert torch.cat([times for times in came if times is not None]).tolist() == [
        row["came"] or row["t"] for row in rows
    ]


def test_a_positive_needs_the_time_of_its_label_and_a_negative_none(tmp_path: Path) -> None:
    rows = clicks(400, 4, click=lambda row: int(row not in (7, 8)), came=lambda row: MONDAY + 9 * DAY)
    for row, came in ((3, ""), (4, rows[4]["t"] - 1), (5, "soon"), (6, rows[6]["t"]), (7, ""), (8, MONDAY - DAY)):
        rows[row]["came"] = came
    log = late_log(tmp_path, rows)
    assert [(row, why) for _, row, why in rejects(log)] == [
        (5, "no label time, though the label is 1"),
        (6, f"label time '{rows[4]['came']}' is before the row's own time"),
        (7, "label time 'soon' does not parse"),
    ]


def test_without_the_setting_nothing_of_the_log_changes(tmp_path: Path) -> None:
    write_csv(tmp_path / "raw" / "a.csv", late_clicks())
    log = log_of(tmp_path)
    assert not log.schema.has_label_time
    assert "label_ts" not in log.columns(histories=False)
    assert log.read(log.periods[0]).label_ts is None
    assert log.folder.name != late_log(tmp_path).folder.name


def test_rows_without_times_have_no_times_of_labels() -> None:
    with pytest.raises(SettingError, match=r"table\.label_time=came: must be null where table\.time=row"):
        StreamSettings(source="table", period="5rows", table=TableSettings(time="row", label_time="came"))
