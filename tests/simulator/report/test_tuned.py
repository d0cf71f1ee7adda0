"""A tuned run is reported on by the periods that nothing was tuned by, with what each arm chose."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from rich.console import Console

from simulator.measure.evaluate import add_serving, evaluate
from simulator.measure.opponents import baselines, controls, references
from simulator.record.experiment import Experiment, write_experiment
from simulator.record.layout import RunFolder
from simulator.record.serving import read_serving
from simulator.record.tuning import Trial, Tuning, untuned, write_tuning
from simulator.report.numbers import Numbers
from simulator.report.page import write_report
from simulator.report.table import summary
from simulator.report.tuned import tuned
from tests.simulator.measure.fake_run import NOISE, FakeRun, an_arm, an_experiment

TUNED_ON = 2
ARMS = ("finetune", "finetune_edk")


def trial(arm: str, number: int, auc: float | None, **values: Any) -> Trial:
    given = {"train.learning_rate": 0.001, "train.epochs": 1}
    values = {f"train.{name}": value for name, value in values.items()}
    return Trial(arm=arm, number=number, values=given | values, auc=auc, reason=None, seconds=1.0)


TRIALS = [
    trial("finetune", 0, 0.61),
    trial("finetune", 1, 0.64, learning_rate=0.00123),
    trial("finetune_edk", 0, 0.62),
    trial("finetune_edk", 1, None, epochs=3),
]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    noise = {arm: NOISE[arm] for arm in ARMS} | {untuned("finetune"): 1.1, untuned("finetune_edk"): 0.8}
    run = FakeRun(noise=noise, periods=5).write(tmp_path_factory.mktemp("runs") / "tuned")
    arms = {"finetune": an_arm(), "finetune_edk": an_arm(knowledge="edk")}
    arms |= {untuned(name): replace(arm, untuned=True) for name, arm in arms.items()}
    write_experiment(run, an_experiment(arms, tuned_on=TUNED_ON))
    write_tuning(run, Tuning(periods=TUNED_ON, trials=2, ended=TRIALS))
    return run


@pytest.fixture(scope="module")
def table(run: RunFolder) -> pa.Table:
    return evaluate(run)


def rows(table: pa.Table, **where: Any) -> list[dict[str, Any]]:
    return [row for row in table.to_pylist() if where.items() <= row.items()]


def test_no_mean_is_over_a_period_that_arms_were_tuned_by(table: pa.Table) -> None:
    numbers = Numbers(table)
    for metric in ("auc", "logloss"):
        [whole] = rows(table, arm="finetune", metric=f"{metric}_prequential", slice="all")
        each = rows(table, arm="finetune", metric=metric, holdout=False, slice="all")
        later = [row["value"] for row in each if row["evaluated_on"] >= TUNED_ON]
        assert len(later) == 3
        assert whole["value"] == pytest.approx(np.mean(later))
        assert whole["n"] == 3
        assert numbers.prequential(metric, "finetune").value == pytest.approx(np.mean(later))
    assert numbers.prequential_rows("all") == 3 * 400
    R = {
        (r["trained_through"], r["evaluated_on"]): r["value"]
        for r in rows(table, arm="finetune", metric="auc", holdout=True, slice="all")
    }
    [lost] = rows(table, arm="finetune", metric="forgetting", of="auc", slice="all")
    assert lost["value"] == pytest.approx(np.mean([max(R[i, j] for i in range(j, 4)) - R[4, j] for j in (2, 3)]))


def test_serving_added_afterwards_leaves_it_so(run: RunFolder, table: pa.Table) -> None:
    assert read_serving(run) is not None
    assert add_serving(run, table).equals(table, check_metadata=True)


def test_an_untuned_arm_is_tested_against_itself_tuned_and_held_against_others_untuned() -> None:
    arms = {
        "finetune": an_arm(),
        "rok": an_arm(knowledge="rok"),
        "shuffled": an_arm(knowledge="rok", control="shuffled"),
    }
    told: Experiment = an_experiment(arms | {untuned(name): replace(arm, untuned=True) for name, arm in arms.items()})
    assert baselines(told) == {
        **{"rok": "finetune", "shuffled": "finetune"},
        **{untuned(name): name for name in arms},
    }
    assert references(told)["rok_default"] == "finetune_default"
    assert references(told)["rok"] == "finetune"
    assert controls(told) == {"rok": ["shuffled"], "rok_default": ["shuffled_default"]}


def test_the_report_says_what_was_chosen_and_what_that_was_worth(run: RunFolder, table: pa.Table) -> None:
    text = " ".join(write_report(run).read_text().split())
    assert "from period 2 on, as arms were tuned by the earlier ones" in text
    sheet = tuned(Numbers(table), Tuning(periods=TUNED_ON, trials=2, ended=TRIALS))
    told = {line.name: [cell.text for cell in line.cells] for line in sheet.lines}
    assert told["finetune"][:4] == ["0.6100", "0.6400", "2", "train.learning_rate 0.00123"]
    assert told["finetune_edk"][:4] == ["0.6200", "0.6200", "2", "as given"]
    [gain] = rows(table, arm="finetune", metric="auc_prequential_difference", of="finetune_default", slice="all")
    assert gain["value"] > 0
    assert told["finetune"][4] == f"+{gain['value']:.4f}"
    for word in ("train.learning_rate 0.00123", "tuned minus as given, later periods"):
        assert word in text
    console = Console(width=110, record=True, file=io.StringIO())
    console.print(summary(table))
    assert "means are over periods 2 and later" in console.export_text()


def test_where_nothing_was_played_untuned_the_report_says_how(tmp_path: Path) -> None:
    run = FakeRun(noise={arm: NOISE[arm] for arm in ARMS}, served=False).write(tmp_path / "run")
    write_tuning(run, Tuning(periods=TUNED_ON, trials=2, ended=TRIALS))
    evaluate(run)
    assert "tune.against_default=true" in write_report(run).read_text()
    run.tuning.unlink()
    assert "<h2>Tuning</h2>" not in write_report(run).read_text()
