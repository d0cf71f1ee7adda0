"""What a version says of itself.

<center>/version-00007/manifest.json        this, with the SHA-256 of every other file and of itself
<center>/version-00007/user.keys            int64, ascending: the users it knows; item.keys and pair.keys likewise
<center>/version-00007/<part>.values        float32, a row for unknown keys, then one for each key, in their order
<center>/version-00007/roster.safetensors   of whom the next version is built (`pkb.center.roster`)
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

from pkb.center.keys import Key
from pkb.errors import DataError
from pkb.knowledge import Part

MANIFEST = "manifest.json"
ROSTER = "roster.safetensors"


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """A version, as whoever asks must know it."""

    version: int
    built_until: int | None  # seconds; the time until which the base had looked
    category: str  # the field that is an item's category
    parts: tuple[Part, ...]  # that it tells
    hidden: tuple[Part, ...] = ()  # that it keeps beside them, as factors of products
    keys: Mapping[str, Key]  # by part that it keeps, which products are not
    scales: Mapping[str, tuple[Sequence[float], float]] = field(default_factory=dict)  # of products and their factors
    entries: Mapping[Key, int]  # by key, those that any part is looked up by; without the row for unknown ones
    seconds: float  # that building took
    bytes: int  # of keys and values
    files: Mapping[str, str]  # SHA-256 by name

    @property
    def of_all_pairs(self) -> int:
        """N_u x N_i: the entries that knowledge of every user and item would take."""
        return self.entries.get("user", 0) * self.entries.get("item", 0)

    def to_json(self) -> str:
        raw = asdict(self)
        return json.dumps({"sha256": _digest(raw), **raw}, indent=1)

    @classmethod
    def of(cls, raw: Mapping[str, Any]) -> Manifest:
        """Make one of what `asdict` gives, as JSON has it."""
        return cls(**{**raw, "parts": _parts(raw["parts"]), "hidden": _parts(raw["hidden"])})

    @classmethod
    def read(cls, file: Path) -> Manifest:
        """Read a manifest; DataError names the file if it is not the one that was written."""
        try:
            raw: dict[str, Any] = json.loads(file.read_bytes())
            if raw.pop("sha256") != _digest(raw):
                raise ValueError("its hash differs")
            return cls.of(raw)
        except FileNotFoundError:
            raise DataError(f"{file}: is missing; {REMEDY}") from None
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise DataError(f"{file}: is damaged ({error}); {REMEDY}") from None


REMEDY = "delete this version's folder, and build the next one"


def _parts(raw: Sequence[Mapping[str, Any]]) -> tuple[Part, ...]:
    return tuple(
        Part(**{**part, "fields": tuple(part["fields"]), "factors": part["factors"] and tuple(part["factors"])})
        for part in raw
    )


def keys_file(key: Key) -> str:
    return f"{key}.keys"


def values_file(part: str) -> str:
    return f"{quote(part, safe='')}.values"


def sha256_of(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _digest(raw: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(raw, sort_keys=True).encode()).hexdigest()
