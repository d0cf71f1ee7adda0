"""Fields that are categories, for tables whose schema is of no matter."""

from __future__ import annotations

from pkb.batch import Field


def plain(number: int) -> tuple[Field, ...]:
    return tuple(Field(name=f"f{place}", role="context") for place in range(number))
