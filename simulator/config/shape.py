"""Whether values have the shape of a dataclass; of what has not, OmegaConf tells less: never the nearest right key."""

from __future__ import annotations

import typing
from collections.abc import Mapping
from typing import Any

from omegaconf import MISSING

from pkb.errors import SettingError
from simulator.config.kinds import described, fields_of, is_section, joined, near_key, shown, within, without_none


def check_shape(section: type[Any], values: Mapping[str, Any], *, at: str = "") -> None:
    """SettingError where a key is unknown, or a section, list, text or truth value is something else."""
    _Shape(section, at).check(section, values, at)


class _Shape:
    """A section and where it stands: what a hint is looked for in."""

    def __init__(self, top: type[Any], at: str) -> None:
        self.top, self.at = top, at

    def check(self, kind: Any, value: Any, path: str) -> None:
        kind = without_none(kind)
        origin = typing.get_origin(kind)
        if isinstance(value, str) and value == MISSING:
            raise SettingError(f"{path}: must be given")
        if is_section(kind) or origin is dict:
            self._entries(kind, value, path)
        elif value is None or kind is Any or (isinstance(value, str) and "${" in value):
            return  # OmegaConf can tell
        elif origin in (list, tuple):
            if not isinstance(value, list | tuple):
                raise SettingError(f"{path}={value!r}: is a list, write {path}=[{value}]")
            for inner in value:
                self.check(typing.get_args(kind)[0], inner, path)
        elif kind is str and isinstance(value, bool):
            raise SettingError(f"{path}={value}: must be text; put it in quotes")
        elif isinstance(value, Mapping | list | tuple) or (kind is bool and not isinstance(value, bool | str)):
            raise SettingError(f"{path}={value!r}: must be of type {described(kind)}")

    def _entries(self, kind: Any, value: Any, path: str) -> None:
        if not isinstance(value, Mapping):
            raise SettingError(f"{path}={shown(value)}: is a section, write {path}.<name>=value")
        for name, inner in value.items():
            expected = within(kind, name)
            if expected is None:
                hint = near_key(self.top, path, name, fields_of(kind), at=self.at)
                raise SettingError(f"unknown setting {joined(path, name)!r}{hint}")
            self.check(expected, inner, joined(path, name))
