"""Where and with what a run was made."""

from __future__ import annotations

import os
import platform
import subprocess
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

PACKAGES = ("ray", "torch", "pyarrow", "numpy", "duckdb", "faiss-cpu", "faiss-gpu-cuvs")


def environment(data_set: str) -> dict[str, object]:
    """The machine, and the software on it."""
    return {
        "data": data_set,
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": source_commit(),
        "python": platform.python_version(),
        "machine": platform.platform(),
        "cores": os.cpu_count(),
        "versions": {name: of for name in PACKAGES if (of := _version(name))},
    }


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


@cache
def source_commit() -> str | None:
    """The commit of the code that runs, with `-dirty` where its files differ from it; None where it is no checkout."""

    def git(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(["git", *words], capture_output=True, text=True, check=False, cwd=Path(__file__).parent)

    try:
        commit = git("rev-parse", "HEAD").stdout.strip()
        changed = git("diff", "--quiet", "HEAD", "--", ":/*.py").returncode == 1
    except FileNotFoundError:
        return None
    return f"{commit}-dirty" if commit and changed else commit or None
