"""SQL of a vector's value: a list of numbers, or of texts of numbers, of one length.

No list and an empty one are missing, and empty here. A row with a list of another length, or with an entry that is not
a finite number of 32 bits, is set aside.
"""

from __future__ import annotations

from simulator.stream.raw import quoted, text


def vector(value: str) -> str:
    """Expression: the entries as numbers of 32 bits, null for one that is none."""
    return f"coalesce(list_transform({value}, lambda one: TRY_CAST(TRY_CAST(one AS DOUBLE) AS FLOAT)), [])"


def checks(name: str, read: str, written: str, length: int) -> str:
    """Branches of a CASE that say what is wrong with a vector, from what `vector` has read and what was written."""
    bad = (
        f"list_filter({written}, lambda one: NOT coalesce(isfinite(TRY_CAST(TRY_CAST(one AS DOUBLE) AS FLOAT)), false))"
    )
    return f"""WHEN len({read}) NOT IN (0, {length}) THEN
            {text(f"{name} holds ")} || len({read}) || ' numbers, not {length}'
        WHEN len(list_filter({read}, lambda one: isfinite(one))) < len({read}) THEN
            {text(f"{name} holds ")} || {quoted(f"coalesce(CAST({bad}[1] AS VARCHAR), 'null')")}
            || ', which is not a finite number of 32 bits'
        """
