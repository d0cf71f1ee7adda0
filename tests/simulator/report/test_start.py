"""Reading a run asks nothing of what trained it: neither its time nor its packages."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from simulator.record.layout import RunFolder
from tests.simulator.measure.fake_run import FakeRun

HEAVY = {"ray", "torch", "faiss"}
SHORT = {"frozen": 1.4, "finetune": 0.9}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    return FakeRun(noise=SHORT, periods=2).write(tmp_path_factory.mktemp("runs") / "first")


@pytest.mark.parametrize("command", ["report", "compare"])
def test_no_package_that_trains_is_imported(run: RunFolder, tmp_path: Path, command: str) -> None:
    other = [] if command == "report" else [str(FakeRun(noise=SHORT, periods=2).write(tmp_path / "second"))]
    words = [sys.executable, "-X", "importtime", "-m", "simulator", command, str(run), *other]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    assert "finetune" in done.stdout
    imported = {line.rpartition("|")[2].strip().split(".")[0] for line in done.stderr.splitlines()}
    assert "scipy" in imported, "the list is what was imported"
    assert not imported & HEAVY


def test_the_first_line_comes_within_a_second_and_a_half(run: RunFolder) -> None:
    seconds = []
    for _ in range(3):
        started = time.monotonic()
        with subprocess.Popen([sys.executable, "-m", "simulator", "report", str(run)], stdout=subprocess.PIPE) as asked:
            assert asked.stdout is not None
            first = asked.stdout.readline().decode()
            seconds.append(time.monotonic() - started)
            asked.stdout.read()
        assert asked.returncode == 0
        assert re.fullmatch(rf"run {run}: 2 periods, 2 arms\n", first)
    assert min(seconds) < 1.5
