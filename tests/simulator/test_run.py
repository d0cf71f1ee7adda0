"""How a run ends: its report is written and shown, whatever becomes of serving."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from pkb.errors import RunError, SettingError
from simulator import run as module
from simulator.contender.settings import ArmSettings
from simulator.record.experiment import read_experiment
from simulator.record.layout import RunFolder
from simulator.record.replayed import Replayed
from simulator.run import finish, open_run
from simulator.serve.settings import ServeSettings
from simulator.settings import Settings, load
from simulator.stream.log import Log
from simulator.stream.settings import StreamSettings
from simulator.stream.world_settings import WorldSettings
from simulator.train.settings import TrainSettings
from tests.simulator.measure.fake_run import FakeRun

SHORT = {"frozen": 1.4, "finetune": 0.9}

LOG = Replayed(name="eleme", fingerprint="0" * 8, rows=0, periods=[])


def end(run: RunFolder, *, serve: bool) -> str:
    """What the end of a run prints."""
    console = Console(width=110, record=True, file=io.StringIO())
    settings = Settings(arms={"finetune": ArmSettings()}, serve=ServeSettings(enabled=serve))
    try:
        finish(run, settings, Log(Path("nowhere")), console, lambda _: None)
    except RunError as error:
        console.print(f"error: {error}")
    return console.export_text()


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    return FakeRun(noise=SHORT, periods=2, served=False).write(tmp_path / "first")


def test_a_failure_of_serving_leaves_the_report_and_is_told_after_it(
    run: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        assert run.report.exists(), "the report is there before anything is served"
        raise RunError("no contender came up")

    monkeypatch.setattr(module, "serve_and_measure", fail)
    printed = end(run, serve=True)
    assert printed.startswith("too few clicks")
    assert "\nrun first, data eleme-synthetic" in printed
    assert printed.splitlines()[-2:] == [f"report:  {run.report}", "error: no contender came up"]
    assert "This run was not served." in run.report.read_text()


def test_what_was_served_is_part_of_the_report_and_the_table_is_printed_once(
    run: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    served = FakeRun(noise=SHORT, periods=2).write(tmp_path / "served").serving
    monkeypatch.setattr(module, "serve_and_measure", lambda *_, **__: served.rename(run.serving))
    printed = end(run, serve=True)
    assert printed.count("run first, data") == 1
    assert "p50, p99" in printed
    assert "This run was not served." not in run.report.read_text()


@pytest.mark.parametrize("failure", [RunError("none came up"), KeyboardInterrupt(), OSError("no route"), SystemExit(3)])
def test_whatever_ends_serving_the_report_is_written_and_shown(
    run: RunFolder, monkeypatch: pytest.MonkeyPatch, failure: BaseException
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise failure

    monkeypatch.setattr(module, "serve_and_measure", fail)
    console = Console(width=110, record=True, file=io.StringIO())
    settings = Settings(arms={"finetune": ArmSettings()})
    with pytest.raises(type(failure)):
        finish(run, settings, Log(Path("nowhere")), console, lambda _: None)
    assert f"report:  {run.report}" in console.export_text()
    assert run.report.exists()
    assert run.results.exists()


def test_a_run_that_is_not_served_is_reported_on(run: RunFolder) -> None:
    assert end(run, serve=False).count("run first, data") == 1


def test_a_folder_is_opened_again_by_the_same_experiment_alone(tmp_path: Path) -> None:
    settings = Settings(name="one", runs=str(tmp_path), arms={"finetune": ArmSettings()})
    run = open_run(settings, LOG, print)
    assert run.config.exists()
    assert run.environment.exists()
    assert read_experiment(run).data == "eleme"
    assert open_run(settings, LOG, print) == run
    assert open_run(replace(settings, train=TrainSettings(groups="3")), LOG, print) == run, "numbers are the same"
    for other in (replace(settings, seeds=[1]), replace(settings, train=TrainSettings(threads=2))):
        with pytest.raises(RunError, match="holds a run with other settings"):
            open_run(other, LOG, print)


def test_a_restart_after_the_last_period_is_told_before_anything_is_played(tmp_path: Path) -> None:
    settings = Settings(
        runs=str(tmp_path / "runs"),
        arms={"again": ArmSettings(restart_at=[3])},
        stream=StreamSettings(
            data=str(tmp_path / "data"), world=WorldSettings(periods=3, rows_per_period=200, users=50, items=20)
        ),
    )
    with pytest.raises(SettingError, match=r"^arms\.again\.restart_at=\[3\]: the log's periods are 0 to 2$"):
        module.run(settings, Console(file=io.StringIO()))
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    "serve",
    [
        *(
            ServeSettings(enabled=False),
            ServeSettings(port=8001),
            ServeSettings(candidates=7),
            ServeSettings(rates=[5.0]),
        ),
        *(
            ServeSettings(seconds=3),
            ServeSettings(timeout_s=9),
            ServeSettings(host="0.0.0.0"),
            ServeSettings(check_rows=3),
        ),
    ],
    ids=str,
)
def test_a_run_may_be_served_otherwise_and_says_how_it_was(tmp_path: Path, serve: ServeSettings) -> None:
    settings = Settings(name="one", runs=str(tmp_path), arms={"finetune": ArmSettings()})
    run = open_run(settings, LOG, print)
    assert open_run(replace(settings, serve=serve), LOG, print) == run
    assert load(run.config).serve == serve
