"""Where things lie in a run's folder, and what of a killed run is dropped."""

from __future__ import annotations

from pathlib import Path

from simulator.record.layout import RunFolder


def test_what_a_killed_run_left_beyond_its_last_checkpoint_is_dropped(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    files = {
        period: [
            run.predictions(period),
            run.costs(period),
            run.ledger(period, rank=1),
            run.neighbours("field_match", period),
            run.neighbours("period-dert-0", period),  # of an arm whose name looks like a period
        ]
        for period in (0, 2, 3, 11)
    }
    for file in [file for of_period in files.values() for file in of_period] + [run.config]:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    run.drop_uncommitted(2)
    kept = {file for file in tmp_path.rglob("*") if file.is_file()}
    assert kept == {*files[0], *files[2], run.config}
    assert run.periods("costs") == [run.costs(0), run.costs(2)]


def test_nothing_is_dropped_of_a_run_that_has_not_begun(tmp_path: Path) -> None:
    RunFolder(tmp_path / "run").drop_uncommitted(-1)
