"""Where things lie in a run's folder, what counts as committed, and what of a killed contender is dropped."""

from __future__ import annotations

from pathlib import Path

import pytest

from pkb.errors import DataError
from simulator.record.files import replacing, write_text
from simulator.record.groups import Groups, read_groups, write_groups
from simulator.record.layout import RunFolder

MINE, OTHERS = "edk-0", ("edk-1", "edk-0-rank-1", "edk.0-0", "period-dert-0")  # an arm may be named like a period


def files_of(run: RunFolder, key: str, period: int) -> list[Path]:
    return [
        run.predictions(period, key),
        run.costs(period, key),
        run.ledger(period, key, rank=0),
        run.ledger(period, key, rank=1),
        run.neighbours(key, period),
        run.checkpoint(key, period) / "model.safetensors",
    ]


def touch(*files: Path) -> None:
    for file in files:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()


def commit(run: RunFolder, key: str, period: int) -> None:
    run.contender(key).mkdir(parents=True, exist_ok=True)
    write_text(run.committed_file(key), f"{period}\n")


def kept(run: RunFolder) -> set[Path]:
    return {file for file in run.path.rglob("*") if file.is_file()}


def test_what_a_killed_contender_left_beyond_its_last_commit_is_dropped_and_nothing_of_others(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    own = {period: files_of(run, MINE, period) for period in (0, 1, 2, 3, 11)}
    touch(*(file for files in own.values() for file in files))
    touch(*(file for key in OTHERS for period in (0, 3) for file in files_of(run, key, period)))
    touch(run.config, *(run.period_facts(period) for period in own), run.neighbours("field_match", 3))
    commit(run, MINE, 2)
    before = kept(run)
    run.drop_uncommitted(MINE)
    too_old = {run.checkpoint(MINE, 0) / "model.safetensors"}
    assert before - kept(run) == {*own[3], *own[11]} | too_old
    assert not run.checkpoint(MINE, 3).exists()
    assert not run.checkpoint(MINE, 0).exists()
    run.drop_uncommitted(MINE)
    assert run.checkpoint(MINE, 1).exists()
    assert run.checkpoint(MINE, 2).exists()


def test_what_was_half_written_is_dropped_too(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    half = [
        run.predictions(1, MINE).with_name(".edk-0.parquet.0a1b2c3d.partial"),
        run.costs(1, MINE).with_name(".edk-0.json.0a1b2c3d.partial"),
        run.contender(MINE) / ".period-00001.partial" / "model.safetensors",
        run.contender(MINE) / ".committed.0a1b2c3d.partial",
    ]
    others = run.predictions(1, MINE).with_name(".edk-1.parquet.0a1b2c3d.partial")
    touch(*half, others)
    commit(run, MINE, 0)
    run.drop_uncommitted(MINE)
    assert kept(run) == {others, run.committed_file(MINE)}


def test_a_commit_keeps_the_checkpoints_of_the_last_two_periods_and_looks_at_nothing_else(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    for period in range(4):
        touch(*files_of(run, MINE, period))
    before = kept(run)
    run.drop_old_checkpoints(MINE, 3)
    assert before - kept(run) == {
        f for f in before if f.is_relative_to(run.contender(MINE)) and f.parent.name[-1] in "01"
    }


def test_everything_is_dropped_of_a_contender_that_has_committed_nothing(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    touch(*files_of(run, MINE, 0))
    run.drop_uncommitted(MINE)
    assert not kept(run)
    RunFolder(tmp_path / "not begun").drop_uncommitted(MINE)


def test_a_period_is_complete_once_all_have_committed_it(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    assert run.committed(MINE) == run.complete_through([MINE]) == run.complete_through([]) == -1
    commit(run, MINE, 12)
    assert run.complete_through([MINE, "edk-1"]) == -1
    commit(run, "edk-1", 9)
    assert [run.committed(key) for key in (MINE, "edk-1")] == [12, 9]
    assert run.complete_through([MINE, "edk-1"]) == 9


@pytest.mark.parametrize("text", ["", "-1", "2.0", "seven", "\xff"])
def test_a_commit_that_is_no_number_is_named(tmp_path: Path, text: str) -> None:
    run = RunFolder(tmp_path)
    touch(run.committed_file(MINE))
    run.committed_file(MINE).write_text(text, encoding="latin-1")
    with pytest.raises(DataError, match=r"^\S+contenders/edk-0/committed: .* is not the number of a period"):
        run.committed(MINE)


def test_periods_that_anyone_has_come_to_are_counted(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    assert run.begun() == 0
    touch(run.period_facts(0), run.costs(1, MINE))
    assert run.begun() == 2


def test_who_plays_in_which_group_is_read_as_it_was_written(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    assert read_groups(run) is None
    groups = Groups(groups=[["a-0", "b-0"], ["c-0"]], threads=2, chosen="3 contenders on 2 cores.")
    write_groups(run, groups)
    assert read_groups(run) == groups


def test_two_who_write_the_same_file_do_not_meet(tmp_path: Path) -> None:
    file = tmp_path / "period.json"
    with replacing(file) as first, replacing(file) as second:
        first.write_text("first")
        second.write_text("second")
    assert file.read_text() == "first", "the one that ended last"
    assert list(tmp_path.iterdir()) == [file]
