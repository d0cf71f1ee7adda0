"""A file of a run that is damaged is named, with what to do; no damage ends in a traceback."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from pkb.errors import Error
from simulator.record.files import write_text
from simulator.record.layout import RunFolder
from simulator.record.memory import read_peaks
from simulator.report.commands import report, robustness_of
from tests.simulator.measure.fake_run import FakeRun

LENGTH = 200  # bytes that are overwritten


def write(folder: Path) -> RunFolder:
    run = FakeRun(noise={"frozen": 1.4, "finetune": 0.9}, periods=2, rows=300).write(folder)
    write_text(run.config, "name: first\nseeds: [0]\n")
    run.memory("group-0").parent.mkdir()
    write_text(run.memory("group-0"), "123456")
    return run


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["noise", "zeros", "halved", "emptied"])
def test_whatever_is_overwritten_in_any_file_the_report_names_it(tmp_path: Path, kind: str) -> None:
    draw = np.random.default_rng(len(kind))
    run = write(tmp_path / "first")
    report(run.path, Console(file=io.StringIO()))
    assert not refusal(run)
    told = {}
    for file in sorted(run.path.rglob("*")):
        if not file.is_file() or file in (run.report, run.results):
            continue
        good = file.read_bytes()
        starts = sorted({0, max(0, len(good) - LENGTH), *map(int, draw.integers(0, len(good), 1))})
        for start in starts if kind in ("noise", "zeros") else [0]:
            patch = bytes(LENGTH) if kind == "zeros" else draw.bytes(LENGTH)
            bad = {
                "halved": good[: len(good) // 2],
                "emptied": b"",
            }.get(kind, good[:start] + patch[: max(1, len(good) - start)] + good[start + LENGTH :])
            file.write_bytes(bad)
            if error := refusal(run):
                told[file.name] = error
        file.write_bytes(good)
    for name, error in told.items():
        assert "\n" not in error
        assert name in error
    assert told


def refusal(run: RunFolder) -> str:
    """What is said of the run, or nothing if it can be reported on."""
    try:
        report(run.path, Console(file=io.StringIO()))
    except Error as error:
        return str(error)
    return ""


@pytest.mark.parametrize("name", ["results.parquet", "config.yaml", "experiment.json"])
@pytest.mark.parametrize("content", [b"\xff\xfe" * 100, b"", b"[" * 100, b"a: [1"])
def test_robustness_names_the_file_that_it_cannot_read(tmp_path: Path, name: str, content: bytes) -> None:
    runs = [write(tmp_path / which) for which in ("one", "two")]
    for run in runs:
        report(run.path, Console(file=io.StringIO()))
    (runs[1].path / name).write_bytes(content)
    if name == "config.yaml" and not content:
        robustness_of([run.path for run in runs], Console(file=io.StringIO()))
        return
    with pytest.raises(Error, match=name):
        robustness_of([run.path for run in runs], Console(file=io.StringIO()))


def test_a_peak_of_memory_that_is_no_number_is_named(tmp_path: Path) -> None:
    run = write(tmp_path / "one")
    assert read_peaks(run) == {"group-0": 123456}
    run.memory("group-0").write_bytes(b"\xff12")
    with pytest.raises(Error, match=r"group-0: .* delete the file"):
        read_peaks(run)
