"""The house of DESIGN.md: which package may import which."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MAY_IMPORT = {
    "pkb": {"pkb"},
    "retrieval": {"pkb", "retrieval"},
    "simulator": {"pkb", "retrieval", "simulator", "ray"},
}


def imported(file: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module.split(".")[0])
    return names


@pytest.mark.parametrize("package", MAY_IMPORT)
def test_arrows_in_the_house_point_one_way_and_only_the_simulator_knows_ray(package: str) -> None:
    files = list((ROOT / package).rglob("*.py"))
    assert files
    for file in files:
        others = imported(file) & {"pkb", "retrieval", "simulator", "ray"}
        assert others <= MAY_IMPORT[package], f"{file} imports {others - MAY_IMPORT[package]}"
