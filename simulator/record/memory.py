"""How much memory the processes of a run have taken at most: one small file for each, renewed every period."""

from __future__ import annotations

import resource
import sys

from pkb.errors import DataError
from simulator.record.files import write_text
from simulator.record.layout import RunFolder

UNIT = 1 if sys.platform == "darwin" else 1024  # of the system's own figure, bytes


def note_peak(run: RunFolder, process: str) -> None:
    """Note the largest resident memory of this process so far."""
    run.memory(process).parent.mkdir(exist_ok=True)
    write_text(run.memory(process), str(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * UNIT))


def read_peaks(run: RunFolder) -> dict[str, int]:
    """Read the largest resident memory of each process, bytes; memory that several share counts in each."""
    peaks = {}
    for file in sorted((run.path / "memory").glob("[!.]*")):
        text = file.read_text(encoding="utf-8", errors="replace")
        if not (text.isascii() and text.isdecimal()):
            raise DataError(f"{file}: {text[:40]!r} is no number of bytes; delete the file")
        peaks[file.name] = int(text)
    return peaks
