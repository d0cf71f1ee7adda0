"""A run goes on with its own log alone, or with one that has only grown at its end."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pkb.errors import RunError
from simulator.record.layout import RunFolder
from simulator.record.replayed import Replayed, ReplayedPeriod, hold_to

PERIODS = [ReplayedPeriod(start=day, end=day + 1, rows=100, digest=f"{day}") for day in range(3)]
LOG = Replayed(name="clicks", fingerprint="0123456789", rows=300, periods=PERIODS)


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    run = RunFolder(tmp_path / "run")
    run.path.mkdir()
    hold_to(run, LOG, _fail)
    return run


def _fail(line: str) -> None:
    raise AssertionError(line)


def test_the_same_log_goes_on_without_a_word_even_if_its_raw_files_were_copied(run: RunFolder) -> None:
    hold_to(run, LOG, _fail)
    hold_to(run, replace(LOG, fingerprint="another"), _fail)
    hold_to(run, replace(LOG, name="renamed"), _fail)


def test_a_log_that_has_grown_at_its_end_goes_on_and_is_the_log_from_then_on(run: RunFolder) -> None:
    more = ReplayedPeriod(start=3, end=4, rows=50, digest="3")
    grown, told = replace(LOG, rows=350, periods=[*PERIODS, more], fingerprint="abcdefghij"), list[str]()
    hold_to(run, grown, told.append)
    assert told == [f"{run}: the log has grown at its end by 1 period; the run goes on with it"]
    hold_to(run, grown, _fail)
    with pytest.raises(RunError, match=r"replayed clicks-abcdefgh \(350 rows in 4 periods\).*period 3 is gone"):
        hold_to(run, LOG, _fail)


@pytest.mark.parametrize("period", range(3))
@pytest.mark.parametrize("change", [{"digest": "x"}, {"rows": 99}, {"start": -1}, {"end": 9}], ids=str)
def test_any_other_log_is_refused_and_both_are_named(run: RunFolder, period: int, change: dict[str, Any]) -> None:
    periods = [replace(p, **change) if number == period else p for number, p in enumerate(PERIODS)]
    other = replace(LOG, fingerprint="fedcba9876", rows=299, periods=periods)
    said = (
        r"run: replayed clicks-01234567 \(300 rows in 3 periods\), and this is clicks-fedcba98 \(299 rows in 3"
        rf" periods\): period {period} has other rows; choose another name=\.\.\., or delete"
    )
    with pytest.raises(RunError, match=said):
        hold_to(run, other, _fail)


def test_a_run_that_has_begun_and_does_not_say_with_which_log_is_refused(tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "run")
    run.period_facts(0).parent.mkdir(parents=True)
    with pytest.raises(RunError, match="does not say which log it replayed"):
        hold_to(run, LOG, _fail)
