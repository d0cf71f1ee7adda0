"""Settings from a YAML file and a command line: Hydra composes the two, OmegaConf holds them to their types.

Hydra composes without a schema: into one it would add keys that no dataclass has, and no new arm. What came out is
merged into the schema afterwards (`typed.py`), interpolations and all.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar, cast

from hydra import compose, initialize_config_module
from hydra.core.config_store import ConfigStore
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, Quote, QuotedString
from hydra.errors import HydraException
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from pkb.errors import SettingError
from simulator.config.kinds import (
    fields_of,
    is_section,
    joined,
    near,
    near_key,
    siblings_in,
    takes_none,
    within,
    without_none,
)
from simulator.config.shape import check_shape
from simulator.config.typed import typed
from simulator.config.written import read_yaml

T = TypeVar("T")
NAME = "experiment"  # in Hydra's store


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
    if overrides:
        values = _composed(top, values, overrides)
    return typed(top, values, interpolate=True)


def parse(text: str) -> Override:
    """One override; SettingError if it is none."""
    try:
        override = OverridesParser.create().parse_override(text)
    except HydraException as error:
        raise SettingError(f"override {text!r}: {str(error).splitlines()[0]}; write key=value") from None
    if override.package is not None:
        raise SettingError(f"override {text!r}: there are no packages here; write key=value")
    return override


def _composed(top: type[Any], values: dict[str, Any], overrides: Sequence[str]) -> dict[str, Any]:
    """The values of the file with the overrides applied in their order."""
    spelled = [line for text in overrides for line in _spelled(top, text)]
    try:
        ConfigStore.instance().store(NAME, values)
        with initialize_config_module("simulator.config", version_base="1.3"):  # no folder is searched, none written
            composed = compose(NAME, overrides=spelled)
    except (HydraException, OmegaConfBaseException) as error:
        raise _told(error, values) from None
    return cast(dict[str, Any], OmegaConf.to_container(composed))


def _spelled(top: type[Any], text: str) -> list[str]:
    """An override as Hydra is to be told it; SettingError where there is no such setting."""
    override = parse(text)
    if override.is_sweep_override():
        raise SettingError(f"override {text!r}: asks for several runs; add --multirun, or put the value in quotes")
    key = override.key_or_group
    kind = _kind_at(top, key)
    if override.is_delete():
        return [text]
    value = override.value()
    if value == {}:
        return [f"++{key}=null", f"++{key}={{}}"]  # Hydra would merge nothing into what there is
    raw = text.partition("=")[2].strip()
    if without_none(kind) is str and _is_number(value, kind):
        raw = QuotedString(raw, Quote.single).with_quotes()  # 1.10 and 2024_01_15 stay as they were typed
    return [f"++{key}={raw}"]


def _is_number(value: Any, kind: Any) -> bool:
    """Whether Hydra read a number, a truth value or nothing where text is wanted."""
    return isinstance(value, bool | int | float) or (value is None and not takes_none(kind))


def _kind_at(top: type[Any], key: str) -> Any:
    """The type of the setting with this key; SettingError, with the nearest right key, if there is none."""
    kind: Any = top
    path = ""
    for name in key.split("."):
        inner = within(kind, name)
        if inner is None and not is_section(without_none(kind)):
            raise SettingError(f"{key}: {path} is a value, not a section")
        if inner is None:
            hint = near_key(top, path, name, fields_of(without_none(kind)))
            raise SettingError(f"unknown setting {joined(path, name)!r}{hint}")
        kind, path = inner, joined(path, name)
    return kind


def _told(error: Exception, values: dict[str, Any]) -> SettingError:
    """Hydra's error in one line."""
    first = str(error).splitlines()[0]
    missing = re.search(r"Could not delete from config. '(.*)' does not exist", first)
    if not missing:
        cause = error.__cause__ or error
        key = getattr(cause, "full_key", None)
        return SettingError(f"{key}: {str(cause).splitlines()[0]}" if key else str(cause).splitlines()[0])
    *path, name = missing[1].split(".")
    return SettingError(f"there is no {missing[1]} to delete{near(name, siblings_in(values, path), path)}")
