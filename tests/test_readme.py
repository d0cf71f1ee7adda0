"""Every command and every piece of code that the README shows does what it says."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pytest

from simulator.contender.yardsticks import YARDSTICKS
from simulator.describe import describe
from simulator.measure.opponents import controls
from simulator.settings import load
from tests.simulator.main_job import ONE_GROUP, PATIENCE, SERVED, SMALL, UNSERVED, without

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
EBNERD = ROOT.parent / "shared" / "data" / "ebnerd"
HOUSE = ("pkb", "retrieval", "simulator", "tests")
SHOWN = {  # what the README adds: where its file goes, where its line, and the test that then holds it to a contract
    "Linear": ("pkb/backbones/linear.py", "pkb/backbones/__init__.py", "backbones/test_contract.py"),
    "ItemRate": ("pkb/item_rate.py", "pkb/bases.py", "test_knowledge_contract.py"),
}


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
    here = os.environ | {"PYTHONPATH": str(cwd)}  # the packages of a copy, if `cwd` is one
    done = subprocess.run(words, cwd=cwd, text=True, capture_output=True, timeout=PATIENCE, check=False, env=here)
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
    few = without("finetune", "finetune_rok")  # all of them play in tests/simulator/loop/test_simulate.py
    small = [setting for setting in SMALL if setting not in (*ONE_GROUP, "stream.source=world")]
    small += [*UNSERVED, *few, f"stream.data={tmp_path}/data", f"runs={tmp_path}/runs"]
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
    less = [f"~arms.{arm}" for arm in ("frozen", "retrain_all", "finetune_novelty", "finetune_edk")]
    less += ["yardsticks=[]", "measure.bootstrap=20", *ONE_GROUP, *UNSERVED]
    run([*words, *less, f"stream.data={tmp_path}/data", f"runs={tmp_path}/runs"], ROOT)
    rows = pq.read_table(tmp_path / "runs" / "stream_ebnerd" / "results.parquet").to_pylist()
    daily = [r for r in rows if r["arm"] == "finetune" and r["metric"] == "auc" and r["slice"] == "all"]
    assert len({r["evaluated_on"] for r in daily}) == 14
    rows = [r for r in rows if r["metric"] == "auc_prequential" and r["slice"] == "all"]
    [mean] = [r for r in rows if r["arm"] == "finetune"]
    assert mean["low"] > 0.5


@pytest.mark.slow
def test_ones_own_log_with_numbers_and_lists_runs_from_thirteen_lines_of_yaml(tmp_path: Path) -> None:
    text = block("yaml", "my_log")
    assert len(text.splitlines()) == 13
    draw, n = np.random.default_rng(0), 3000
    columns = {
        "shown_at": np.sort(draw.integers(1_700_000_000, 1_700_000_000 + 3 * 86_400, n)),
        "clicked": (draw.random(n) < 0.3).astype(int),
        "page_view": np.arange(n) // 3,
        **{name: draw.integers(0, 50, n) for name in ("user_id", "country", "item_id", "brand", "device")},
        "price": np.where(draw.random(n) < 0.1, "NULL", np.round(draw.lognormal(size=n), 2).astype(str)),
        "age": draw.integers(18, 90, n),
        "tags": [";".join(map(str, some)) for some in draw.integers(0, 9, (n, 2))],
        "clicked_before": [";".join(map(str, some)) for some in draw.integers(0, 50, (n, 3))],
    }
    pyarrow.csv.write_csv(pa.table(columns), tmp_path / "log.csv")
    [look] = commands("simulator inspect")
    run([word.replace("/path/to/folder", str(tmp_path)) for word in look], tmp_path)
    assert load(tmp_path / "proposed.yaml").stream.table.label == "clicked"
    (tmp_path / "my_log.yaml").write_text(text.replace("/path/to/folder", str(tmp_path)))
    first, second, several = commands("my_log.yaml")
    quick = [*ONE_GROUP, *UNSERVED, "measure.bootstrap=20", "knowledge.edk.patterns=2", "knowledge.edk.depth=1"]
    run([*first, *quick], tmp_path)
    run([*second, *quick], tmp_path)
    played = {file.stem for file in (tmp_path / "runs" / "my_log" / "predictions").rglob("*.parquet")}
    assert played == {f"{name}-0" for name in ("finetune", "finetune_edk", *YARDSTICKS)}
    assert "my_log-learning_rate_0.003" in run([*several, *quick], tmp_path)
    report = tmp_path / "runs" / "my_log" / "report.html"
    report.unlink()
    rebuild, compare, robustness = commands("report runs/my_log")
    run(rebuild, tmp_path)
    assert report.is_file()
    printed = run(compare, tmp_path)
    assert "my_log" in printed
    assert "faster" in printed
    assert "finetune_edk" not in (tmp_path / "runs" / "faster" / "config.yaml").read_text()
    printed = run(robustness, tmp_path)
    assert "my_log-learning_rate_0.003" in printed
    assert (tmp_path / "runs" / "my_log-learning_rate_0.001" / "robustness.json").is_file()


def test_the_shown_arms_hold_a_base_against_its_controls(tmp_path: Path) -> None:
    (tmp_path / "arms.yaml").write_text(block("yaml", "rok_shuffled"))
    settings = load(tmp_path / "arms.yaml")
    held = controls(describe(settings, "any"))
    assert held == {"novelty": ["thrice"], "rok": ["thrice", "novelty", "rok_untrained", "rok_shuffled"]}
    assert settings.arms["thrice"].epochs == 3


def add(name: str, house: Path) -> str:
    """Do to a copy of the packages what the README says, a file and a line; return the entry's name."""
    file, registry, _ = SHOWN[name]
    (house / file).write_text(block("python", f"class {name}("))
    [line] = re.findall(rf"The line, in `{registry}` below its import: `(.+?)`", README)
    assert f"`{file}`" in README
    module = file.removesuffix(".py").replace("/", ".")
    before = (house / registry).read_text()
    opening = re.search(r"^[A-Z_]+: dict.* = \{\n", before, re.MULTILINE)
    assert opening is not None
    after = f"from {module} import {name}\n{before[: opening.end()]}    {line}\n{before[opening.end() :]}"
    (house / registry).write_text(after)
    return str(line.split('"')[1])


@pytest.fixture
def house(tmp_path: Path) -> Path:
    """Copy everything that a newcomer works in."""
    for package in HOUSE:
        shutil.copytree(ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


@pytest.mark.slow
def test_what_is_shown_touches_its_file_and_one_line_and_then_keeps_its_contract(house: Path) -> None:
    for name, (_, _, contract) in SHOWN.items():
        entry = add(name, house)
        words = ["pytest", f"tests/pkb/{contract}", "-k", f"{entry}-", "-p", "no:cacheprovider"]
        printed = run([sys.executable, "-m", *words], house)
        assert int(re.findall(r"(\d+) passed", printed)[0]) > 20
        assert "failed" not in printed
    checked = [sys.executable, "-m", "mypy", "--no-incremental", *(file for file, _, _ in SHOWN.values())]
    assert "no issues" in run(checked, house)


@pytest.mark.slow
def test_what_is_shown_is_an_arm_like_any_other(house: Path) -> None:
    backbone, base = (add(name, house) for name in SHOWN)
    (house / "own.yaml").write_text(
        "name: own\nstream: {source: world}\narms:\n"
        f"  plain: {{backbone: {backbone}}}\n"
        f"  knowing: {{backbone: {backbone}, knowledge: {base}}}\n"
    )
    settings = [f"backbones.{backbone}.scale=0.1", f"knowledge.{base}.scale=0.1", "train.learning_rate=0.01"]
    small = [setting for setting in SMALL if setting.startswith(("stream.world", "train.", "measure."))]
    run([sys.executable, "-m", "simulator", "run", "own.yaml", *small, *SERVED, *settings], house)
    import pyarrow.parquet as pq

    rows = pq.read_table(house / "runs" / "own" / "results.parquet").to_pylist()
    aucs = {r["arm"]: r["value"] for r in rows if r["metric"] == "auc_prequential" and r["slice"] == "all"}
    assert min(aucs["plain"], aucs["knowing"]) > 0.52
    assert aucs["plain"] != aucs["knowing"]
    served = {r["arm"] for r in rows if r["metric"] == "latency_p50_ms"}
    assert served >= {"plain", "knowing"}
    assert not served & set(YARDSTICKS)
