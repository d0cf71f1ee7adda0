"""SQL of a numeric field's value, which is a number, a boolean or a text in the raw file.

A null, NaN, and whatever the log says means a missing value are missing, and null here. What else is not a finite
number of 32 bits is null, too, and the row is set aside.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

import numpy as np

from simulator.stream.raw import texts

LARGEST = float(np.finfo(np.float32).max)


def number(value: str, missing: Sequence[str]) -> str:
    """Expression: the value as a finite number of 32 bits; null if it is none, or missing."""
    said = f"CASE lower(CAST({value} AS VARCHAR)) WHEN 'true' THEN 1 WHEN 'false' THEN 0 END"
    x = f"TRY_CAST(coalesce(TRY_CAST({value} AS DOUBLE), {said}) AS FLOAT)"  # by 64 bits, as a request's number is read
    return f"CASE WHEN isfinite({x}) AND NOT ({_stands_for_missing(x, missing)}) THEN {x} END"


def is_missing(value: str, missing: Sequence[str]) -> str:
    """Expression: whether the value, of which `number` made null, is missing."""
    x = f"TRY_CAST(TRY_CAST({value} AS DOUBLE) AS FLOAT)"
    return (
        f"{value} IS NULL OR CAST({value} AS VARCHAR) IN ({texts(missing)})"
        f" OR coalesce(isnan({x}) OR {_stands_for_missing(x, missing)}, false)"
    )


def _stands_for_missing(x: str, missing: Sequence[str]) -> str:
    """Expression: whether a number of 32 bits is one of those that mean a missing value, such as -1 or 999.9."""
    numbers = [f"CAST({told!r} AS FLOAT)" for told in missing_numbers(missing)]
    return f"{x} IN ({', '.join(numbers)})" if numbers else "false"


def missing_numbers(missing: Sequence[str]) -> list[float]:
    """Those of the texts that mean a missing value which are numbers."""
    numbers = []
    for one in missing:
        with suppress(ValueError):
            if abs(told := float(one)) <= LARGEST:  # false of NaN
                numbers.append(told)
    return numbers
