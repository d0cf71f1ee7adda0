"""What the annotations of settings say: which keys there are, and what a value of each must be."""

from __future__ import annotations

import dataclasses
import difflib
import keyword
import re
import types
import typing
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from typing import Any


@cache
def fields_of(section: Any) -> dict[str, Any]:
    """The annotated type of every field of a dataclass, by the key that sets it."""
    hints = typing.get_type_hints(section)
    return {key_of(field.name): hints[field.name] for field in dataclasses.fields(section)}


def key_of(attribute: str) -> str:
    """The key that sets a field: `from` sets `from_`, as no field can have the name of a keyword."""
    return attribute.removesuffix("_")


def attribute_of(key: str) -> str:
    """The field that a key sets."""
    return f"{key}_" if keyword.iskeyword(key) else key


def is_section(kind: Any) -> bool:
    """Whether a type is a dataclass."""
    return dataclasses.is_dataclass(kind)


def without_none(kind: Any) -> Any:
    """`kind` of `kind | None`; any other as it is."""
    if typing.get_origin(kind) in (typing.Union, types.UnionType):
        (kind,) = (a for a in typing.get_args(kind) if a is not types.NoneType)
    return kind


def takes_none(kind: Any) -> bool:
    return kind is Any or types.NoneType in typing.get_args(kind)


def within(kind: Any, key: str) -> Any:
    """The type of one entry of a section or a mapping; None if it can have no such entry."""
    kind = without_none(kind)
    if is_section(kind):
        return fields_of(kind).get(key)
    if typing.get_origin(kind) is dict:
        return typing.get_args(kind)[1]
    return Any if kind is Any else None


def kind_at(top: type[Any], key: str) -> Any:
    """The type of what `a.b[0]` names; None if there is no such thing."""
    kind: Any = top
    for part in re.findall(r"[^.\[\]]+|\[\d+\]", key):
        if part.startswith("["):
            kind = typing.get_args(without_none(kind))[0]
        else:
            kind = within(kind, part)
    return kind


def shown(value: Any) -> str:
    """A value as a message quotes it."""
    return "null" if value is None else repr(value)


def described(kind: Any) -> str:
    """For a message: int, list[str], int or null."""
    bare = without_none(kind)
    name = str(bare) if typing.get_origin(bare) else getattr(bare, "__name__", str(bare))
    return f"{name} or null" if bare is not kind else name


def joined(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def near(name: str, allowed: Iterable[str], path: Iterable[str] = ()) -> str:
    """'; did you mean ...?' with the nearest of `allowed`, which stand at `path`; or nothing."""
    found = difflib.get_close_matches(name, list(allowed), n=1)
    return f"; did you mean {'.'.join([*path, *found])}?" if found else ""


def near_key(top: type[Any], path: str, name: str, siblings: Iterable[str], *, at: str = "") -> str:
    """Hint at the key, as it is typed, that was probably meant: of this section, else of all below `top` (`at`)."""
    if hint := near(name, siblings, [path] if path else []):
        return hint
    keys: dict[str, str] = {}
    for key in _keys(top, at):
        keys.setdefault(key.rpartition(".")[2], key)
    found = difflib.get_close_matches(name, keys, n=1)
    return f"; did you mean {keys[found[0]]}?" if found else ""


def _keys(section: Any, path: str) -> Iterator[str]:
    for name, kind in fields_of(section).items():
        yield joined(path, name)
        if is_section(kind):
            yield from _keys(kind, joined(path, name))


def flat(values: Mapping[str, Any], path: str = "") -> dict[str, Any]:
    """Join nested keys by dots; an empty mapping stays one value."""
    lines: dict[str, Any] = {}
    for key, value in values.items():
        nested = isinstance(value, Mapping) and value
        lines |= flat(value, joined(path, key)) if nested else {joined(path, key): value}
    return lines


def siblings_in(values: Any, path: Iterable[str]) -> list[str]:
    """The keys of the mapping that stands at `path`; none if there is no mapping."""
    for key in path:
        values = values.get(key) if isinstance(values, Mapping) else None
    return [str(key) for key in values] if isinstance(values, Mapping) else []
