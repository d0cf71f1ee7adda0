"""A run and its log, started as a user starts them: the log grows, changes, and two starts meet."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from simulator.record.layout import RunFolder
from simulator.record.lock import user_of
from tests.simulator.main_job import PATIENCE, ROOT, TIMED
from tests.simulator.stream.raw_files import DAY, MONDAY
from tests.simulator.stream.tables import Row, clicks, write_csv

pytestmark = [pytest.mark.slow, pytest.mark.timeout(4 * PATIENCE)]
PERIODS = 6
CONFIG = """
name: mine
stream:
  source: table
  root: {root}
  data: {data}
  table: {{files: "*.csv", time: t, label: click, user: [user], item: [item], context: [device]}}
arms:
  finetune: {{backbone: deepfm}}
  window_edk: {{backbone: deepfm, policy: retrain_window, knowledge: edk}}
  rim: {{backbone: rim}}
knowledge: {{edk: {{patterns: 2, depth: 1}}}}
train: {{groups: 1, threads: 1, batch_size: 64}}
yardsticks: []
measure: {{bootstrap: 20}}
serve: {{enabled: false}}
runs: {runs}
"""


def config(folder: Path, root: Path) -> Path:
    file = folder / "mine.yaml"
    file.write_text(CONFIG.format(root=root, data=folder / "data", runs=folder / "runs"))
    return file


def start(file: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "simulator", "run", str(file)]
    # Not a pipe: Ray's agents hold it open for a minute after a driver that was killed.
    with file.with_suffix(".printed").open("w") as printed:
        return subprocess.Popen(command, cwd=ROOT, stdout=printed, stderr=subprocess.STDOUT)


def played(file: Path) -> tuple[int, str]:
    code = start(file).wait(PATIENCE)
    return code, printed_by(file)


def printed_by(file: Path) -> str:
    return " ".join(file.with_suffix(".printed").read_text().split())


def day(number: int) -> list[Row]:
    return clicks(400, 1, t=lambda row: MONDAY + number * DAY + row * DAY // 400, item=lambda row: f"i{row * 7 % 13}")


def predictions(folder: Path) -> list[dict[str, object]]:
    files = sorted((folder / "runs" / "mine" / "predictions").rglob("*.parquet"))
    return [row for file in files for row in pq.read_table(file, partitioning=None).to_pylist()]


def results(folder: Path) -> list[dict[str, object]]:
    """Every number of a run, but for what it cost."""
    rows = pq.read_table(folder / "runs" / "mine" / "results.parquet").to_pylist()
    return [row for row in rows if not any(word in str(row["metric"]) for word in TIMED)]


def test_a_run_whose_log_has_grown_is_killed_and_goes_on_as_if_all_had_been_there_and_a_changed_log_is_refused(
    tmp_path: Path,
) -> None:
    raw, run = tmp_path / "raw", RunFolder(tmp_path / "runs" / "mine")
    file = config(tmp_path, raw)
    for number in range(2):
        write_csv(raw / f"{number}.csv", day(number))
    assert played(file)[0] == 0
    (raw / "0.csv").touch()
    code, printed = played(file)
    assert code == 0, printed

    for number in range(2, PERIODS):
        write_csv(raw / f"{number}.csv", day(number))
    kill_once_it_has_committed(2, file, run)
    assert "the log has grown at its end by 4 periods; the run goes on with it" in printed_by(file)
    resumed = start(file)
    wait_until(lambda: f"process {resumed.pid} " in (user_of(run) or ""), resumed)
    second = file.with_name("again.yaml")
    second.write_text(file.read_text())
    resumed.send_signal(signal.SIGSTOP)  # or it may be done before the second start has imported what it needs
    try:
        code, printed = played(second)
    finally:
        resumed.send_signal(signal.SIGCONT)
    assert code == 1
    assert f"is in use by process {resumed.pid} on " in printed
    assert resumed.wait(PATIENCE) == 0, printed_by(file)
    fresh = tmp_path / "fresh"
    fresh.mkdir()
    assert played(config(fresh, raw))[0] == 0
    assert predictions(tmp_path) == predictions(fresh)
    assert results(tmp_path) == results(fresh)
    assert run.report.exists()

    before = predictions(tmp_path)
    write_csv(raw / "0.csv", [day(0)[0] | {"user": "stranger"}, *day(0)])
    code, printed = played(file)
    assert code == 1
    assert "(2,400 rows in 6 periods), and this is raw-" in printed
    assert "(2,401 rows in 6 periods): period 0 has other rows; choose another name=" in printed
    assert "auc" not in printed, "no old figures for another log"
    assert predictions(tmp_path) == before


def kill_once_it_has_committed(period: int, file: Path, run: RunFolder) -> None:
    process = start(file)
    try:
        wait_until(lambda: run.committed("finetune-0") >= period, process)
    finally:
        process.kill()
        process.wait()


def wait_until(true: Callable[[], bool], process: subprocess.Popen[bytes]) -> None:
    while not true():
        assert process.poll() is None
        time.sleep(0.02)
