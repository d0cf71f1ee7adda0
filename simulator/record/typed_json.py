"""Frozen dataclasses as JSON files, and back; a file that is not exactly as its dataclass says is named."""

from __future__ import annotations

import dataclasses
import json
import types
import typing
from pathlib import Path
from typing import Any, TypeVar

from pkb.errors import DataError
from simulator.record.files import write_text

T = TypeVar("T")


def write_json(file: Path, content: Any) -> None:
    """Write a JSON object, or the fields of a dataclass, to `file`."""
    plain = content if isinstance(content, dict) else dataclasses.asdict(content)
    write_text(file, json.dumps(plain, indent=1))


def read_typed(file: Path, kind: type[T]) -> T:
    """Read a dataclass of `kind`; DataError names the file and the key that is missing, unknown or of another type."""
    return typing.cast(T, _typed(kind, read_json(file), "", file))


def read_json(file: Path) -> dict[str, Any]:
    """Read a JSON object; DataError if the file holds none."""
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise DataError(f"{file}: {error.strerror}; run again") from None
    except ValueError as error:
        raise DataError(f"{file}: not readable as JSON: {error}; run again") from None
    if not isinstance(content, dict):
        raise DataError(f"{file}: holds no JSON object; run again")
    return content


def _typed(kind: Any, value: Any, key: str, file: Path) -> Any:
    """`value` as the annotated type: dataclasses, lists, mappings of text, optionals and plain values."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if kind is Any:
        return value
    if origin in (typing.Union, types.UnionType):
        [wanted] = [each for each in arguments if each is not types.NoneType]
        return None if value is None else _typed(wanted, value, key, file)
    if dataclasses.is_dataclass(kind) and isinstance(value, dict):
        hints = typing.get_type_hints(kind)
        for name in [*(hints.keys() - value.keys()), *(value.keys() - hints.keys())]:
            what = "is missing" if name in hints else "is unknown"
            raise DataError(f"{file}: {_join(key, name)} {what}; the file is damaged or of another version: run again")
        fields = {name: _typed(hint, value[name], _join(key, name), file) for name, hint in hints.items()}
        return typing.cast(Any, kind)(**fields)
    if origin is list and isinstance(value, list):
        return [_typed(arguments[0], each, f"{key}[{place}]", file) for place, each in enumerate(value)]
    if origin is dict and isinstance(value, dict):
        return {name: _typed(arguments[1], each, _join(key, name), file) for name, each in value.items()}
    if kind is float and type(value) is int:
        return float(value)
    if isinstance(kind, type) and type(value) is kind:
        return value
    wanted = getattr(kind, "__name__", str(kind)) if origin is None else str(kind)
    raise DataError(f"{file}: {key}={value!r}: must be of type {wanted}; the file is damaged: run again")


def _join(key: str, name: str) -> str:
    return f"{key}.{name}" if key else name
