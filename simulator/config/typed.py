"""Frozen dataclasses <-> plain values, through OmegaConf's structured configs.

OmegaConf knows types, defaults and interpolation, but it merges into no frozen dataclass, takes no `Literal`, and
gives tuples back as lists. So each dataclass has an unfrozen twin, its schema, derived once; the real one is
built from what OmegaConf made of the values, and checks itself in `__post_init__`.
"""

from __future__ import annotations

import dataclasses
import re
import typing
from collections.abc import Mapping
from functools import cache
from typing import Any, Optional, TypeVar, cast

from omegaconf import OmegaConf
from omegaconf.errors import GrammarParseError, OmegaConfBaseException, ValidationError

from pkb.errors import SettingError
from simulator.config.checks import among
from simulator.config.kinds import (
    attribute_of,
    described,
    fields_of,
    is_section,
    joined,
    key_of,
    kind_at,
    shown,
    within,
    without_none,
)
from simulator.config.shape import check_shape

T = TypeVar("T")


def typed(section: type[T], values: Mapping[str, Any], *, at: str = "", interpolate: bool = False) -> T:
    """The dataclass of these values; a SettingError names the full key, which begins with `at`.

    `interpolate` resolves `${...}`, which in text that comes from anywhere but a user's hand is text.
    """
    check_shape(section, values, at=at)
    given = dict(values) if interpolate else literal(values)
    try:
        merged = OmegaConf.merge(OmegaConf.structured(_twin(cast(Any, section))), _by_attribute(section, given))
        container = OmegaConf.to_container(merged, resolve=True)
    except OmegaConfBaseException as error:
        raise _told(section, error, at) from None
    return cast(T, _built(section, container, at))


def plain(value: Any) -> Any:
    """Dataclasses, tuples and what they hold as dicts and lists, for JSON and YAML."""
    if dataclasses.is_dataclass(value):
        return {key_of(field.name): plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {key: plain(inner) for key, inner in value.items()}
    return [plain(inner) for inner in value] if isinstance(value, list | tuple) else value


def yaml_of(value: Any) -> str:
    """Fully resolved, as `typed` takes it back."""
    return OmegaConf.to_yaml(OmegaConf.create(literal(plain(value))))


def literal(value: Any) -> Any:
    r"""`value` with `${` in its text written as `\${`, which OmegaConf reads as itself."""
    if isinstance(value, Mapping):
        return {key: literal(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [literal(inner) for inner in value]
    return re.sub(r"(\\*)\$\{", lambda m: f"{m[1] * 2}\\${{", value) if isinstance(value, str) else value


def _by_attribute(kind: Any, values: Any) -> Any:
    """The values of sections by the names of their fields, which a key that is a keyword is not."""
    if not isinstance(values, Mapping):
        return values
    section = is_section(without_none(kind))
    return {
        (attribute_of(key) if section else key): _by_attribute(within(kind, key), inner)
        for key, inner in values.items()
    }


@cache
def _twin(section: Any) -> Any:
    """Derive a dataclass with the section's fields and defaults, not frozen, in the types that OmegaConf knows."""
    kinds = fields_of(section)
    fields = [(f.name, _twin_kind(kinds[key_of(f.name)]), _twin_default(f)) for f in dataclasses.fields(section)]
    return dataclasses.make_dataclass(section.__name__, fields, kw_only=True)


def _twin_default(field: dataclasses.Field[Any]) -> Any:
    if field.default_factory is not dataclasses.MISSING:
        make = field.default_factory
        return dataclasses.field(default_factory=lambda: _twin_value(make()))
    if field.default is not dataclasses.MISSING:
        return dataclasses.field(default_factory=lambda: _twin_value(field.default))
    return dataclasses.field()


def _twin_kind(kind: Any) -> Any:
    bare = without_none(kind)
    origin, arguments = typing.get_origin(bare), typing.get_args(bare)
    if is_section(bare):
        twin: Any = _twin(bare)
    elif origin is typing.Literal:
        twin = type(arguments[0])
    elif origin in (list, tuple):
        twin = list[_twin_kind(arguments[0])]  # type: ignore[misc]
    elif origin is dict:
        twin = dict[str, _twin_kind(arguments[1])]  # type: ignore[misc]
    else:
        twin = bare
    return Optional[twin] if bare is not kind else twin  # noqa: UP045  a value, not an annotation


def _twin_value(value: Any) -> Any:
    if dataclasses.is_dataclass(value):
        section: Any = type(value)
        return _twin(section)(**{f.name: _twin_value(getattr(value, f.name)) for f in dataclasses.fields(section)})
    return plain(value)


def _told(section: type[Any], error: OmegaConfBaseException, at: str) -> SettingError:
    """OmegaConf's error in one line."""
    key = error.full_key or ""
    path = joined(at, key)
    kind = kind_at(section, key)
    if isinstance(error, ValidationError) and kind is not None:
        return SettingError(f"{path}={shown(error.value)}: must be of type {described(kind)}")
    first = next(iter(str(error).splitlines()), type(error).__name__)
    remedy = r"; write \${ where ${ is text" if isinstance(error, GrammarParseError) else ""
    return SettingError(f"{path}: {first.removeprefix('KeyError raised while resolving interpolation: ')}{remedy}")


def _built(kind: Any, value: Any, path: str) -> Any:
    """The real dataclasses of OmegaConf's plain values, innermost first; each puts its key before what it says."""
    kind = without_none(kind)
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if value is None or kind is Any:
        return value
    if is_section(kind):
        kinds = fields_of(kind)
        given = {name: _built(kinds[key_of(name)], inner, joined(path, key_of(name))) for name, inner in value.items()}
        try:
            return kind(**given)
        except SettingError as error:
            raise SettingError(joined(path, str(error))) from None
    if origin is dict:
        return {name: _built(arguments[1], inner, joined(path, name)) for name, inner in value.items()}
    if origin in (list, tuple):
        return origin(_built(arguments[0], inner, path) for inner in value)
    if origin is typing.Literal:
        among(path, value, arguments)
    return value
