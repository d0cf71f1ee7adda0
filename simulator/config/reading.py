"""Settings from a YAML file and a command line; OmegaConf holds the two together to their types (`typed.py`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from pkb.errors import SettingError
from simulator.config.kinds import near, siblings_in
from simulator.config.overrides import parse
from simulator.config.shape import check_shape
from simulator.config.typed import typed
from simulator.config.written import read_yaml

T = TypeVar("T")
Values = dict[str, Any]


def read(top: type[T], file: Path, overrides: Sequence[str] = ()) -> T:
    """The settings of a file with overrides in Hydra's grammar; SettingError says in one line what is wrong.

    `key=value` sets, and merges a mapping into one (`{}` empties it); `+key=value` does likewise; `~key` deletes
    what was written, such as an arm.
    """
    values = read_yaml(file, top)
    try:
        check_shape(top, values)
    except SettingError as error:
        raise SettingError(f"{file}: {error}") from None
    for text in overrides:
        values = _overridden(top, values, text)
    return typed(top, values, interpolate=True)


def from_overrides(top: type[T], overrides: Sequence[str]) -> T:
    """The settings of a command line alone; SettingError says in one line what is wrong."""
    values: Values = {}
    for text in overrides:
        values = _overridden(top, values, text)
    return typed(top, values)


def _overridden(top: type[Any], values: Values, text: str) -> Values:
    override = parse(top, text)
    if override.is_sweep_override():
        raise SettingError(f"override {text!r}: asks for several runs; add --multirun, or put the value in quotes")
    path = override.key_or_group.split(".")
    return _without(values, path) if override.is_delete() else _with(values, path, override.value())


def _with(values: Values, path: Sequence[str], value: Any) -> Values:
    """The values with one of them set; those given stay as they are, since YAML may hold them in two places."""
    name, *rest = path
    inner = values.get(name)
    below = inner if isinstance(inner, Mapping) else {}
    if rest:
        return {**values, name: _with(dict(below), rest, value)}
    if isinstance(value, Mapping) and value:
        merged = dict(below)
        for key, each in value.items():
            merged = _with(merged, [key], each)
        return {**values, name: merged}
    return {**values, name: value}


def _without(values: Values, path: Sequence[str], above: Sequence[str] = ()) -> Values:
    name, *rest = path
    if name not in values or (rest and not isinstance(values[name], Mapping)):
        there = near(name, siblings_in(values, ()), above)
        raise SettingError(f"there is no {'.'.join([*above, *path])} to delete{there}")
    if rest:
        return {**values, name: _without(dict(values[name]), rest, [*above, name])}
    return {key: value for key, value in values.items() if key != name}
