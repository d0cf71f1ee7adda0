"""The configs of the papers' tables, on a few genuine rows: that they play, not what they say."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest

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
