"""A column of a request as it was sent, and how messages call its values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from pkb.batch import Schema
from pkb.errors import DataError


@dataclass(frozen=True, kw_only=True)
class Column:
    """The values of one field in a request: one that all rows share, or one for each."""

    name: str
    values: Sequence[Any] | pa.Array
    shared: bool

    def where(self, row: int) -> str:
        """What messages call a value."""
        return f"request.{self.name}" if self.shared else f"candidates[{row}].{self.name}"


def time_name(schema: Schema) -> str:
    """What a request calls its time: a name that no field has."""
    return "time" if "time" not in {*schema.names, *(history.name for history in schema.histories)} else "ts"


class Odd:
    """What JSON has no word for: NaN, Infinity."""

    def __init__(self, written: str) -> None:
        self.written = written


def shown(value: Any) -> str:
    """A value from outside, short enough for one line."""
    if isinstance(value, Odd):
        return value.written
    if isinstance(value, list | dict):
        return "a list" if isinstance(value, list) else "an object"
    text = ascii(value) if isinstance(value, str) else str(value)
    return text if len(text) <= 40 else f"{text[:40]}..."


def no_vector(where: str, value: Any, length: int) -> DataError:
    return DataError(f"{where}: {shown(value)} is no vector; give a list of {length} numbers, or null")


def no_number(where: str, value: Any) -> DataError:
    return DataError(f"{where}: {shown(value)} is not a finite number of 32 bits; give one, or null")
