"""The configs of the papers' tables, on a few genuine rows: that they play and compare like with like."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from pkb.parameters import dense_parameters
from simulator.contender.assembly import make_model
from simulator.plays import play_of
from simulator.settings import load
from simulator.stream.world.presets import PRESETS
from simulator.stream.world.scenarios import with_scenarios
from tests.simulator.main_job import ONE_GROUP, PATIENCE, ROOT

TAOBAO = ROOT.parent / "shared" / "data" / "taobao"
SHORT = ["stream.split.target_share=1", "seeds=[0]", "train.epochs=1", "compress.epochs=1", "measure.bootstrap=20"]
SHORT += ONE_GROUP


@pytest.mark.slow
@pytest.mark.skipif(not TAOBAO.exists(), reason="Taobao's rows are not on this machine")
@pytest.mark.parametrize("table", ["rok_table4", "rok_figures5_8"])
def test_a_config_of_a_papers_table_measures_each_of_its_arms(tmp_path: Path, table: str) -> None:
    words = [sys.executable, "-m", "simulator", "run", f"configs/papers/{table}.yaml", f"stream.root={TAOBAO}", *SHORT]
    places = [f"stream.data={tmp_path}/data", f"runs={tmp_path}/runs"]
    done = subprocess.run([*words, *places], cwd=ROOT, text=True, capture_output=True, timeout=PATIENCE, check=False)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    rows = pq.read_table(tmp_path / "runs" / table / "results.parquet").to_pylist()
    aucs = {r["arm"]: r["value"] for r in rows if r["metric"] == "auc_prequential" and r["slice"] == "all"}
    plain, *others = aucs
    assert all(value is not None for value in aucs.values())
    assert len(others) >= 4
    assert all(aucs[arm] != aucs[plain] for arm in others)


def test_what_midpgs_figure_compares_has_as_many_parameters_size_by_size() -> None:
    settings = load(ROOT / "configs" / "papers" / "midpg_figure2.yaml")
    schema = with_scenarios(PRESETS[settings.stream.world.preset].schema)
    recipes = {recipe.name: recipe for recipe in play_of(settings).recipes}
    parameters = {
        name: sum(p.numel() for p in dense_parameters(make_model(recipe, schema, ())))
        for name, recipe in recipes.items()
    }
    for size in ("s", "m", "l"):
        r, *others = (parameters[f"{kind}_{size}"] for kind in ("r", "c", "rc", "apg"))
        assert all(abs(other / r - 1) < 0.03 for other in others), parameters
    assert abs(parameters["dnn_wide"] / parameters["r_m"] - 1) < 0.03
