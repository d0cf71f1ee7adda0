"""What is said when a disk is full: which one, how much was missing, and how to go on."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path

import pytest

from simulator.record.full_disk import full_disk, largest_period
from simulator.record.layout import RunFolder

FULL = Path("/dev/full")


def test_what_is_no_full_disk_is_left_to_others(tmp_path: Path) -> None:
    for told in ("", "Permission denied", "[Errno 13] Permission denied", "no such device"):
        assert full_disk(told, tmp_path, needs=1, what="it") is None


@pytest.mark.skipif(not FULL.exists(), reason="this system has no /dev/full")
def test_a_full_disk_is_named_with_what_is_left_and_missing(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No space left") as caught, FULL.open("wb", buffering=0) as stream:
        stream.write(b"x")
    needs = shutil.disk_usage(tmp_path).free + 10**12
    told = full_disk(str(caught.value), tmp_path, needs=needs, what="a period of this run")
    assert told is not None
    assert "mounted at /" in told
    assert "MB are left; a period of this run takes about" in told
    assert "MB are missing; make room, then the same command goes on" in told
    assert full_disk(os.strerror(errno.EDQUOT), tmp_path, needs=0, what="it") is not None


def test_a_period_takes_what_is_stored_and_shared_of_it(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    assert largest_period(run) == 0
    for file, size in {
        run.predictions(0, "a-0"): 10,
        run.predictions(1, "a-0"): 20,
        run.checkpoint("a-0", 1) / "state": 300,
        run.neighbours("field_match", 1): 4_000,
        run.path / "shared" / "period-00001.safetensors": 50_000,
        run.config: 10**6,
    }.items():
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(bytes(size))
    assert largest_period(run) == 54_320
