"""A run's folder belongs to one process at a time, and to nobody once that one has ended, however it ended."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pkb.errors import RunError
from simulator.record.layout import RunFolder
from simulator.record.lock import held, user_of

ROOT = Path(__file__).parents[3]
HOLD = """
import signal, sys, time
from pathlib import Path
from simulator.record.layout import RunFolder
from simulator.record.lock import held
signal.signal(signal.SIGINT, signal.default_int_handler)  # what a shell starts in the background ignores it
with held(RunFolder(Path(sys.argv[1]))):
    print("held", flush=True)
    time.sleep(600)
"""


@contextmanager
def held_by_another(run: RunFolder) -> Iterator[subprocess.Popen[str]]:
    """A process of its own holds the folder."""
    command = [sys.executable, "-c", HOLD, str(run.path)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        try:
            yield other
        finally:
            other.kill()


def test_a_second_start_is_told_which_process_of_which_machine_plays_since_when(tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "run")
    with held_by_another(run) as other:
        who = rf"process {other.pid} on {re.escape(socket.gethostname())} since 20\d\d-\d\d-\d\d \d\d:\d\d:\d\d\+00:00"
        with pytest.raises(RunError, match=rf"run: is in use by {who}; wait .* or choose another name="), held(run):
            pass
        assert re.fullmatch(who, user_of(run) or "")


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_a_killed_process_leaves_the_folder_to_the_next(tmp_path: Path, how: signal.Signals) -> None:
    run = RunFolder(tmp_path / "run")
    with held_by_another(run) as other:
        other.send_signal(how)
        other.wait()
        assert user_of(run) is None
        with held(run):
            assert (user_of(run) or "").startswith(f"process {os.getpid()} on ")


def test_the_folder_is_free_again_after_an_error_and_asking_does_not_take_it(tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "run")
    assert user_of(run) is None
    assert not run.path.exists(), "asking leaves nothing"
    with pytest.raises(ZeroDivisionError), held(run):
        raise ZeroDivisionError
    for _ in range(2):
        assert user_of(run) is None
        with held(run):
            pass


def test_runs_in_other_folders_are_not_in_the_way(tmp_path: Path) -> None:
    with held(RunFolder(tmp_path / "one")), held(RunFolder(tmp_path / "other")):
        pass
