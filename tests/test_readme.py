"""Every command and every piece of code that the README shows does what it says."""

from __future__ import annotations

import importlib
import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pytest
import torch
from simulator.arms import Contender
from simulator.models import MODELS

from simulator.measure.evaluate import controls
from simulator.settings import Settings, load
from tests.simulator.main_job import PATIENCE, SMALL, UNSERVED, without
from tests.simulator.tiny import SCHEMA, tiny_log

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
EBNERD = ROOT.parent / "shared" / "data" / "ebnerd"


def block(language: str, containing: str) -> str:
    """The one fenced block of `language` that contains a text."""
    blocks = [b for b in re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL) if containing in b]
    assert len(blocks) == 1, f"{len(blocks)} blocks of {language} contain {containing!r}"
    return str(blocks[0])


def commands(containing: str) -> list[list[str]]:
    """The lines of a shell block as words, with this interpreter in place of the environment's."""
    lines = [line.split("#")[0].strip() for line in block("sh", containing).splitlines()]
    return [
        [sys.executable if word.endswith("/python") else word for word in shlex.split(line)] for line in lines if line
    ]


def run(words: list[str], cwd: Path) -> str:
    done = subprocess.run(words, cwd=cwd, text=True, capture_output=True, timeout=PATIENCE, check=False)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return done.stdout


def test_make_help_lists_the_commands_of_the_readme() -> None:
    listed = run(["make", "help"], ROOT)
    for words in commands("make demo"):
        assert words[0] == "make"
        assert f"make {words[1]}" in listed


@pytest.mark.slow
def test_make_demo_plays_the_main_job(tmp_path: Path) -> None:
    if not (ROOT / ".venv" / ".ready").exists():
        pytest.skip("no environment made by make: the tests run in another one")
    few = without("finetune", "finetune_rok")  # all of them play in tests/simulator/test_simulation.py
    small = [*SMALL[1:], *UNSERVED, *few, f"stream.data={tmp_path}/data", f"runs={tmp_path}/runs"]
    printed = run(["make", "demo", f"ARGS={' '.join(small)}"], ROOT)
    assert "eleme-synthetic" in printed
    assert "https://tianchi.aliyun.com/dataset/131047" in printed
    assert "eleme-synthetic" in (tmp_path / "runs" / "stream_eleme-synthetic" / "report.html").read_text()


@pytest.mark.slow
@pytest.mark.skipif(not EBNERD.exists(), reason="EB-NeRD's files are not on this machine")
def test_the_real_log_runs_and_the_finetuned_model_beats_chance(tmp_path: Path) -> None:
    import pyarrow.parquet as pq

    [words] = commands("stream_ebnerd")
    words = [f"stream.root={EBNERD}" if word == "stream.root=FOLDER" else word for word in words]
    less = ["~arms.retrain_all", "~arms.finetune_edk", "measure.bootstrap=100", *UNSERVED]
    run([*words, *less, f"stream.data={tmp_path}/data", f"runs={tmp_path}/runs"], ROOT)
    rows = pq.read_table(tmp_path / "runs" / "stream_ebnerd" / "results.parquet").to_pylist()
    daily = [r for r in rows if r["arm"] == "finetune" and r["metric"] == "auc" and r["slice"] == "all"]
    assert len({r["evaluated_on"] for r in daily}) == 14
    [mean] = [r for r in rows if r["arm"] == "finetune" and r["metric"] == "auc_prequential"]
    assert mean["low"] > 0.5


@pytest.mark.slow
def test_ones_own_log_runs_from_ten_lines_of_yaml(tmp_path: Path) -> None:
    text = block("yaml", "my_log")
    assert len(text.splitlines()) == 10
    draw, n = np.random.default_rng(0), 3000
    columns = {
        "shown_at": np.sort(draw.integers(1_700_000_000, 1_700_000_000 + 3 * 86_400, n)),
        "clicked": (draw.random(n) < 0.3).astype(int),
        "page_view": np.arange(n) // 3,
        **{name: draw.integers(0, 50, n) for name in ("user_id", "country", "item_id", "brand", "device")},
    }
    pyarrow.csv.write_csv(pa.table(columns), tmp_path / "log.csv")
    (tmp_path / "my_log.yaml").write_text(text.replace("/path/to/folder", str(tmp_path)))
    first, second = commands("my_log.yaml")
    run([*first, *UNSERVED], tmp_path)
    run([*second, *UNSERVED], tmp_path)
    report = tmp_path / "runs" / "my_log" / "report.html"
    report.unlink()
    rebuild, compare = commands("report runs/my_log")
    run(rebuild, tmp_path)
    assert report.is_file()
    printed = run(compare, tmp_path)
    assert "my_log" in printed
    assert "faster" in printed
    assert "finetune_edk" not in (tmp_path / "runs" / "faster" / "config.yaml").read_text()


def test_the_shown_arms_hold_a_base_against_its_controls(tmp_path: Path) -> None:
    (tmp_path / "arms.yaml").write_text(block("yaml", "rok_shuffled"))
    settings = load(tmp_path / "arms.yaml")
    assert controls(settings) == {"novelty": [], "rok": ["novelty", "rok_untrained", "rok_shuffled"]}
    assert settings.arms["thrice"].epochs == 3


def test_the_shown_backbone_is_trained_like_any_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "logistic.py").write_text(block("python", "class LogisticRegression"))
    monkeypatch.syspath_prepend(str(tmp_path))
    model = importlib.import_module("logistic").LogisticRegression
    monkeypatch.setitem(MODELS, "logistic", model)
    file = tmp_path / "one.yaml"
    file.write_text("arms: {logistic: {backbone: logistic}}")
    settings: Settings = load(file)
    object.__setattr__(settings.backbones, "logistic", model.Settings())
    log = tiny_log(tmp_path / "log")
    contender = Contender("logistic", 0, settings, SCHEMA)
    rows = log.read(log.periods[0])
    for _ in range(20):
        contender.fit(rows, log.periods[0])
    clicked = torch.nn.functional.binary_cross_entropy
    probability = torch.from_numpy(contender.predict(rows))
    base_rate = rows.label.mean().expand(len(rows))
    assert clicked(probability, rows.label) < clicked(base_rate, rows.label)
