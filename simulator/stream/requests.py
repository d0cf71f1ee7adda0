"""Requests of staged rows: which are lists shown together, and the number of each.

A sentinel (-1, 0, "unknown") or a whole day as a request would be held out as one, and with it much of a period or
nothing. So the rows of a request that is too large for a list are set apart: each is a request of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from simulator.stream.raw import texts

Ask = Callable[[str], list[Any]]  # the rows that a query of `staged` gives
Bounds = Sequence[tuple[int, int, int]]  # start, end and rows of each period
LONG = 1_000  # rows of a request that no list has more of
SHORT, PART = 100, 0.1  # nor has one more than so many, where they are more than this part of a period's


def too_large(ask: Ask, periods: Bounds) -> dict[str, int]:
    """The rows of each request that is no list."""
    large = dict(ask(f"SELECT request, count(*) AS rows FROM staged GROUP BY request HAVING rows > {SHORT}"))
    doubtful = [request for request, rows in large.items() if rows <= LONG]
    found = {request for request, rows in large.items() if rows > LONG}
    if doubtful:
        starts, ends, sizes = ([period[i] for period in periods] for i in range(3))
        much = ask(f"""
            WITH period AS (SELECT unnest({starts}) AS start, unnest({ends}) AS stop, unnest({sizes}) AS size)
            SELECT DISTINCT request FROM (
                SELECT request, size, count(*) AS rows FROM staged JOIN period ON ts >= start AND ts < stop
                WHERE request IN ({texts(doubtful)}) GROUP BY request, start, size)
            WHERE rows > {SHORT} AND rows > {PART} * size""")
        found |= {request for (request,) in much}
    return {request: large[request] for request in sorted(found)}


def number_of(ask: Ask, *, apart: bool) -> tuple[str, str]:
    """Expression of a request's number, null if it is in the table `apart`, and the join that it needs."""
    number, join = "TRY_CAST(request AS BIGINT)", ""
    if not _are_integers(ask, least=0 if apart else -(2**63)):  # below 0 is the room of those set apart
        _number_in_order(ask)
        number, join = "number", "JOIN request_number USING (request)"
    if apart:
        number, join = f"CASE WHEN lone IS NULL THEN {number} END", f"{join} LEFT JOIN apart ON request = lone"
    return f"{number} AS request", join


def _are_integers(ask: Ask, *, least: int) -> bool:
    """Whether every request is an integer, and no two that differ as texts are the same integer."""
    ((equal,),) = ask(f"""
        SELECT bool_and(coalesce(CAST(number AS VARCHAR) = request AND number >= {least}, false))
        FROM (SELECT request, TRY_CAST(request AS BIGINT) AS number FROM staged)""")
    return bool(equal)


def _number_in_order(ask: Ask) -> None:
    """0, 1, ... in order of first appearance."""
    ask("""
        CREATE TABLE request_number AS
        SELECT request, row_number() OVER (ORDER BY min((ts, file, row, part))) - 1 AS number
        FROM staged GROUP BY request""")
