"""What is answered while the next model is in the making, held to what a checkpoint of that time says."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from pkb.step import DivergedError
from simulator.contender.checkpoint import load_contender
from simulator.contender.settings import ArmSettings
from simulator.describe import describe
from simulator.loop.simulate import simulate
from simulator.measure.as_served import NO_SECOND, SEARCHES
from simulator.measure.evaluate import evaluate
from simulator.measure.settings import MeasureSettings
from simulator.plays import play_of
from simulator.record.experiment import key_of, write_experiment
from simulator.record.layout import RunFolder
from simulator.record.predictions import read_predictions
from simulator.record.stale import read_stale
from simulator.report.page import write_report
from simulator.stream.log import Log
from tests.simulator.loop.in_process import played, predictions, provided, silent
from tests.simulator.tiny import DAY, tiny_log, tiny_settings

pytestmark = pytest.mark.usefixtures("one_thread")
ARMS = {
    "finetune": ArmSettings(),
    "frozen": ArmSettings(policy="frozen"),
    "novelty": ArmSettings(knowledge="novelty", plug="fields+join"),
    "edk": ArmSettings(knowledge="edk", options={"patterns": 2, "depth": 1}),
    "dert": ArmSettings(backbone="dert"),
}
KEYS = [key_of((arm, 0)) for arm in ARMS]
PERIODS, HOURS = 5, 6


class KilledError(Exception):
    pass


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Log:
    return tiny_log(tmp_path_factory.mktemp("log"), periods=PERIODS, rows=300)


def folder(tmp_path: Path, log: Log, staleness: str, arms: dict[str, ArmSettings] = ARMS) -> tuple[RunFolder, Any]:
    settings = replace(tiny_settings(log.folder, arms=arms), measure=MeasureSettings(bootstrap=20, staleness=staleness))
    run = RunFolder(tmp_path)
    write_experiment(run, describe(settings, log.manifest.name))
    return run, play_of(settings)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, log: Log) -> RunFolder:
    run, play = folder(tmp_path_factory.mktemp("run"), log, f"{HOURS}h")
    return played(play, log, run)


@pytest.mark.parametrize("period", [2, PERIODS - 1])
def test_the_first_rows_are_answered_by_the_checkpoint_before_the_last(
    tmp_path: Path, log: Log, run: RunFolder, period: int
) -> None:
    stopped, play = folder(tmp_path, log, f"{HOURS}h")
    provided(play, log, stopped)

    def dies(**now: Any) -> None:
        if (now["period"], now["stage"], now["arm"]) == (period - 1, "learn", KEYS[0]):
            raise KilledError

    with pytest.raises(KilledError):
        simulate(play, 0, KEYS, log, stopped, dies)
    rows = log.read(log.periods[period], histories=True)
    assert rows.ts is not None
    early = rows.select(rows.ts < period * DAY + HOURS * 3600)
    assert 0 < len(early) < len(rows)
    for key in KEYS:
        stale = read_stale(run, period - 1, key)
        if key == "dert-0":
            assert stale is None
            continue
        former = load_contender(stopped.checkpoint(key, period - 2))
        assert stale is not None
        assert stale.row_id.tolist() == early.row_id.tolist()
        assert np.array_equal(stale.probability, former.predict(early))


def test_a_killed_run_answers_as_one_that_was_not(tmp_path: Path, log: Log, run: RunFolder) -> None:
    killed, play = folder(tmp_path, log, f"{HOURS}h")
    provided(play, log, killed)

    def dies(**now: Any) -> None:
        if (now["period"], now["stage"], now["arm"]) == (2, "learn", "novelty-0"):
            raise KilledError

    with pytest.raises(KilledError):
        simulate(play, 0, KEYS, log, killed, dies)
    simulate(play, 0, KEYS, log, killed, silent)
    assert _answers(killed) == _answers(run)


@pytest.mark.parametrize("ends", [1, 3])
def test_a_run_goes_on_with_a_longer_log_as_if_all_had_been_there(
    tmp_path: Path, log: Log, run: RunFolder, ends: int
) -> None:
    shorter, play = folder(tmp_path, log, f"{HOURS}h")
    played(play, log.first(ends), shorter)
    assert not shorter.stale(ends - 1, KEYS[0]).exists()
    played(play, log, shorter)
    assert _answers(shorter) == _answers(run)


def test_who_was_stopped_says_so(tmp_path: Path, log: Log) -> None:
    arms = {"fine": ArmSettings(), "first": ArmSettings(), "third": ArmSettings()}
    run, play = folder(tmp_path, log, f"{HOURS}h", arms)
    diverge = {"first-0": 0, "third-0": 2}

    def stops(**now: Any) -> None:
        if now["stage"] == "learn" and now["rows"] and diverge.get(now["arm"]) == now["period"]:
            raise DivergedError("as asked")

    simulate(play, 0, [recipe.key for recipe in play.recipes], log, provided(play, log, run), stops)
    told = _told(run)
    assert told["auc_as_served", "fine"]["value"] is not None
    for arm in ("first", "third"):
        row = told["auc_as_served", arm]
        assert (row["value"], row["reason"]) == (None, told["auc_prequential", arm]["reason"])
        assert "stopped" in row["reason"]
    evaluate(run)
    assert "As it was answered" in write_report(run).read_text()


@pytest.mark.parametrize("periods", [1, 2])
def test_a_run_of_one_counted_period_says_that_there_is_no_second(tmp_path: Path, log: Log, periods: int) -> None:
    run, play = folder(tmp_path, log, f"{HOURS}h")
    played(play, log.first(periods), run)
    told = _told(run)
    assert told["auc_as_served", "finetune"]["reason"] == NO_SECOND
    assert told["auc_as_served", "dert"]["reason"] == SEARCHES


def test_as_answered_is_at_once_where_the_model_stays(run: RunFolder) -> None:
    told = _told(run)
    assert told["auc_as_served_difference", "frozen"]["value"] == 0
    assert told["auc_as_served_difference", "finetune"]["value"] != 0
    assert told["auc_as_served", "dert"]["reason"] == SEARCHES


def test_the_mean_is_over_rows_of_which_the_early_ones_are_the_former_models(run: RunFolder) -> None:
    aucs, shares = [], []
    for pieces in read_predictions(run, KEYS):
        for p in pieces:
            if (p.arm, p.holdout) == ("novelty", False) and p.evaluated_on >= 2:
                stale = read_stale(run, p.evaluated_on - 1, "novelty-0")
                assert stale is not None
                said = dict(zip(p.row_id.tolist(), p.probability.tolist(), strict=True))
                said |= dict(zip(stale.row_id.tolist(), stale.probability.tolist(), strict=True))
                aucs.append(_auc(p.label, np.array([said[row] for row in p.row_id.tolist()])))
                shares.append((len(stale.row_id), len(p.row_id)))
    told = _told(run)
    assert told["auc_as_served", "novelty"]["value"] == pytest.approx(np.mean(aucs), abs=1e-12)
    late, rows = np.sum(shares, axis=0)
    assert told["stale_share", "novelty"]["value"] == late / rows


def test_a_run_that_does_not_ask_leaves_nothing(tmp_path: Path, log: Log, run: RunFolder) -> None:
    other, play = folder(tmp_path, log, "0m")
    played(play, log, other)
    assert not (other.path / "stale").exists()
    assert not {metric for metric, _ in _told(other) if "served" in metric or "stale" in metric}
    asked, not_asked = predictions(run, KEYS), predictions(other, KEYS)
    assert asked.keys() == not_asked.keys()
    assert all(np.array_equal(said, not_asked[cell]) for cell, said in asked.items())


def _answers(run: RunFolder) -> dict[str, list[dict[str, Any]]]:
    files = sorted((run.path / "stale").rglob("*.parquet"))
    return {str(file.relative_to(run.path)): pq.read_table(file).to_pylist() for file in files}


def _told(run: RunFolder) -> dict[tuple[str, str], dict[str, Any]]:
    rows = evaluate(run, keep=False).to_pylist()
    return {(row["metric"], row["arm"]): row for row in rows if row["evaluated_on"] is None and row["slice"] == "all"}


def _auc(label: np.ndarray, score: np.ndarray) -> float:
    """The share of pairs of a click and none in which the click has the higher score."""
    higher = score[label == 1][:, None] - score[label == 0][None, :]
    return float(((higher > 0) + 0.5 * (higher == 0)).mean())
