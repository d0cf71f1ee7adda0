"""Builds a version: asks a base about everybody it knows, and writes the answers as they come."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np
from safetensors.torch import save
from torch import nn

from pkb.center.keys import KEYS, keys_of
from pkb.center.manifest import ROSTER, Manifest, keys_file, values_file
from pkb.center.roster import Roster
from pkb.center.writing import MOST_VERSIONS, new_version
from pkb.device import CPU, Device
from pkb.knowledge import KnowledgeBase

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
    since, keys = time.perf_counter(), keys_of(base.parts, roster.schema)
    with new_version(center, version, keep=keep) as writer:
        entries = {}
        for key in (key for key in KEYS if key in keys.values()):
            names = [name for name, its in keys.items() if its == key]
            entries[key] = len(roster.keys(key))
            with writer.file(keys_file(key)) as append:
                append(roster.keys(key))
            with ExitStack() as files, telling(base, names):
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
            keys=keys,
            entries=entries,
            seconds=round(time.perf_counter() - since, 3),
            bytes=size,
            files=writer.files,
        )
        writer.finish(manifest)
    return manifest


@contextmanager
def telling(base: KnowledgeBase, names: Sequence[str]) -> Iterator[None]:
    """Let a base tell these parts alone for the block, so that it need not compute the others."""
    parts, scales = base.parts, base.scales
    chosen = [place for place, part in enumerate(parts) if part.name in names]
    base.parts, base.scales = tuple(parts[i] for i in chosen), nn.ModuleList(scales[i] for i in chosen)
    try:
        yield
    finally:
        base.parts, base.scales = parts, scales
