"""Whoever is killed while arms are tuned, the same trials are played and the same is chosen."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from tests.simulator.main_job import PATIENCE, children_of
from tests.simulator.tune.tuned_run import ARMS, TUNE, chosen, ended, start

pytestmark = pytest.mark.slow


def wait_until(true: Callable[[], bool], process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not true():
        assert process.poll() is None, "it ended before"
        assert time.monotonic() < deadline
        time.sleep(0.01)


def players(driver: int) -> list[int]:
    return [pid for pid, title in children_of(driver).items() if re.search(r"::(Player|ResourceTrainable)", title)]


def kill_one(processes: list[int]) -> bool:
    for pid in processes[:1]:
        os.kill(pid, signal.SIGKILL)
    return bool(processes)


def assert_ends_well(process: subprocess.Popen[bytes], folder: Path) -> None:
    assert process.wait(PATIENCE) == 0, (folder / "printed").read_text()[-3000:]


def test_a_killed_tuning_goes_on_and_chooses_the_same(tmp_path: Path) -> None:
    undisturbed, disturbed = tmp_path / "undisturbed", tmp_path / "disturbed"
    for folder in (undisturbed, disturbed):
        folder.mkdir()
    assert_ends_well(start(undisturbed), undisturbed)
    whole = ended(undisturbed)
    assert len(whole) == len(ARMS) * TUNE.trials
    assert len({trial.auc for trial in whole}) > len(whole) / 2

    process = start(disturbed)
    wait_until(lambda: len(ended(disturbed)) >= 2, process)
    below = list(children_of(process.pid))
    process.kill()
    process.wait()
    for pid in below:  # they outlive their driver for a moment
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    before = ended(disturbed)
    assert 2 <= len(before) < len(whole)

    process = start(disturbed)
    wait_until(lambda: len(ended(disturbed)) > len(before), process)
    wait_until(lambda: kill_one(players(process.pid)), process)
    assert_ends_well(process, disturbed)
    assert ended(disturbed) == whole
    assert chosen(disturbed) == chosen(undisturbed), "nobody needs Ray where nothing is left to play"
    assert {entry.name for entry in (disturbed / "run").iterdir()} == {"tuning.json"}, "nothing is left of trials"
