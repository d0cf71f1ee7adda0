"""How many processors this process may use: what affinity and control group allow, not what the machine has."""

from __future__ import annotations

import os
from pathlib import Path

CGROUPS = Path("/sys/fs/cgroup")


def allowed_cores(cgroups: Path = CGROUPS) -> int:
    """Count the cores allowed; a quota of a fraction of a core counts as one."""
    affinity = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = _quota(cgroups)
    return affinity if quota is None else max(1, min(affinity, int(quota)))


def _quota(cgroups: Path) -> float | None:
    """Cores' worth of time that the control group (version 2, or 1) may take; None without a limit."""
    try:
        spent, _, each = (cgroups / "cpu.max").read_text().partition(" ")
        return None if spent == "max" else float(spent) / float(each)
    except (OSError, ValueError):
        pass
    try:
        spent, each = ((cgroups / "cpu" / f"cpu.cfs_{name}_us").read_text() for name in ("quota", "period"))
        return float(spent) / float(each) if float(spent) > 0 else None
    except (OSError, ValueError, ZeroDivisionError):
        return None
