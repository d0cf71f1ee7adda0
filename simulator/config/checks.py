"""What `__post_init__` of a section says of a value that cannot be.

A message begins with the bare name of the field. Who builds a section inside others puts the rest of the key
before it (`typed.py`), so that a user reads what can be typed: `stream.window=0: must be at least 1`.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterable
from typing import Any

from pkb.errors import SettingError
from simulator.config.kinds import near


def at_least(section: Any, name: str, low: float) -> None:
    """SettingError unless the field is at least `low`; null passes."""
    between(section, name, low, math.inf)


def between(section: Any, name: str, low: float, high: float) -> None:
    """SettingError unless low <= field <= high; null passes."""
    value = getattr(section, name)
    if value is not None and not low <= value <= high:
        limits = f"be at least {low}" if math.isinf(high) else f"lie between {low} and {high}"
        raise SettingError(f"{name}={value}: must {limits}")


def above_zero(section: Any, name: str) -> None:
    """SettingError unless the field is a finite number above 0; null passes."""
    value = getattr(section, name)
    if value is not None and not 0 < value < math.inf:
        raise SettingError(f"{name}={value}: must be a number above 0")


def expand_home(section: Any, *names: str) -> None:
    """Put the home folder in place of `~` at the beginning of these paths; SettingError where there is none.

    A field may be a list of paths, or a mapping to either.
    """

    def expanded(name: str, written: Any) -> Any:
        if isinstance(written, list):
            return [expanded(name, path) for path in written]
        if isinstance(written, dict):
            return {key: expanded(name, path) for key, path in written.items()}
        path = os.path.expanduser(written)  # noqa: PTH111  it leaves what is no home as it is
        if path.startswith("~"):
            raise SettingError(f"{name}={written}: begins with no home folder; write the path out, or ./~ for a name")
        return path

    for name in names:
        object.__setattr__(section, name, expanded(name, getattr(section, name)))


def one_of(section: Any, name: str, allowed: Iterable[str]) -> None:
    """SettingError unless the field is one of `allowed`; null passes."""
    value = getattr(section, name)
    if value is not None:
        among(name, value, allowed)


def among(key: str, value: str, allowed: Iterable[str]) -> None:
    """SettingError, with the nearest right value, unless `value` is one of `allowed`."""
    names = list(allowed)
    if value not in names:
        raise SettingError(f"{key}={value}: is not one of {', '.join(names)}{near(value, names)}")
