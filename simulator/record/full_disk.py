"""What to say of work that a full disk has stopped: which disk, how much was missing, and how to go on."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

from simulator.record.layout import RunFolder

SAYS_SO = ("No space left on device", "Disk quota exceeded", "[Errno 28]", "[errno 28]", "[Errno 122]")


def full_disk(told: str, folder: Path, *, needs: int, what: str) -> str | None:
    """Give the message for work in `folder`, of which `what` takes `needs` bytes; None where `told` is no full disk."""
    if not any(words in told for words in SAYS_SO):
        return None
    there = min((folder, Path(tempfile.gettempdir())), key=lambda each: shutil.disk_usage(each).free)
    free = shutil.disk_usage(there).free
    missing = f"; {what} takes about {_mb(needs)}, so {_mb(needs - free)} are missing" if needs > free else ""
    return (
        f"the disk of {there}, mounted at {_mount(there)}, is full: {_mb(free)} are left{missing};"
        " make room, then the same command goes on"
    )


def largest_period(run: RunFolder) -> int:
    """Count the bytes of the largest period of this run so far: what is stored of it, and what groups share."""
    sizes: dict[str, int] = {}
    for file in run.path.rglob("period-*"):
        for each in file.rglob("*") if file.is_dir() else [file]:
            if each.is_file():
                name = file.name.split(".")[0]
                sizes[name] = sizes.get(name, 0) + each.stat().st_size
    return max(sizes.values(), default=0)


def _mount(folder: Path) -> Path:
    path = folder.resolve()
    while not os.path.ismount(path):
        path = path.parent
    return path


def _mb(size: int) -> str:
    return f"{size / 1e6:,.1f} MB"
