"""Where and with what a run was made (`environment.json`)."""

from __future__ import annotations

import os
import platform
import subprocess
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from simulator.record.layout import RunFolder
from simulator.record.typed_json import read_json, write_json

PACKAGES = ("ray", "torch", "pyarrow", "numpy", "duckdb", "faiss-cpu", "faiss-gpu-cuvs", "optuna")


def write_environment(run: RunFolder, data: str) -> None:
    """Note the machine, the software on it, and the data set's name."""
    content = {
        "data": data,
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": source_commit(),
        "python": platform.python_version(),
        "machine": platform.platform(),
        "cores": os.cpu_count(),
        "versions": {name: of for name in PACKAGES if (of := _version(name))},
    }
    write_json(run.environment, content)


def read_environment(run: RunFolder) -> dict[str, Any]:
    """Read what the run ran on; empty where it was not noted."""
    return read_json(run.environment) if run.environment.exists() else {}


@cache
def source_commit() -> str | None:
    """Ask git for the commit of the code that runs, with `-dirty` where files differ; None where it is no checkout."""

    def git(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(["git", *words], capture_output=True, text=True, check=False, cwd=Path(__file__).parent)

    try:
        commit = git("rev-parse", "HEAD").stdout.strip()
        changed = git("diff", "--quiet", "HEAD", "--", ":/*.py").returncode == 1
    except FileNotFoundError:
        return None
    return f"{commit}-dirty" if commit and changed else commit or None


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
