"""What is said of MI-DPG's weighting matrices, on vectors whose answer is known and on a run that was played."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.apart import entropy, information, likeness
from benchmarks.weightings import LEAST, MOST, chosen, main, sample
from pkb.backbones.scenario.midpg import DPG, MIDPG
from pkb.batch import Field
from pkb.errors import RunError
from simulator.contender.checkpoint import save_contender
from simulator.contender.contender import Contender
from simulator.contender.learning import fit
from simulator.contender.settings import ArmSettings
from simulator.plays import play_of
from simulator.record.files import write_text
from simulator.record.layout import RunFolder
from simulator.record.typed_json import write_json
from simulator.run import replayed
from simulator.settings import load, to_yaml
from simulator.stream.log import Log
from tests.simulator.tiny import SCHEMA, tiny_log, tiny_settings

COLUMN = SCHEMA.names.index("hour")


def test_vectors_that_name_the_scenario_tell_all_of_it_and_noise_nothing() -> None:
    draw = np.random.default_rng(0)
    scenario = draw.choice([3, 5, 9], 3_000, p=[0.6, 0.3, 0.1])
    named = (scenario[:, None] == np.unique(scenario)) + draw.normal(scale=0.01, size=(3_000, 3))
    h = entropy(scenario)
    assert h == pytest.approx(-sum(p * math.log(p) for p in (0.6, 0.3, 0.1)), abs=0.03)
    assert information(scenario, named) == pytest.approx(h, abs=0.05)
    assert information(scenario, draw.normal(size=(3_000, 3))) == pytest.approx(0, abs=0.02)


def test_likeness_is_the_cosine_of_two_scenarios_means() -> None:
    draw = np.random.default_rng(0)
    scenario, a = draw.choice([3, 5, 9], 50), draw.normal(size=(50, 4))
    found = likeness(scenario, a)
    for i, one in enumerate((3, 5, 9)):
        for j, other in enumerate((3, 5, 9)):
            x, y = (sum(a[scenario == s]) / sum(scenario == s) for s in (one, other))
            assert found[i, j] == pytest.approx(x @ y / math.sqrt((x @ x) * (y @ y)))


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """Arms with MIR, without, and without weighting matrices, which have learned a period of 24 scenarios."""
    folder = tmp_path_factory.mktemp("played")
    of_log = tiny_log(folder / "data" / "tiny-0", periods=1, rows=600).folder
    fields = (*SCHEMA.fields[:COLUMN], Field(name="hour", role="scenario"))
    (of_log / "schema.json").write_text(replace(SCHEMA, fields=fields).to_json())
    log = Log(of_log)
    arms = {name: ArmSettings(backbone=name) for name in ("dnn", "dpg", "midpg")}
    settings: Any = tiny_settings(folder, arms=arms)  # sections made on the fly
    small: dict[str, Any] = {"width": 4, "hidden": (8,)}
    backbones = replace(settings.backbones, dpg=DPG.Settings(**small), midpg=MIDPG.Settings(**small))
    settings = replace(settings, backbones=backbones, train=replace(settings.train, epochs=1))
    made = RunFolder(folder / "runs" / "tiny")
    for recipe in play_of(settings).recipes:
        contender = Contender(recipe, log.schema)
        fit(contender, log.read(log.periods[0]), log.periods[0])
        save_contender(made.checkpoint(contender.key, 0), contender, 0)
        write_text(made.committed_file(contender.key), "0")
    write_text(made.config, to_yaml(settings))
    write_json(made.replayed, replayed(log))
    return made


def test_the_matrices_of_an_arm_are_told_of_and_drawn(run: RunFolder, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(run, ["midpg"]).read_bytes().startswith(b"\x89PNG")
    told = capsys.readouterr().out
    assert "| midpg | 0 |" in told
    assert "midpg, seed 0, scenarios" in told
    assert "dpg, seed" not in told.replace("midpg", "")


def test_unless_some_are_named_all_arms_that_have_matrices_are_taken(run: RunFolder) -> None:
    assert [recipe.name for recipe in chosen(run, play_of(load(run.config)).recipes, [])] == ["dpg", "midpg"]


def test_only_arms_of_midpg_can_be_named(run: RunFolder) -> None:
    with pytest.raises(RunError, match=r"of its arms dpg, midpg can be read"):
        main(run, ["dnn"])


def test_rare_scenarios_are_left_out_and_of_frequent_ones_some_rows_are_drawn(tmp_path: Path) -> None:
    rows = (log := tiny_log(tmp_path, periods=1)).read(log.periods[0])
    hour = rows.ids_BF[:, COLUMN]
    hour[:] = 7
    hour[: LEAST - 1], hour[100 : 100 + LEAST] = 5, 6
    kept, counts = sample(rows, COLUMN).ids_BF[:, COLUMN].unique(return_counts=True)
    assert dict(zip(kept.tolist(), counts.tolist(), strict=True)) == {6: LEAST, 7: MOST}
