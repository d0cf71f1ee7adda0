"""Who is asked."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Target:
    """An arm that is served somewhere."""

    arm: str
    seed: int
    url: str
