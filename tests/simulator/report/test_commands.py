"""Runs that are over: measured again, and put side by side where they were measured on the same rows."""

from __future__ import annotations

import io
import os
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from rich.console import Console

from pkb.errors import RunError
from simulator.measure.compare import Played, compare
from simulator.measure.results import RESULTS
from simulator.record.experiment import read_experiment
from simulator.record.layout import RunFolder
from simulator.record.lock import held
from simulator.record.predictions import BEST_ATTAINABLE
from simulator.report import commands
from simulator.report.commands import compare_runs, conclude_what_is_missing, report, robustness_of
from tests.simulator.measure.fake_run import FakeRun
from tests.simulator.stream.raw_files import contents

SHORT = {"frozen": 1.4, "finetune": 0.9}


def played(run: RunFolder) -> Played:
    return Played(name=run.name, folder=run, experiment=read_experiment(run))


def console() -> Console:
    return Console(width=110, record=True, file=io.StringIO())


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    return FakeRun(noise=SHORT, served=False).write(tmp_path_factory.mktemp("runs") / "first")


@pytest.fixture(scope="module")
def second(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """The same log, with a better `finetune` and one more arm."""
    fake = FakeRun(noise={"finetune": 0.2, "ewc": 0.9}, served=False)
    return fake.write(tmp_path_factory.mktemp("runs") / "second")


def test_tables_and_report_are_rebuilt_from_the_stored_predictions(first: RunFolder) -> None:
    report(first.path, console())
    written = (first.results, first.report)
    before = [file.read_bytes() for file in written]
    for file in written:
        file.unlink()
    shown = console()
    report(first.path, shown)
    assert [file.read_bytes() for file in written] == before
    text = shown.export_text()
    assert text.startswith(f"run {first}: 4 periods, 2 arms\n")
    assert "run first" in text
    assert "report.html" in text


def test_a_run_of_which_a_contender_is_behind_is_reported_on_as_far_as_all_have_come(tmp_path: Path) -> None:
    run, shown = FakeRun(noise=SHORT, served=False, behind={"finetune": 2}).write(tmp_path / "run"), console()
    report(run.path, shown)
    assert shown.export_text().startswith(f"run {run}: 3 of 4 periods are complete, 2 arms\n")
    page = run.report.read_text()
    assert "3 of 4 periods are complete, that is, committed by every contender" in page
    assert "<dt>periods</dt><dd>3</dd>" in page


def test_a_run_that_is_over_is_measured_only_where_its_results_are_not_of_all_that_it_has_stored(
    tmp_path: Path,
) -> None:
    behind = FakeRun(noise=SHORT, served=False, behind={"finetune": 2}).write(tmp_path / "run")
    report(behind.path, console())
    run = FakeRun(noise=SHORT, served=False).write(tmp_path / "run")
    assert 3 not in pq.read_table(run.results).column("evaluated_on").to_pylist()
    assert 3 in conclude_what_is_missing(run, console()).column("evaluated_on").to_pylist()
    written = run.results.stat().st_mtime_ns
    conclude_what_is_missing(run, console())
    assert run.results.stat().st_mtime_ns == written
    run.report.unlink()
    conclude_what_is_missing(run, console())
    assert run.report.exists()
    FakeRun(noise=SHORT).write(tmp_path / "run")
    assert "latency_p50_ms" in conclude_what_is_missing(run, console()).column("metric").to_pylist()


def test_measuring_that_takes_long_tells_which_period_of_how_many(
    first: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(commands, "EVERY_SECONDS", 0.0)
    shown = console()
    report(first.path, shown)
    assert [line for line in shown.export_text().splitlines() if line.startswith("measuring")] == [
        f"measuring period {number}/4" for number in (1, 2, 3, 4)
    ]


def test_a_folder_that_is_no_run_is_named(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"holds no experiment\.json, so it is not the folder of a run"):
        report(tmp_path, console())


def test_arms_of_two_runs_are_paired_row_by_row(first: RunFolder, second: RunFolder) -> None:
    table = compare([played(first), played(second)])
    assert table.schema.equals(RESULTS)
    rows = [row for row in table.to_pylist() if row["metric"] == "auc_prequential_difference"]
    found = {(row["arm"], row["of"]): row for row in rows}
    against_itself = found["second/finetune", "first/finetune"]
    assert against_itself["low"] > 0
    apart = [row for row in table.to_pylist() if row["metric"] == "auc_prequential"]
    widths = [row["high"] - row["low"] for row in apart if row["arm"].endswith("finetune")]
    assert against_itself["high"] - against_itself["low"] < sum(widths)
    baselines = {row["arm"]: row["of"] for row in table.to_pylist() if row["metric"] == "p_value_holm"}
    assert baselines == {"second/finetune": "first/finetune", "second/ewc": "first/frozen"}


def test_a_run_compared_with_a_copy_of_itself_does_not_differ(first: RunFolder, tmp_path: Path) -> None:
    copy = FakeRun(noise=SHORT, served=False).write(tmp_path / "copy")
    rows = [row for row in compare([played(first), played(copy)]).to_pylist() if row["of"] and row["slice"] == "all"]
    same = [row for row in rows if row["of"].split("/")[1] == row["arm"].split("/")[1]]
    assert same
    for row in same:
        assert row["value"] == (1 if row["metric"].startswith("p_value") else 0)


def test_the_comparison_is_printed(first: RunFolder, second: RunFolder) -> None:
    shown = console()
    compare_runs([first.path, second.path], shown)
    text = shown.export_text()
    for word in ("first/frozen", "second/ewc", "baseline first/finetune: of", "p (Holm)"):
        assert word in text


def test_what_cannot_be_judged_of_a_run_is_said_before_the_comparison(tmp_path: Path) -> None:
    runs = [FakeRun(noise=SHORT, rows=60, served=False).write(tmp_path / name) for name in ("one", "two")]
    shown = console()
    compare_runs([run.path for run in runs], shown)
    text = shown.export_text()
    assert (
        0 <= text.index("one, too few clicks: ") < text.index("two, too few clicks: ") < text.index("runs one and two")
    )


@pytest.mark.parametrize(
    ("other", "said"),
    [
        (FakeRun(noise=SHORT, rows=401), "were not measured on the same rows in period 0"),
        (FakeRun(noise=SHORT, click_rate=0.3), "were not measured on the same rows in period 0"),
        (FakeRun(noise=SHORT, behind={"frozen": 2}), "next come nothing more and period 3"),
        (FakeRun(noise=SHORT, periods=3), "do not predict the same periods: next come nothing more and period 3"),
        (FakeRun(noise=SHORT, split=True), "do not predict the same periods: next come period 3 and period 0"),
        (FakeRun(noise=SHORT, seeds=[1]), r"has seeds \[1\] and .* \[0\]"),
        (FakeRun(noise=SHORT, data="other"), "replayed other and .* eleme-synthetic"),
    ],
    ids=[
        "other rows",
        "other labels",
        "one is behind",
        "fewer periods",
        "another protocol",
        "other seeds",
        "another log",
    ],
)
def test_what_was_not_measured_on_the_same_rows_is_not_compared(
    first: RunFolder, tmp_path: Path, other: FakeRun, said: str
) -> None:
    with pytest.raises(RunError, match=said):
        compare_runs([first.path, other.write(tmp_path / "other").path], console())


def test_rows_that_were_left_out_are_noticed_in_a_later_period_too(first: RunFolder, tmp_path: Path) -> None:
    run = FakeRun(noise=SHORT).write(tmp_path / "other")
    for arm in (*SHORT, BEST_ATTAINABLE):
        file = run.predictions(2, f"{arm}-0")
        stored = pq.read_table(file)
        pq.write_table(stored.filter(pa.array(np.asarray(stored.column("row_id")) % 400 != 7)), file)
    with pytest.raises(RunError, match="not measured on the same rows in period 2"):
        compare_runs([first.path, run.path], console())


def test_one_run_twice_is_no_comparison(first: RunFolder) -> None:
    for given in ([first.path], [first.path, first.path]):
        with pytest.raises(RunError, match="two or more different runs"):
            compare_runs(given, console())


def test_a_run_that_is_being_played_is_only_read(first: RunFolder, tmp_path: Path) -> None:
    run = FakeRun(noise=SHORT, served=False).write(tmp_path / "used")
    with held(run):
        before = contents(run.path)
        shown = console()
        report(run.path, shown)
        compare_runs([run.path, first.path], shown)
        robustness_of([run.path, first.path], shown)
        assert contents(run.path) == before
    text = shown.export_text()
    assert f"run {run}: is in use by process {os.getpid()} on " in text
    assert "run used" in text
    assert "report.html" not in text
    report(run.path, console())
    assert run.results.exists()
    assert run.report.exists()
