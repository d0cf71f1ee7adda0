"""Bad input on the command line: one clear line, a non-zero exit, and nothing half written."""

from __future__ import annotations

from pathlib import Path

import pytest

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
