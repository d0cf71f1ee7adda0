"""Several scenario columns of a table, crossed: one more field, whose value is what all of them say together.

It is the scenario that models tell apart and metrics are measured by. The columns stay fields of their own behind it.
"""

from __future__ import annotations

from collections.abc import Mapping

from simulator.stream.raw import texts
from simulator.stream.settings import TableSettings

APART = "chr(31)"  # ASCII's unit separator: two pairs of values never make one text


def name_of_crossing(table: TableSettings) -> str:
    """What the crossing is called; nothing where there is none."""
    return "_x_".join(table.scenario) if len(table.scenario) > 1 else ""


def scenario_fields(table: TableSettings) -> list[str]:
    """The fields of the role scenario: models read the first."""
    crossing = name_of_crossing(table)
    return [crossing, *table.scenario] if crossing else table.scenario


def crossed(table: TableSettings, alias: Mapping[str, str]) -> dict[str, str]:
    """The crossing's expression by its name; it is missing where one of its columns is."""
    values, absent = [alias[column] for column in table.scenario], texts(("", *table.missing))
    missing = " OR ".join(f"{value} IS NULL OR {value} IN ({absent})" for value in values)
    joined = f" || {APART} || ".join(values)
    name = name_of_crossing(table)
    return {name: f"CASE WHEN NOT ({missing}) THEN {joined} END"} if name else {}
