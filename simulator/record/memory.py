"""How much memory the processes of a run have taken at most: one small file for each, renewed every period."""

from __future__ import annotations

import resource
import sys

from simulator.record.files import write_text
from simulator.record.layout import RunFolder

UNIT = 1 if sys.platform == "darwin" else 1024  # of the system's own figure, bytes


def note_peak(run: RunFolder, process: str) -> None:
    """Note the largest resident memory of this process so far."""
    run.memory(process).parent.mkdir(exist_ok=True)
    write_text(run.memory(process), str(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * UNIT))


def read_peaks(run: RunFolder) -> dict[str, int]:
    """Read the largest resident memory of each process, bytes; memory that several share counts in each."""
    return {file.name: int(file.read_text()) for file in sorted((run.path / "memory").glob("[!.]*"))}
