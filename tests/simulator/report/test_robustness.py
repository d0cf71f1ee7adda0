"""Findings of a run are looked for in other runs of the same arms, and marked where they turn round."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console

from pkb.errors import RunError
from simulator.record.layout import RunFolder
from simulator.record.robustness import read_robustness
from simulator.report.commands import report, robustness_of
from simulator.report.robustness import shares
from tests.simulator.measure.fake_run import FakeRun


def write(folder: Path, batch_size: int, seeds: list[int], **noise: float) -> RunFolder:
    """A run with these arms, in whose settings a batch size stands."""
    run = FakeRun(rows=1200, periods=3, noise=noise, seeds=seeds, served=False, p_true=False).write(folder)
    run.config.write_text(f"name: {folder.name}\ntrain:\n  batch_size: {batch_size}\n")
    return run


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[RunFolder]:
    """Knowledge helps in the first and hurts in the second; another arm hurts in both."""
    folder = tmp_path_factory.mktemp("runs")
    return [
        write(folder / "usual", 1024, [0], finetune=0.7, finetune_edk=0.0, frozen=1.4),
        write(folder / "small", 64, [0], finetune=0.2, finetune_edk=0.9, frozen=1.4),
        write(folder / "usual-again", 1024, [0], finetune=0.7, finetune_edk=0.0, frozen=1.4),
    ]


def asked(*runs: RunFolder) -> str:
    console = Console(width=120, record=True, file=io.StringIO())
    robustness_of([run.path for run in runs], console)
    return console.export_text()


def test_a_finding_that_turns_round_is_told_with_the_setting_that_turned_it(runs: list[RunFolder]) -> None:
    report(runs[0].path, Console(file=io.StringIO()))
    text = asked(*runs)
    assert "1 of 2 findings (50 %) keep the sign in all 3 runs, 1 of the 2 that are beyond chance in the first." in text
    assert "train.batch_size=64" in text
    found = read_robustness(runs[0])
    assert found is not None
    assert found.differing == ["", "train.batch_size=64", "usual-again"]
    turned = {each.arm: each.turned for each in found.findings}
    assert turned == {"finetune_edk": [1], "frozen": []}
    page = runs[0].report.read_text()
    assert "It turns round with train.batch_size=64: −0." in page
    assert "keeps its sign" in page
    assert "1 of 2 findings (50 %) keep the sign" in page


def test_a_run_that_was_not_compared_so_has_no_such_marks(runs: list[RunFolder]) -> None:
    report(runs[1].path, Console(file=io.StringIO()))
    assert read_robustness(runs[1]) is None
    assert "in other runs" not in runs[1].report.read_text()


def test_runs_may_have_other_seeds(runs: list[RunFolder], tmp_path: Path) -> None:
    noise = {"finetune": 0.7, "finetune_edk": 0.0, "frozen": 1.4}
    assert "2 of 2 findings (100 %)" in asked(runs[0], write(tmp_path / "seeds", 1024, [1, 2], **noise))


def test_a_finding_that_has_no_number_in_another_run_does_not_stand(runs: list[RunFolder], tmp_path: Path) -> None:
    noise = {"finetune": 0.7, "finetune_edk": 0.0, "frozen": 1.4}
    other = FakeRun(noise=noise, stopped={"frozen": 1}, rows=1200, periods=3, served=False).write(tmp_path / "stopped")
    assert "1 of 2 findings (50 %) keep the sign in both runs" in asked(runs[0], other)
    found = read_robustness(runs[0])
    assert found is not None
    assert "frozen has no number with stopped." in shares(found)[0].text


def test_where_nothing_can_be_judged_nothing_is_said_to_stand(tmp_path: Path) -> None:
    noise = {"finetune": 0.7, "finetune_edk": 0.0}
    lots = [
        FakeRun(rows=1200, periods=3, noise=noise, random_labels=True, served=False, p_true=False).write(
            tmp_path / name
        )
        for name in ("one", "two")
    ]
    text = " ".join(asked(*lots).split())
    assert "one, nothing learned: No arm is above chance" in text
    assert "two, nothing learned: No arm is above chance" in text
    assert "no finding that could stand or turn round" in text
    assert "100 %" not in text


def test_findings_of_which_none_is_beyond_chance_are_told_so(tmp_path: Path) -> None:
    noise = {"finetune": 0.7, "finetune_edk": 0.7}
    same = [write(tmp_path / name, 64, [0], **noise) for name in ("one", "two")]
    text = " ".join(asked(*same).split())
    assert "1 of 1 finding (100 %) keep the sign in both runs, none of them is beyond chance in the first." in text


def test_runs_of_other_arms_or_of_another_log_are_refused(runs: list[RunFolder], tmp_path: Path) -> None:
    with pytest.raises(RunError, match="only one of them has arm ewc; give runs of the same arms"):
        asked(runs[0], write(tmp_path / "ewc", 64, [0], finetune=0.7, finetune_edk=0.0, frozen=1.4, ewc=1.0))
    with pytest.raises(RunError, match="replayed other"):
        asked(runs[0], FakeRun(data="other").write(tmp_path / "other"))
    with pytest.raises(RunError, match="robustness: takes two or more different runs"):
        asked(runs[0])
