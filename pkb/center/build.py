"""Builds a version: asks a base about everybody it knows, and writes the answers as they come."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
from safetensors.torch import save
from torch import nn

from pkb.center.keys import KEYS, keys_of
from pkb.center.manifest import ROSTER, Manifest, keys_file, values_file
from pkb.center.roster import Roster
from pkb.center.writing import MOST_VERSIONS, new_version
from pkb.device import CPU, Device
from pkb.knowledge import KnowledgeBase, Part, Scale

ROWS = 8192  # that the base is asked about at a time


def build(
    base: KnowledgeBase,
    roster: Roster,
    center: Path,
    version: int,
    *,
    built_until: int | None,
    keep: int = MOST_VERSIONS,
    device: Device = CPU,
) -> Manifest:
    """Write a version of what the base knows of everybody on the roster; what is kept in memory is the roster alone.

    Parts by user and by item are what the base says of the latest row, to the bit. A part by pair is what it says of
    the user's latest row with an item of which the category alone is known. SettingError where a part is decided by
    what is neither the user's nor the item's.
    """
    since, keys = time.perf_counter(), keys_of(base.parts, roster.schema, roster.category)
    hidden = _hidden(base.parts)
    kept = {part.name: part for part in (*base.parts, *hidden) if part.factors is None}
    with new_version(center, version, keep=keep) as writer:
        entries = {}
        for key in (key for key in KEYS if key in keys.values()):
            names = [name for name in kept if keys[name] == key]
            entries[key] = len(roster.keys(key))
            with writer.file(keys_file(key)) as append:
                append(roster.keys(key))
            with ExitStack() as files, telling(base, [kept[name] for name in names], device):
                appends = {name: files.enter_context(writer.file(values_file(name))) for name in names}
                for rows in roster.rows(key, ROWS):
                    for name, known in base.knowledge(device.place(rows)).items():
                        appends[name](known.flatten(1).float().cpu().numpy())
        size = writer.bytes
        with writer.file(ROSTER) as append:
            append(np.frombuffer(save(roster.to_tensors()), np.uint8))
        manifest = Manifest(
            version=version,
            built_until=built_until,
            category=roster.category,
            parts=base.parts,
            hidden=hidden,
            keys=keys,
            scales=_scales(base, hidden),
            entries=entries,
            seconds=round(time.perf_counter() - since, 3),
            bytes=size,
            files=writer.files,
        )
        writer.finish(manifest)
    return manifest


def bytes_of(parts: Sequence[Part], roster: Roster) -> int:
    """Count the bytes of the keys and values of a version with these parts of everybody on the roster."""
    keys = keys_of(parts, roster.schema, roster.category)
    entries = {key: len(roster.keys(key)) for key in {*keys.values()}}
    kept = [part for part in (*parts, *_hidden(parts)) if part.factors is None]
    values = sum((1 + entries[keys[part.name]]) * part.vectors * part.width for part in kept)
    return 8 * sum(entries.values()) + 4 * values


def _hidden(parts: Sequence[Part]) -> tuple[Part, ...]:
    """List the factors of products that are not told themselves."""
    told = {part.name for part in parts}
    factors = {name: part for part in parts for name in part.factors or () if name not in told}
    return tuple(replace(part, name=name, fields=(), factors=None) for name, part in factors.items())


def _scales(base: KnowledgeBase, hidden: Sequence[Part]) -> dict[str, tuple[list[float], float]]:
    """Say by what products and their factors were put on the common scale; hidden ones were not."""
    at_play = {name for part in base.parts if part.factors for name in (part.name, *part.factors)}
    scales: dict[str, tuple[list[float], float]] = {p.name: ([0.0] * (p.vectors * p.width), 1.0) for p in hidden}
    for part, scale in zip(base.parts, base.scales, strict=True):
        if part.name in at_play:
            scales[part.name] = (scale.mean.flatten().tolist(), float(scale.deviation))  # type: ignore[operator,arg-type]
    return scales


@contextmanager
def telling(base: KnowledgeBase, wanted: Sequence[Part], device: Device) -> Iterator[None]:
    """Let a base tell these parts alone for the block, so that it need not compute the others.

    One that it does not tell otherwise comes in the base's own units.
    """
    parts, scales = base.parts, base.scales
    by_name = {part.name: scale for part, scale in zip(parts, scales, strict=True)}
    asked = nn.ModuleList(by_name.get(part.name, Scale(part.vectors, part.width)) for part in wanted)
    base.parts, base.scales = tuple(wanted), asked.to(device.name)
    try:
        yield
    finally:
        base.parts, base.scales = parts, scales
