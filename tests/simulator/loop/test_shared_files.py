"""What all groups share: it arrives as it was written, is waited for, and the waiting ends with a reason."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from pkb.batch import Batch, Neighbours
from pkb.errors import RunError
from simulator.contender.settings import ArmSettings
from simulator.loop import shared_files
from simulator.loop.commons import Commons
from simulator.loop.shared_files import SharedFiles
from simulator.plays import play_of
from simulator.record.layout import RunFolder
from simulator.stream.holdout import holdout_mask
from simulator.stream.log import Log, Period
from tests.pkb.neighbours import make_neighbours
from tests.simulator.tiny import SCHEMA, tiny_log, tiny_settings


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Log:
    return tiny_log(tmp_path_factory.mktemp("log"), rows=100)


@pytest.fixture
def files(tmp_path: Path) -> SharedFiles:
    made = SharedFiles(RunFolder(tmp_path / "run"), len(SCHEMA.fields))
    made.clear()
    return made


def same(one: Any, other: Any) -> bool:
    """To the bit, column by column, and nothing there that is not in both."""
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[name], other[name]) for name in one)
    if isinstance(one, Tensor):
        return isinstance(other, Tensor) and one.dtype == other.dtype and torch.equal(one, other)
    if one is None:
        return other is None
    return all(same(getattr(one, f.name), getattr(other, f.name)) for f in fields(one))


def plain(rows: Batch) -> Batch:
    return rows


def full(rows: Batch) -> Batch:
    items = rows.ids_BF[:, 1:2]
    return replace(
        rows,
        lists={"tags": items.repeat(1, 3), "lists.genres": items[:, :0]},
        numbers_BN=rows.label.unsqueeze(1).repeat(1, 2) / 3,
        vectors={"text": torch.full((len(rows), 3), 0.5)},
        further_labels={"cart": 1 - rows.label, "further.purchase": rows.label.clone()},
        histories={"shown": items.repeat(1, 4), "short": items[:, :0], "view": rows.ids_BF[:, :1].expand(-1, 2)},
    )


def bare(rows: Batch) -> Batch:
    return replace(rows, ts=None, request=None, p_true=None)


@pytest.mark.parametrize("change", [plain, full, bare])
def test_rows_arrive_as_they_were_given(files: SharedFiles, log: Log, change: Callable[[Batch], Batch]) -> None:
    period = log.periods[1]
    rows = change(log.read(period))
    files.write_rows(period, rows)
    assert same(rows, files.rows(period))
    assert [file.name for file in files.folder.iterdir()] == ["period-00001.safetensors"]


def test_rows_stay_with_who_has_mapped_them_after_their_file_is_dropped(files: SharedFiles, log: Log) -> None:
    early, late = log.periods[:2]
    for period in (early, late):
        files.write_rows(period, log.read(period))
        files.write_sizes(period, {"pool": 5})
        files.write_found_by_holdouts("field_match", period, make_neighbours(log.read(period), schema=SCHEMA))
    mapped = files.rows(early)
    files.drop(0)
    assert {file.name for file in files.folder.rglob("period-*")} == {
        "period-00001.safetensors",
        "period-00001.json",
        "period-00001.parquet",
    }
    assert same(mapped, log.read(early))


@pytest.mark.parametrize("idf", [False, True])
def test_what_was_found_arrives_with_what_it_took(files: SharedFiles, log: Log, idf: bool) -> None:
    period = log.periods[1]
    found = make_neighbours(log.read(period), schema=SCHEMA)
    found = replace(found, idf_BF=torch.rand(100, 3) if idf else None)
    files.write_found("field_match", period, found, (1.5, 0.25))
    again, spent = files.found("field_match", period)
    assert same(found, again)
    assert spent == (1.5, 0.25)
    files.write_found_by_holdouts("field_match", period, found)
    assert same(found, files.found_by_holdouts("field_match", period))
    files.write_sizes(period, {"pool": 3, "field_match": 4})
    assert files.sizes(period) == {"pool": 3, "field_match": 4}


def test_who_comes_first_waits_for_the_file(files: SharedFiles, log: Log) -> None:
    period, rows = log.periods[0], log.read(log.periods[0])

    def write() -> None:
        time.sleep(0.2)
        files.write_rows(period, rows)

    since = time.monotonic()
    writer = threading.Thread(target=write)
    writer.start()
    assert same(rows, files.rows(period))
    assert 0.2 <= time.monotonic() - since < 5
    writer.join()


ASKS: list[Callable[[SharedFiles, Period], object]] = [
    lambda files, period: files.rows(period),
    lambda files, period: files.found("field_match", period),
    lambda files, period: files.found_by_holdouts("field_match", period),
    lambda files, period: files.sizes(period),
]


@pytest.mark.parametrize("ask", ASKS)
def test_waiting_ends_with_a_message_that_names_the_file_and_who_did_not_write_it(
    files: SharedFiles, log: Log, monkeypatch: pytest.MonkeyPatch, ask: Callable[[SharedFiles, Period], object]
) -> None:
    monkeypatch.setattr(shared_files, "PATIENCE_SECONDS", 0.05)
    with pytest.raises(RunError, match=r"period-00002.*: did not come within 0.05 s from the process that reads"):
        ask(files, log.periods[2])


@pytest.mark.parametrize("ask", ASKS)
def test_a_failure_stops_whoever_waits_and_tells_them_why(
    files: SharedFiles, log: Log, ask: Callable[[SharedFiles, Period], object]
) -> None:
    timer = threading.Timer(0.1, files.fail, ["the log ended 3 rows early"])
    timer.start()
    with pytest.raises(RunError, match=r"^the log ended 3 rows early$"):
        ask(files, log.periods[2])
    timer.join()
    files.clear()
    files.write_rows(log.periods[2], log.read(log.periods[2]))
    assert len(files.rows(log.periods[2])) == 100, "a new start forgets it"


def test_what_is_there_already_is_read_whatever_failed_later(files: SharedFiles, log: Log) -> None:
    files.write_rows(log.periods[0], log.read(log.periods[0]))
    files.fail("too late to matter")
    assert len(files.rows(log.periods[0])) == 100


def test_a_new_start_of_who_provides_writes_the_same_again(tmp_path: Path, log: Log) -> None:
    """Killed after two periods, it finds in the third what it would have found."""
    settings = tiny_settings(tmp_path, arms={"rim": ArmSettings(backbone="rim"), "ubr": ArmSettings(backbone="ubr")})
    play, third = play_of(settings), log.periods[2]
    one, other = (Commons(play, log, RunFolder(tmp_path / name)) for name in ("one", "other"))
    assert one.names == ["field_match", "user_behaviours"]
    for commons in (one, other):
        commons.files.clear()
    for period in log.periods[:3]:
        one.provide_period(period, log.read(period))
    for period in log.periods[:2]:
        other.recall(period)
    other.provide_period(third, log.read(third))
    for name in one.names:
        found, again = one.files.found(name, third)[0], other.files.found(name, third)[0]
        assert found.present_BK.any()
        assert same(found, again)
        held: list[Neighbours] = [commons.files.found_by_holdouts(name, third) for commons in (one, other)]
        assert same(*held)
        share = settings.stream.holdout_share
        assert len(held[0].label_BK) == sum(int(holdout_mask(log.read(p), share).sum()) for p in log.periods[:3]), (
            "of every holdout so far"
        )
    assert one.files.sizes(third) == other.files.sizes(third)
    assert one.files.sizes(third).keys() == {"pool", *one.names}
