"""What is written typed is read typed; anything else is one line that names file and key."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pkb.errors import DataError, RunError
from simulator.record.costs import ArmCosts, PeriodFacts, read_costs, stop_reasons, write_period_facts
from simulator.record.experiment import Experiment, key_of, read_experiment, who_of
from simulator.record.layout import RunFolder
from simulator.record.serving import Serving, read_serving
from simulator.record.typed_json import read_typed, write_json
from tests.simulator.measure.fake_run import FakeRun, an_arm, an_experiment


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    return FakeRun(periods=2, seeds=[0, 1], stopped={"frozen": 1}).write(tmp_path / "run")


def change(file: Path, *path: str | int, to: Any = None) -> None:
    """Set a key of a JSON file, or delete it if it is to be nothing."""
    content = node = json.loads(file.read_text())
    for key in path[:-1]:
        node = node[key]
    if to is None:
        del node[path[-1]]
    else:
        node[path[-1]] = to
    file.write_text(json.dumps(content))


def test_every_file_is_read_as_it_was_written(run: RunFolder, tmp_path: Path) -> None:
    for file, kind in (
        (run.costs(1, "frozen-0"), ArmCosts),
        (run.period_facts(1), PeriodFacts),
        (run.serving, Serving),
        (run.experiment, Experiment),
    ):
        again = tmp_path / "again.json"
        write_json(again, read_typed(file, kind))
        assert again.read_text() == file.read_text()
    told = an_experiment({"b": an_arm(options={"teacher": "rim", "heads": [1, 2]}), "a": an_arm(width=4)})
    write_json(run.experiment, told)
    assert read_experiment(run) == told
    assert list(read_experiment(run).arms) == ["b", "a"], "in the order of the settings"


def test_stopped_arms_are_told_with_their_reasons(run: RunFolder) -> None:
    reason = "stopped: loss was nan learning period 1, step 12"
    assert stop_reasons(read_costs(run, read_experiment(run).keys)) == {("frozen", 0): reason, ("frozen", 1): reason}


@pytest.mark.parametrize(
    ("path", "to", "said"),
    [
        (["wall_seconds"], None, "wall_seconds is missing"),
        (["reads"], None, "reads is missing"),
        (["searches"], True, "searches is unknown"),
        (["stages", "predict", "rows"], None, "stages.predict.rows is missing"),
        (["seed"], "many", "seed='many': must be of type int"),
        (["seed"], True, "seed=True: must be of type int"),
        (["reads"], {}, r"reads=\{\}: must be of type list"),
        (["stages", "predict"], 7, "stages.predict=7: must be of type StageCosts"),
    ],
)
def test_a_key_at_fault_is_named_with_its_file(run: RunFolder, path: list[str | int], to: Any, said: str) -> None:
    change(run.costs(1, "finetune-1"), *path, to=to)
    with pytest.raises(DataError, match=rf"^\S+costs/period-00001/finetune-1\.json: {said}.*run again$"):
        read_costs(run, read_experiment(run).keys)


def test_a_whole_number_stands_for_a_number(run: RunFolder) -> None:
    change(run.serving, "slo_ms", to=30)
    serving = read_serving(run)
    assert serving is not None
    assert (serving.slo_ms, type(serving.slo_ms)) == (30.0, float)


@pytest.mark.parametrize("text", ["{", "[]", "\x00"])
def test_a_file_that_is_no_object_is_named(run: RunFolder, text: str) -> None:
    run.experiment.write_text(text)
    with pytest.raises(DataError, match=r"experiment\.json: .*run again$"):
        read_experiment(run)


def test_a_folder_without_an_experiment_is_none_of_a_run(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"holds no experiment\.json, so it is not the folder of a run"):
        read_experiment(RunFolder(tmp_path))


def test_what_a_period_was_is_written_once(run: RunFolder) -> None:
    facts = read_typed(run.period_facts(1), PeriodFacts)
    write_period_facts(run, replace(facts, rows=1))
    assert read_typed(run.period_facts(1), PeriodFacts) == facts


@pytest.mark.parametrize("who", [("a", 0), ("a-b.c_d", 12), ("period-dert", 0), ("a-0-rank", 1), ("a", -1)])
def test_a_contender_is_read_from_its_key(who: tuple[str, int]) -> None:
    assert who_of(key_of(who)) == who
