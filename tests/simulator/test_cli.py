"""Bad input on the command line: one clear line, a non-zero exit, and nothing half written."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from pkb.errors import Error
from simulator import cli
from simulator.cli import main
from tests.simulator.measure.fake_run import FakeRun

LOG = """time,label,user,item
2024-01-01 10:00:00,0,u1,i1
2024-01-01 11:00:00,1,u2,i1
2024-01-02 10:00:00,0,u1,i2
2024-01-03 10:00:00,1,u2,i2
"""
CONFIG = """
name: bad
stream:
  source: table
  root: {root}
  data: {root}/data
  period: 1d
  table: {{files: log.csv, time: time, label: label, user: [user], item: [item]}}
runs: {root}/runs
arms:
  finetune: {{backbone: deepfm}}
"""


def lines(count: int, bad: str) -> str:
    """A log of `count` good rows and one bad one."""
    good = "".join(f"2024-01-0{1 + i % 3} 10:00:00,{i % 2},u{i % 7},i{i % 5}\n" for i in range(count))
    return f"time,label,user,item\n{good}{bad}\n"


@pytest.mark.parametrize(
    ("log", "overrides", "said"),
    [
        (None, [], ["log.csv"]),
        ("time,label,user\n2024-01-01,0,u\n", [], ["log.csv", "item", "time, label, user"]),
        (lines(9, "2024-01-02 10:00:00,2,u,i"), [], ["log.csv", "11", "label"]),
        (lines(9, "yesterday,1,u,i"), [], ["log.csv", "11", "yesterday"]),
        (LOG, ["stream.period=6h"], ["no rows", "stream.period"]),
        (LOG, ["stream.period=30d"], ["stream.period"]),
        (LOG, ["~arms.finetun"], ["did you mean arms.finetune?"]),
        (LOG, ["arms.other.backbone=deepfn"], ["deepfn", "did you mean deepfm?"]),
        (LOG, ["train.batchsize=3"], ["train.batchsize", "did you mean train.batch_size?"]),
        (LOG, ["stream.source=tabel"], ["did you mean table?"]),
        (LOG, ["train.epochs=1,2"], ["train.epochs=1,2", "--multirun"]),
        (LOG, ["--multirun", "train.epochs=1,-1"], ["train.epochs=-1", "at least 0"]),
        (LOG, ["knowledge.edk.patterns=0"], ["knowledge.edk.patterns=0", "at least 1"]),
    ],
    ids=[
        "no such file",
        "a column missing",
        "a label that is not 0 or 1",
        "a time that does not parse",
        "an empty period",
        "a single period",
        "an unknown arm",
        "an unknown backbone",
        "an unknown setting",
        "an unknown source",
        "a sweep without --multirun",
        "a run among several that cannot be played",
        "an error within a knowledge base",
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing_half_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], log: str | None, overrides: list[str], said: list[str]
) -> None:
    if log is not None:
        (tmp_path / "log.csv").write_text(log)
    config = tmp_path / "bad.yaml"
    config.write_text(CONFIG.format(root=tmp_path))
    assert main(["run", str(config), *overrides]) == 1
    message = capsys.readouterr().err
    assert message.startswith("error: ")
    assert message.count("\n") == 1
    for text in said:
        assert text in message
    assert not (tmp_path / "runs").exists()
    left = [f.name for f in (tmp_path / "data").rglob("*") if f.is_file()] if (tmp_path / "data").exists() else []
    assert not [name for name in left if name.endswith((".parquet", ".json", ".duckdb"))], left


def test_an_option_that_does_not_exist_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["run", "configs/stream_eleme.yaml", "--adress", "auto"])
    assert stopped.value.code == 2
    assert "--adress" in capsys.readouterr().err


def test_report_and_compare_take_the_folders_of_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    noise = {"frozen": 1.4, "finetune": 0.9}
    runs = [str(FakeRun(noise=noise, served=False).write(tmp_path / name)) for name in ("one", "two")]
    assert main(["report", runs[0]]) == 0
    assert (tmp_path / "one" / "report.html").exists()
    assert "run one" in capsys.readouterr().out
    assert main(["compare", *runs]) == 0
    assert "two/finetune" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [(["report", "nowhere"], "nowhere: holds no experiment.json"), (["compare", "one"], "two or more different runs")],
)
def test_a_folder_that_cannot_be_reported_on_is_one_line(
    capsys: pytest.CaptureFixture[str], arguments: list[str], said: str
) -> None:
    assert main(arguments) == 1
    message = capsys.readouterr().err
    assert message.startswith("error: ")
    assert message.count("\n") == 1
    assert said in message


def test_settings_cannot_be_changed_after_a_run(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["report", "runs/one", "measure.bootstrap=500"])
    assert stopped.value.code == 2
    assert "measure.bootstrap=500" in capsys.readouterr().err


def test_a_run_is_found_below_the_home_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    for name in ("one", "two"):
        FakeRun(noise={"frozen": 1.4, "finetune": 0.9}, served=False).write(tmp_path / name)
    for words in (["report", "~/one"], ["compare", "~/one", "~/two"], ["robustness", "~/one", "~/two"]):
        assert main(words) == 0, capsys.readouterr().err
    assert not (tmp_path / "~").exists()


def python(*words: str, **environment: str) -> subprocess.CompletedProcess[bytes]:
    clean = {name: value for name, value in os.environ.items() if name not in ("LANG", "LC_ALL", "PYTHONUTF8")}
    folder = Path(__file__).parents[2]
    return subprocess.run(
        [sys.executable, *words], capture_output=True, check=False, env=clean | environment, cwd=folder, timeout=300
    )


@pytest.mark.parametrize(
    "environment",
    [
        {"PYTHONIOENCODING": "cp1252"},
        {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
        {"LANG": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "PYTHONIOENCODING": "ascii"},
    ],
    ids=lambda environment: ",".join(f"{name}={value}" for name, value in environment.items()),
)
def test_files_are_utf_8_whatever_the_locale_and_the_terminal(tmp_path: Path, environment: dict[str, str]) -> None:
    run = FakeRun(noise={"frozen": 1.4, "finetune": 0.9}, periods=2, served=False).write(tmp_path / "größe")
    done = python("-m", "simulator", "report", str(run), **environment)
    assert done.returncode == 0, done.stderr
    assert done.stderr == b""
    assert b"finetune" in done.stdout
    page = run.report.read_bytes().decode("utf-8")
    assert "größe" in page
    assert "\u00b7" in page, "the page has characters that those terminals lack"
    encoding = environment.get("PYTHONIOENCODING")
    if encoding:
        done.stdout.decode(encoding)


def test_no_effect_stands_within_an_assertion(tmp_path: Path) -> None:
    """`python -O` leaves assertions out; the log must be the same, and so must errors."""
    (tmp_path / "log.csv").write_text(LOG)
    code = f"""
from pathlib import Path
from simulator.stream.ingest import ingest
from simulator.stream.settings import IngestSettings, StreamSettings, TableSettings
table = TableSettings(files="log.csv", time="time", label="label", user=["user"], item=["item"])
root = Path({str(tmp_path)!r})
stream = StreamSettings(source="table", root=str(root), data=str(root / str(__debug__)), table=table)
log = ingest(stream, IngestSettings(), print)
print([(p.rows, p.positives, p.vocabulary_size) for p in log.periods])
"""
    with_assertions, without = python("-c", code), python("-O", "-c", code)
    assert with_assertions.stdout == without.stdout != b""
    files = [sorted(p.name for p in next((tmp_path / name).iterdir()).iterdir()) for name in ("True", "False")]
    assert files[0] == files[1]


class BrokenOffError(Error):
    """What an engine says when a signal breaks it off."""


@pytest.mark.parametrize("error", [KeyboardInterrupt, BrokenOffError, RuntimeError, SystemExit])
def test_any_error_that_an_interruption_brings_about_is_told_as_one(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], error: type[BaseException]
) -> None:
    def perform(*_: Any) -> None:
        try:
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(5)
        except KeyboardInterrupt:
            raise error("interrupted query") from None

    monkeypatch.setattr(cli, "perform", perform)
    before = signal.getsignal(signal.SIGINT)
    assert main(["run", "one.yaml"]) == 130
    assert capsys.readouterr().err == "interrupted; the same command goes on after the last committed period\n"
    assert main(["report", "one"]) == 130
    assert capsys.readouterr().err == "interrupted\n"
    assert signal.getsignal(signal.SIGINT) is before


@pytest.mark.slow
@pytest.mark.parametrize(
    ("sight", "group"),  # the process alone is told, or all of the terminal's group
    [
        ("data/*.partial", False),
        ("runs/bad", True),
        ("runs/bad/groups.json", False),
        ("runs/bad/contenders/*/committed", True),
    ],
)
def test_ctrl_c_at_any_moment_ends_with_130_and_how_to_go_on(tmp_path: Path, sight: str, group: bool) -> None:
    days = [f"2024-01-0{1 + i // 3000} 10:00:00,{i % 2},u{i % 70},i{i % 50}\n" for i in range(9_000)]
    (tmp_path / "log.csv").write_text("time,label,user,item\n" + "".join(days))
    config = tmp_path / "bad.yaml"
    config.write_text(
        CONFIG.format(root=tmp_path)
        + "  more: {backbone: deepfm, epochs: 4}\nserve: {enabled: false}\nyardsticks: []\n"
    )
    words = [sys.executable, "-m", "simulator", "run", str(config)]
    process = subprocess.Popen(
        words, start_new_session=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=Path(__file__).parents[2]
    )
    while process.poll() is None and not list(tmp_path.glob(sight)):
        time.sleep(0.01)
    assert process.poll() is None, process.communicate()
    if group:
        os.killpg(process.pid, signal.SIGINT)
    else:
        process.send_signal(signal.SIGINT)
    _, told = process.communicate(timeout=120)
    assert process.returncode == 130, told
    assert told.decode() == "interrupted; the same command goes on after the last committed period\n"
