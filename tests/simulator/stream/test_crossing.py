"""Several scenario columns of a table are crossed to one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from simulator.stream.log import Log
from tests.simulator.stream.raw_files import rows_of
from tests.simulator.stream.tables import clicks, log_of, write_csv

SURFACES, HOURS = ("front", "article", "", "front_x"), ("8", "20", "x_8")


def log(folder: Path, scenario: list[str]) -> Log:
    columns: dict[str, Any] = {"surface": lambda row: SURFACES[row % 4], "hour": lambda row: HOURS[row % 3]}
    write_csv(folder / "raw" / "a.csv", clicks(**columns))
    return log_of(folder, context=["device"], scenario=scenario, missing=["20"])


def test_the_crossing_of_several_scenarios_is_the_scenario_and_has_a_value_for_each_pair(tmp_path: Path) -> None:
    made = log(tmp_path, ["surface", "hour"])
    assert made.schema.scenario == "surface_x_hour"
    assert made.schema.names[-3:] == ("surface_x_hour", "surface", "hour")
    found: dict[Any, set[Any]] = {}
    for row in rows_of(made):
        found.setdefault((row["surface"], row["hour"]), set()).add(row["surface_x_hour"])
    assert len(found) == 12
    assert all(values == {None} for pair, values in found.items() if None in pair)
    whole = [values for pair, values in found.items() if None not in pair]
    assert all(len(values) == 1 for values in whole)
    assert len(set.union(*whole)) == len(whole) == 6, "front and x_8 are not front_x and 8"


def test_one_scenario_is_the_column_itself(tmp_path: Path) -> None:
    made = log(tmp_path, ["surface"])
    assert made.schema.scenario == "surface"
    assert made.schema.names[-1] == "surface"
    assert "hour" not in made.schema.names
