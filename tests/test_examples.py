"""Every example runs as the README says, and without what only the simulator needs."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))
ALONE = """
import runpy, sys
runpy.run_path(sys.argv[1], run_name="__main__")
print("also imported:", sorted({"ray", "simulator"} & set(sys.modules)))
"""


def test_the_readme_names_each_example_and_how_to_start_it() -> None:
    readme = (ROOT / "README.md").read_text()
    assert EXAMPLES
    for file in EXAMPLES:
        name = file.relative_to(ROOT)
        assert f"\n.venv/bin/python {name}\n" in readme
        assert f"{len(file.read_text().splitlines())} lines" in readme, f"the README gives {name} another length"


@pytest.mark.parametrize("file", EXAMPLES, ids=lambda file: file.stem)
def test_an_example_needs_neither_ray_nor_the_simulator_and_knowledge_helps_it(file: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", ALONE, str(file)], cwd=ROOT, text=True, capture_output=True, timeout=250, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "also imported: []" in done.stdout
    without, with_knowledge = (float(auc) for auc in re.findall(r"^AUC .*: (0\.\d+)$", done.stdout, re.MULTILINE))
    assert 0.6 < without < with_knowledge - 0.02 < 0.9


def test_an_example_fits_on_a_page() -> None:
    assert all(len(file.read_text().splitlines()) < 40 for file in EXAMPLES)
