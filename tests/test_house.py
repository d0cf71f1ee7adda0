"""The house of docs/architecture.md: which package, and which room of the simulator, may import which."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MAY_IMPORT = {
    "pkb": {"pkb"},
    "retrieval": {"pkb", "retrieval"},
    "simulator": {"pkb", "retrieval", "simulator", "ray"},
}
ROOMS = (  # from the ground up: a room imports from those before it
    *("config", "record", "measure", "stream", "inspect", "train", "policies", "contender"),
    *("export", "loadtest", "loop", "serve", "cluster", "tune", "report", "center"),
)
# Files above all rooms.
TOP = (
    "sections",
    "arms",
    "settings",
    "describe",
    "plays",
    "multirun",
    "run",
    "serving",
    "played",
    "gkc",
    "cli",
    "__main__",
)
KNOW_RAY = {"stream", "loop", "serve", "cluster", "tune", "center"}
KNOW_TORCH_NOT = {"config", "record", "measure", "report"}
READS_DATASETS = {"read_table", "read_parquet", "dataset", "ParquetDataset", "parquet_dataset"}
LONGEST = 300  # lines of a file
PACKAGES = tuple(MAY_IMPORT)


def imported(file: Path) -> set[str]:
    """Whole names of the modules that a file imports, anywhere in it."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def roots(file: Path) -> set[str]:
    return {name.split(".")[0] for name in imported(file)}


def room_of(name: str) -> str:
    return name.split(".")[1]


@pytest.mark.parametrize("package", MAY_IMPORT)
def test_arrows_in_the_house_point_one_way_and_only_the_simulator_knows_ray(package: str) -> None:
    files = list((ROOT / package).rglob("*.py"))
    assert files
    for file in files:
        others = roots(file) & {"pkb", "retrieval", "simulator", "ray"}
        assert others <= MAY_IMPORT[package], f"{file} imports {others - MAY_IMPORT[package]}"


def test_every_file_of_the_simulator_stands_in_a_room_or_above_all_of_them() -> None:
    folder = ROOT / "simulator"
    rooms = {f.relative_to(folder).parts[0] for f in folder.rglob("*.py") if f.parent != folder}
    assert rooms == set(ROOMS)
    assert {f.stem for f in folder.glob("*.py")} == {*TOP, "__init__"}


@pytest.mark.parametrize("room", ROOMS)
def test_no_room_imports_upwards(room: str) -> None:
    below = set(ROOMS[: ROOMS.index(room) + 1])
    for file in (ROOT / "simulator" / room).rglob("*.py"):
        others = {room_of(name) for name in imported(file) if name.startswith("simulator.")}
        assert others <= below, f"{file} imports {others - below}, which stand above it"


@pytest.mark.parametrize("room", ROOMS)
def test_ray_and_torch_keep_to_their_rooms(room: str) -> None:
    for file in (ROOT / "simulator" / room).rglob("*.py"):
        used = imported(file)
        packages = {name.split(".")[0] for name in used}
        assert room in KNOW_RAY or "ray" not in packages, f"{file} imports ray"
        if room in KNOW_TORCH_NOT:
            ours = {name for name in used if name.startswith(("pkb.", "retrieval."))}
            heavy = packages & {"torch", "faiss"} | {name for name in ours if not name.startswith("pkb.errors.")}
            assert not heavy, f"{file} imports {heavy}"


def test_no_two_files_import_each_other_even_in_a_circle() -> None:
    files = [file for package in PACKAGES for file in (ROOT / package).rglob("*.py")]
    names = {".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): file for file in files}
    needs = {name: {known for known in map(_module(names), imported(file)) if known} for name, file in names.items()}
    done: set[str] = set()

    def visit(name: str, path: tuple[str, ...]) -> None:
        assert name not in path, f"a circle: {' -> '.join((*path[path.index(name) :], name))}"
        if name not in done:
            for other in sorted(needs[name] - {name}):
                visit(other, (*path, name))
            done.add(name)

    for name in names:
        visit(name, ())


def test_no_file_is_long_and_the_contenders_least_of_all() -> None:
    for package in PACKAGES:
        for file in (ROOT / package).rglob("*.py"):
            assert len(file.read_text().splitlines()) <= LONGEST, file
    assert len((ROOT / "simulator/contender/contender.py").read_text().splitlines()) < 150


def test_policies_import_no_contender() -> None:
    for file in (ROOT / "simulator/policies").glob("*.py"):
        assert not [name for name in imported(file) if name.startswith("simulator.contender")], file


def _module(names: dict[str, Path]) -> Callable[[str], str | None]:
    """From an imported name to the file that it is of: `pkg.mod.Class` is of `pkg.mod`."""

    def of(name: str) -> str | None:
        while name and name not in names:
            name = name.rpartition(".")[0]
        return name or None

    return of


def test_no_read_takes_columns_from_the_names_of_folders() -> None:
    """By default Arrow, Ray Data and DuckDB read a folder `click=0` as a column; each call here must say otherwise."""
    files = [file for package in (*PACKAGES, "benchmarks", "examples") for file in (ROOT / package).rglob("*.py")]
    seen = 0
    for file in files:
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Call) and _name_of(node.func) in READS_DATASETS:
                seen += 1
                given = {keyword.arg: keyword.value for keyword in node.keywords}.get("partitioning")
                assert isinstance(given, ast.Constant), f"{file}:{node.lineno} says nothing of partitioning"
                assert given.value is None, f"{file}:{node.lineno} reads columns from folders' names"
        queries = len(re.findall(r"(?<![.\w])(?:read_parquet|read_csv|parquet_scan)\(", file.read_text()))
        assert file.read_text().count("hive_partitioning=false") == queries, f"{file}: a query does not say so"
        seen += queries
    assert seen >= 8


def _name_of(function: ast.expr) -> str:
    return function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")
