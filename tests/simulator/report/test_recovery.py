"""What a report says of arms whose model was replaced."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from simulator.measure.evaluate import evaluate
from simulator.record.costs import read_costs
from simulator.report.numbers import Numbers
from simulator.report.page import write_report
from simulator.report.recovery import recovery
from simulator.report.table import summary
from simulator.report.verdict import verdict
from tests.simulator.measure.fake_run import FakeRun
from tests.simulator.measure.test_recovery import FAKE


def told(fake: FakeRun, folder: Path) -> tuple[Numbers, str]:
    """The numbers of a run, and what its verdict says of restarts."""
    run = fake.write(folder / "run")
    numbers = Numbers(evaluate(run))
    found = verdict(numbers, fake.experiment, read_costs(run, fake.experiment.keys))
    return numbers, " ".join(finding.text for finding in found if finding.tag == "recovery")


def test_verdict_table_and_page_say_when_an_arm_was_level_again_and_what_it_lost_before(tmp_path: Path) -> None:
    numbers, text = told(FAKE, tmp_path)
    assert text.startswith(
        "again, restarted in period 1: level with finetune after 2 periods; against finetune it scored"
    )
    assert "in period 2 and" in text
    assert text.endswith("in period 6.")
    sheet = recovery(numbers)
    assert sheet is not None
    [line] = sheet.lines
    assert line.name == "again"
    assert [cell.text for cell in line.cells[:3]] == ["1", "finetune", "2"]
    assert line.cells[2].below == "shown by 3 periods"
    assert len(line.cells) == len(sheet.headers) - 1 == 3 + 4
    assert line.cells[3].text.startswith("−0.")
    console = Console(width=100, record=True, file=io.StringIO())
    console.print(summary(evaluate(FAKE.write(tmp_path / "printed"))))
    assert "again, restarted in period 1: level with finetune after 2 periods" in console.export_text()
    run = FAKE.write(tmp_path / "page")
    evaluate(run)
    assert "After a restart" in write_report(run).read_text()


def test_an_arm_that_is_still_behind_at_the_end_is_told_so(tmp_path: Path) -> None:
    worse = {"again": dict.fromkeys(range(2, 7), 6.0)}
    _, text = told(replace(FAKE, worse=worse), tmp_path)
    assert "not shown level again (still behind in the last of 5 periods that it predicts)" in text


def test_a_run_without_restarts_says_nothing_of_them(tmp_path: Path) -> None:
    numbers, text = told(replace(FAKE, its={}), tmp_path)
    assert text == ""
    assert recovery(numbers) is None
