"""How many processors this process may use: what affinity and control group allow, not what the machine has."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

CGROUPS = Path("/sys/fs/cgroup")
OF_THIS_PROCESS = Path("/proc/self/cgroup")


def allowed_cores(cgroups: Path = CGROUPS, process: Path = OF_THIS_PROCESS) -> int:
    """Count the cores allowed; a quota of a fraction of a core counts as one."""
    affinity = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quotas = [quota for folder in _folders(cgroups, process) if (quota := _quota(folder)) is not None]
    return max(1, min([affinity, *map(int, quotas)]))


def _folders(cgroups: Path, process: Path) -> Iterator[Path]:
    """The control groups of this process, from the root to its own: each one's limit holds.

    A container sees its own group as the root; a batch system or systemd puts a job into one further down.
    """
    yield from (cgroups, cgroups / "cpu")
    try:
        lines = process.read_text(encoding="utf-8").splitlines()
    except OSError:
        return
    for line in lines:
        _, _, of = line.partition(":")
        controllers, _, path = of.partition(":")
        if not controllers or "cpu" in controllers.split(","):
            folder = cgroups / "cpu" if controllers else cgroups
            for name in Path(path).parts[1:]:
                folder /= name
                yield folder


def _quota(folder: Path) -> float | None:
    """Cores' worth of time that a control group (version 2, or 1) may take; None without a limit."""
    try:
        spent, _, each = (folder / "cpu.max").read_text(encoding="utf-8").partition(" ")
        return None if spent == "max" else float(spent) / float(each)
    except (OSError, ValueError):
        pass
    try:
        spent, each = ((folder / f"cpu.cfs_{name}_us").read_text(encoding="utf-8") for name in ("quota", "period"))
        return float(spent) / float(each) if float(spent) > 0 else None
    except (OSError, ValueError, ZeroDivisionError):
        return None
