"""Settings from a YAML file and a command line, and back.

A key that does not exist is refused with the nearest right one; a value is held to its type.
"""

from __future__ import annotations

import dataclasses
import difflib
import sys
import types
import typing
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, cast

import yaml
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException

from pkb.errors import SettingError
from simulator import settings as declared
from simulator.settings import Settings, check


def load(file: Path, overrides: Sequence[str] = ()) -> Settings:
    """The settings of a YAML file with `key=value` overrides in Hydra's grammar; SettingError says what is wrong."""
    try:
        given = yaml.safe_load(file.read_text())
    except OSError as error:
        raise SettingError(f"{file}: {error.strerror}; the shipped experiments are in configs/") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise SettingError(f"{file}: not readable as YAML: {' '.join(str(error).split())}") from None
    if not isinstance(given, dict):
        raise SettingError(f"{file}: holds no settings (key: value)")
    settings = _build(Settings, given, "", str(file))
    for text in overrides:
        _apply(given, text)
        settings = _build(Settings, given, "", f"override {text!r}")
    check(settings)
    return cast(Settings, settings)


def to_yaml(settings: Settings) -> str:
    """Fully resolved, as `load` reads it back."""
    text: str = yaml.safe_dump(_plain(dataclasses.asdict(settings)), sort_keys=False)
    return text


def _plain(node: Any) -> Any:
    if isinstance(node, dict):
        return {key: _plain(value) for key, value in node.items()}
    return [_plain(value) for value in node] if isinstance(node, list | tuple) else node


def _apply(given: dict[str, Any], text: str) -> None:
    """One override: `key=value` sets (`+key=value` likewise), `~key` deletes an entry of a mapping such as arms."""
    try:
        override = OverridesParser.create().parse_override(text)
    except HydraException as error:
        raise SettingError(f"override {text!r}: {str(error).splitlines()[0]}; write key=value") from None
    if override.is_sweep_override():
        raise SettingError(f"override {text!r} asks for a sweep; start one run for each value")
    *path, leaf = override.key_or_group.split(".")
    node = given
    for key in path:
        inner = node.setdefault(key, {})
        if inner is None:
            inner = node[key] = {}
        if not isinstance(inner, dict):
            raise SettingError(f"override {text!r}: {key} is a value, not a section")
        node = inner
    if not override.is_delete():
        value = override.value()
        if isinstance(value, dict) and isinstance(node.get(leaf), dict):
            value = {**node[leaf], **value} if value else {}
        node[leaf] = value
    elif leaf in node:
        del node[leaf]
    else:
        near = _nearest(".".join(path), leaf, node)
        raise SettingError(f"override {text!r}: there is no {override.key_or_group} to delete{near}")


def _build(kind: Any, value: Any, key: str, where: str) -> Any:
    """`value` as the annotated type `kind`; dataclasses, mappings, lists, tuples, optionals and plain values."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if dataclasses.is_dataclass(kind):
        if not isinstance(value, dict):
            raise SettingError(f"{where}: {key}={value!r}: is a section, write {key}.<name>=value")
        hints = typing.get_type_hints(kind, vars(declared) | vars(sys.modules[kind.__module__]))
        for name in value:
            if name not in hints:
                raise SettingError(f"{where}: unknown setting {_join(key, name)!r}{_nearest(key, name, hints)}")
        built = {name: _build(hints[name], inner, _join(key, name), where) for name, inner in value.items()}
        return cast(Any, kind)(**built)
    if origin in (typing.Union, types.UnionType):
        if value is None:
            return None
        return _build(next(a for a in arguments if a is not type(None)), value, key, where)
    if kind is Any:
        return value
    if origin is typing.Literal and value in arguments:
        return value
    if origin is dict and isinstance(value, dict):
        return {str(k): _build(arguments[1], v, f"{key}.{k}", where) for k, v in value.items()}
    if origin in (list, tuple) and isinstance(value, list):
        return origin(_build(arguments[0], v, key, where) for v in value)
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if kind is float and isinstance(value, str):  # YAML 1.1 reads 1e-3 as text
        try:
            return float(value)
        except ValueError:
            pass
    if kind is str and isinstance(value, int | float) and not isinstance(value, bool):
        return str(value)
    if isinstance(kind, type) and isinstance(value, kind) and not (kind is int and isinstance(value, bool)):
        return value
    wanted = getattr(kind, "__name__", str(kind)) if origin is None else str(kind)
    raise SettingError(f"{where}: {key}={value!r}: must be of type {wanted}")


def _nearest(section: str, name: str, siblings: Iterable[str]) -> str:
    """'; did you mean ...?' with the nearest name of the same section, else of all settings."""
    near = [_join(section, n) for n in difflib.get_close_matches(name, list(siblings), n=1)]
    if not near:
        leaves = {key.rpartition(".")[2]: key for key in _names(dataclasses.asdict(Settings()))}
        near = [leaves[leaf] for leaf in difflib.get_close_matches(name, leaves, n=1)]
    return f"; did you mean {near[0]}?" if near else ""


def _names(node: dict[str, Any], prefix: str = "") -> Iterator[str]:
    for key, value in node.items():
        yield _join(prefix, key)
        if isinstance(value, dict):
            yield from _names(value, _join(prefix, key))


def _join(section: str, name: str) -> str:
    return f"{section}.{name}" if section else name
