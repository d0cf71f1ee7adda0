"""What a setting may be tuned to, declared where the setting is: `rate: Annotated[float, Between(0.1, 1)] = 0.5`."""

from __future__ import annotations

import typing
from dataclasses import dataclass
from typing import Annotated, Any


@dataclass(frozen=True)
class Between:
    """Any number from `low` to `high`; drawn evenly, or evenly on a logarithmic scale."""

    low: float
    high: float
    log: bool = False

    def holds(self, value: Any) -> bool:
        return isinstance(value, int | float) and self.low <= value <= self.high


@dataclass(frozen=True)
class OneOf:
    """One of a few values."""

    values: tuple[int | float | str, ...]

    def holds(self, value: Any) -> bool:
        return value in self.values


Space = Between | OneOf
Dropout = Annotated[float, Between(0.0, 0.5)]


def spaces(section: type[Any]) -> dict[str, Space]:
    """List the settings of a dataclass that can be tuned, with what they may become."""
    hints = typing.get_type_hints(section, include_extras=True)
    return {
        name: extra
        for name, hint in hints.items()
        for extra in getattr(hint, "__metadata__", ())
        if isinstance(extra, Space)
    }
