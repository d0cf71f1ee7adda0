"""A run and its log, started as a user starts them: the log grows, changes, and two starts meet."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests.simulator.main_job import PATIENCE, ROOT
from tests.simulator.stream.raw_files import DAY, MONDAY
from tests.simulator.stream.tables import Row, clicks, write_csv

pytestmark = [pytest.mark.slow, pytest.mark.timeout(4 * PATIENCE)]
CONFIG = """
name: mine
stream:
  source: table
  root: {root}
  data: {data}
  table: {{files: "*.csv", time: t, label: click, user: [user], item: [item], context: [device]}}
arms:
  finetune: {{backbone: deepfm}}
train: {{threads: 1, batch_size: 64}}
yardsticks: []
measure: {{bootstrap: 20}}
serve: {{enabled: false}}
runs: {runs}
"""


def config(folder: Path, root: Path) -> Path:
    file = folder / "mine.yaml"
    file.write_text(CONFIG.format(root=root, data=folder / "data", runs=folder / "runs"))
    return file


def start(file: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "simulator", "run", str(file)]
    return subprocess.Popen(command, cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


def played(file: Path) -> tuple[int, str]:
    process = start(file)
    printed, _ = process.communicate(timeout=PATIENCE)
    return process.returncode, " ".join(printed.split())


def day(number: int) -> list[Row]:
    return clicks(400, 1, t=lambda row: MONDAY + number * DAY + row * DAY // 400, item=lambda row: f"i{row * 7 % 13}")


def predictions(folder: Path) -> list[dict[str, object]]:
    files = sorted((folder / "runs" / "mine" / "predictions").rglob("*.parquet"))
    return [row for file in files for row in pq.read_table(file, partitioning=None).to_pylist()]


def test_a_grown_log_goes_on_as_if_it_had_been_there_and_a_changed_one_is_refused(tmp_path: Path) -> None:
    raw, file = tmp_path / "raw", config(tmp_path, tmp_path / "raw")
    for number in range(2):
        write_csv(raw / f"{number}.csv", day(number))
    assert played(file)[0] == 0
    (raw / "0.csv").touch()
    code, printed = played(file)
    assert code == 0, printed

    write_csv(raw / "2.csv", day(2))
    code, printed = played(file)
    assert code == 0, printed
    assert "the log has grown at its end by 1 period; the run goes on with it" in printed
    fresh = tmp_path / "fresh"
    fresh.mkdir()
    assert played(config(fresh, raw))[0] == 0
    assert predictions(tmp_path) == predictions(fresh)

    before = predictions(tmp_path)
    write_csv(raw / "0.csv", [day(0)[0] | {"user": "stranger"}, *day(0)])
    code, printed = played(file)
    assert code == 1
    assert "(1,200 rows in 3 periods), and this is raw-" in printed
    assert "(1,201 rows in 3 periods): period 0 has other rows; choose another name=" in printed
    assert "auc" not in printed, "no old figures for another log"
    assert predictions(tmp_path) == before


def test_a_second_start_is_refused_leaves_the_first_alone_and_a_killed_one_is_resumed(tmp_path: Path) -> None:
    for number in range(4):
        write_csv(tmp_path / "raw" / f"{number}.csv", day(number))
    file = config(tmp_path, tmp_path / "raw")
    first, run = start(file), tmp_path / "runs" / "mine"
    try:
        while not (run / "contenders" / "finetune-0" / "committed").exists():
            assert first.poll() is None
            time.sleep(0.02)
        first.send_signal(signal.SIGSTOP)  # it holds its folder, and does not end before the second start has
        code, printed = played(file)
        assert first.poll() is None
        assert code == 1
        assert f"is in use by process {first.pid} on " in printed
        first.send_signal(signal.SIGKILL)
    finally:
        first.kill()
        first.communicate()
    code, printed = played(file)
    assert code == 0, printed
    alone = tmp_path / "alone"
    alone.mkdir()
    assert played(config(alone, tmp_path / "raw"))[0] == 0
    assert predictions(tmp_path) == predictions(alone)
    assert (run / "report.html").exists()
