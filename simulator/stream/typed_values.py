"""Columns of a request, of what JSON or Arrow knows -> texts, numbers, lists of texts, vectors and times.

A column is a list of Python's values, as JSON gives them, or an Arrow array, whose type speaks for all of it. DataError
names the value that is none of what is wanted: `candidates[3].price`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pkb.errors import DataError
from simulator.stream.asked_columns import Column, no_number, no_vector, shown
from simulator.stream.asked_texts import AskedTexts
from simulator.stream.checking import LATEST
from simulator.stream.raw import is_list
from simulator.stream.times import UNITS

LONGEST_TEXT = 4_096  # bytes; a key takes as many steps as a text has words of eight
LONGEST_LIST = 1_000
LARGEST = float(np.finfo(np.float32).max)
EXACT = 2**53  # whole numbers that a float tells apart
TYPED = {str, int, float, bool, type(None)}


def texts(column: Column) -> pa.Array:
    """The text of each value; null of null."""
    if isinstance(column.values, pa.Array):
        return _checked(_texts_of_array(column.values, column), column.where)
    return _checked(_texts_of_values(column.values, column.where), column.where)


def lists(column: Column, read: AskedTexts, last: int | None = None) -> tuple[pa.Array, NDArray[np.int64]]:
    """The texts of all lists, end to end, and how many each row has; `last` of each are kept if given."""
    rows = _array_of_lists(column) if isinstance(column.values, pa.Array) else column.values
    if isinstance(rows, pa.Array):
        lengths = pc.fill_null(pc.list_value_length(rows), 0).to_numpy(zero_copy_only=False).astype(np.int64)
        _refuse_long(lengths, column)
        inner = _texts_of_array(rows.flatten(), column)
        if last is not None:
            place = np.arange(len(inner)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
            inner = inner.filter(pa.array(place >= np.repeat(lengths, lengths) - last))
            lengths = np.minimum(lengths, last)
        return _checked(inner, lambda place: column.where(_row_of(lengths, place))), lengths
    split = _split(rows, column, read)
    lengths = np.array([len(row) for row in split], np.int64)
    _refuse_long(lengths, column)
    if last is not None:
        split = [row[-last:] for row in split]
        lengths = np.minimum(lengths, last)

    def where(place: int) -> str:
        row = _row_of(lengths, place)
        return f"{column.where(row)}[{place - int(lengths[:row].sum())}]"

    return _checked(_texts_of_values([value for row in split for value in row], where), where), lengths


def numbers(column: Column, missing: NDArray[np.float32], read: AskedTexts) -> NDArray[np.float32]:
    """Each number of 32 bits, NaN where it is missing."""
    values = column.values
    if isinstance(values, pa.Array):
        values = _plain_numbers(values, column)
    if isinstance(values, pa.Array):
        wide = values.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False)
        given = ~np.isnan(wide)  # of an array NaN is a missing value, as in a file
    else:
        values = _with_numbers_of_texts(values, column, read)
        wide = _floats(values, column.where)
        given = np.array([value is not None for value in values])
    narrow = _narrow(wide)
    for row in np.flatnonzero(given & ~np.isfinite(narrow)).tolist():
        raise no_number(column.where(row), float(wide[row]))
    if len(missing):
        narrow[np.isin(narrow, missing)] = np.nan
    return narrow


def vectors(column: Column, length: int) -> NDArray[np.float32]:
    """[rows, length], all NaN where a vector is missing."""
    rows = column.values
    if isinstance(rows, pa.Array):
        return _vectors_of_array(rows, length, column)
    there = []
    for row, values in enumerate(rows):
        if values is None or values == []:
            continue
        if not isinstance(values, list) or len(values) != length:
            raise no_vector(column.where(row), values, length)
        there.append(row)
    flat = [entry for row in there for entry in rows[row]]

    def where(place: int) -> str:
        return column.where(there[place // length])

    if not set(map(type, flat)) <= {int, float}:
        place = next(place for place, entry in enumerate(flat) if type(entry) not in (int, float))
        raise no_number(where(place), flat[place])
    narrow = _narrow(_floats(flat, where))
    for place in np.flatnonzero(~np.isfinite(narrow)).tolist():
        raise no_number(where(place), flat[place])
    found = np.full((len(rows), length), np.nan, np.float32)
    found[there] = narrow.reshape(-1, length)
    return found


def seconds(column: Column, read: AskedTexts) -> NDArray[np.int64]:
    """Whole seconds since 1970."""
    values = column.values
    if isinstance(values, pa.Array):
        unit = UNITS[values.type.unit] if pa.types.is_timestamp(values.type) else None
        values = (values if unit is None else values.cast(pa.int64())).to_pylist()
        values = [value if unit is None or value is None else value // unit for value in values]
    said = iter(read.seconds([value for value in values if type(value) is str]) if str in map(type, values) else ())
    found = np.empty(len(values), np.int64)
    for row, value in enumerate(values):
        ts: Any = next(said) if type(value) is str else value
        if type(ts) not in (int, float) or not 0 <= ts <= LATEST:
            raise DataError(
                f"{column.where(row)}: {shown(value)} is no time; give seconds since 1970, or a text such as"
                " 2026-01-31T12:00:00Z"
            )
        found[row] = math.floor(ts)
    return found


def _vectors_of_array(array: pa.Array, length: int, column: Column) -> NDArray[np.float32]:
    if pa.types.is_null(array.type):
        return np.full((len(array), length), np.nan, np.float32)
    if not is_list(array.type) or not _is_number(array.type.value_type):
        raise DataError(f"{column.name}: is {array.type}; send a list of {length} numbers")
    lengths = pc.fill_null(pc.list_value_length(array), 0).to_numpy(zero_copy_only=False)
    for row in np.flatnonzero((lengths != 0) & (lengths != length)).tolist():
        raise no_vector(column.where(row), [], length)
    found = np.full((len(array), length), np.nan, np.float32)
    found[lengths > 0] = _narrow(array.flatten().cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False)).reshape(
        -1, length
    )
    for row in np.flatnonzero((lengths > 0) & ~np.isfinite(found).all(axis=1)).tolist():
        raise no_number(column.where(row), "null, NaN or too large a number")
    return found


def _texts_of_values(values: Sequence[Any], where: Callable[[int], str]) -> pa.Array:
    kinds = set(map(type, values))
    if kinds <= {str, type(None)}:
        written = values
    elif kinds == {int}:
        written = list(map(str, values))
    else:
        written = [_text(value, place, where) for place, value in enumerate(values)]
    try:
        return pa.array(written, pa.string())
    except UnicodeEncodeError:
        for place, value in enumerate(written):
            if value is not None and not value.isascii() and any("\ud800" <= letter <= "\udfff" for letter in value):
                raise DataError(f"{where(place)}: {shown(value)} is no text: it holds half a character") from None
        raise


def _text(value: Any, place: int, where: Callable[[int], str]) -> str | None:
    """As `id_texts.as_text` has it."""
    kind = type(value)
    if kind is str or value is None:
        return value  # type: ignore[no-any-return]
    if kind is bool:
        return "true" if value else "false"
    if kind is int:
        return str(value)
    if kind is float and math.isfinite(value):
        if value.is_integer() and abs(value) <= EXACT:
            return str(int(value))
        return repr(value)
    raise DataError(
        f"{where(place)}: {shown(value)} is no value of a field; give one text, number, true, false or null"
    )


def _texts_of_array(array: pa.Array, column: Column) -> pa.Array:
    kind = array.type
    if pa.types.is_floating(kind):
        return _texts_of_values([None if v is None or v != v else v for v in array.to_pylist()], column.where)
    if pa.types.is_string(kind) or pa.types.is_integer(kind) or pa.types.is_boolean(kind) or pa.types.is_null(kind):
        return array.cast(pa.string())
    raise DataError(f"{column.name}: is {kind}; send texts, numbers or booleans")


def _checked(array: pa.Array, where: Callable[[int], str]) -> pa.Array:
    """The texts, none of which is too long."""
    longest = pc.max(pc.binary_length(array)).as_py() or 0
    if longest > LONGEST_TEXT:
        place = pc.index(pc.binary_length(array), longest).as_py()
        raise DataError(f"{where(place)}: has {longest:,} bytes; send a text of {LONGEST_TEXT:,} at most")
    return array


def _array_of_lists(column: Column) -> pa.Array | list[Any]:
    """The lists; texts and nulls as values of Python."""
    array: Any = column.values
    if is_list(array.type):
        return array
    if pa.types.is_string(array.type) or pa.types.is_null(array.type):
        return array.to_pylist()
    raise DataError(f"{column.name}: is {array.type}; send a list of texts or numbers")


def _split(rows: Sequence[Any], column: Column, read: AskedTexts) -> list[list[Any]]:
    """Lists as they are, none for null, and those that texts hold."""
    joined = [value for value in rows if type(value) is str] if read.splits else []
    said = iter(read.lists(joined) if joined else ())
    split: list[list[Any]] = []
    for row, value in enumerate(rows):
        held = next(said) if type(value) is str and read.splits else [] if value is None else value
        if not isinstance(held, list):
            raise DataError(f"{column.where(row)}: {shown(value)} is no list; give a list of values, or null")
        split.append(held)
    return split


def _refuse_long(lengths: NDArray[np.int64], column: Column) -> None:
    for row in np.flatnonzero(lengths > LONGEST_LIST).tolist():
        raise DataError(f"{column.where(row)}: has {lengths[row]:,} values; send {LONGEST_LIST:,} at most")


def _row_of(lengths: NDArray[np.int64], place: int) -> int:
    return int(np.searchsorted(np.cumsum(lengths), place, side="right"))


def _plain_numbers(array: pa.Array, column: Column) -> pa.Array | list[Any]:
    """The numbers; texts as values of Python."""
    if _is_number(array.type) or pa.types.is_boolean(array.type) or pa.types.is_null(array.type):
        return array.cast(pa.int8()) if pa.types.is_boolean(array.type) else array
    if pa.types.is_string(array.type):
        return array.to_pylist()
    raise DataError(f"{column.name}: is {array.type}; send numbers")


def _is_number(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind))


def _with_numbers_of_texts(values: Sequence[Any], column: Column, read: AskedTexts) -> Sequence[Any]:
    """The values, texts among them as the numbers that they are, None for a missing one."""
    kinds = set(map(type, values))
    if not kinds <= TYPED:
        row = next(row for row, value in enumerate(values) if type(value) not in TYPED)
        raise no_number(column.where(row), values[row])
    if str not in kinds:
        return values
    said = iter(read.numbers([value for value in values if type(value) is str]))
    found = list(values)
    for row, value in enumerate(values):
        if type(value) is str:
            found[row], missing = next(said)
            if found[row] is None and not missing:
                raise no_number(column.where(row), value)
    return found


def _floats(values: Sequence[Any], where: Callable[[int], str]) -> NDArray[np.float64]:
    """As 64 bits, NaN for None."""
    try:
        return np.array(values, np.float64)
    except OverflowError:
        row = next(row for row, value in enumerate(values) if type(value) is int and abs(value) > 2**1000)
        raise no_number(where(row), values[row]) from None


def _narrow(wide: NDArray[np.float64]) -> NDArray[np.float32]:
    """As 32 bits; what they cannot hold is infinite."""
    with np.errstate(over="ignore", invalid="ignore"):
        return wide.astype(np.float32)
