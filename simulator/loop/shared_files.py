"""What all contenders of a run share, as files that every group of a node maps into memory.

    shared/period-00003.safetensors             the rows of a period, in the log's order
    shared/period-00003.json                    bytes of the pool and its indexes, once its rows had joined
    shared/<retriever>/period-00003.parquet     what its holdouts so far found once its rows had joined the pool
    neighbours/<retriever>/period-00003.parquet what its rows found when it was the present one
    shared/failed                               why there will be no more

One process writes them (`commons`), ahead of whoever reads; each is there in full or not at all.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from safetensors.torch import load_file, save_file

from pkb.batch import Batch, Neighbours
from pkb.columns import from_tensors, to_tensors
from pkb.errors import RunError
from simulator.loop.neighbour_files import Spent, read_neighbours, write_neighbours
from simulator.record.files import write_text
from simulator.record.layout import RunFolder
from simulator.stream.log import Period

PATIENCE_SECONDS = 600  # for a file; a search of a long period takes minutes
POLL_SECONDS = 0.005
T = TypeVar("T")


class SharedFiles:
    """The shared files of one run."""

    def __init__(self, run: RunFolder, fields: int) -> None:
        self.run, self.fields, self.folder = run, fields, run.path / "shared"

    def clear(self) -> None:
        """Remove what an earlier start has left."""
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)

    def drop(self, through: int) -> None:
        """Remove the files of periods that everybody has committed."""
        for file in self.folder.rglob("period-*"):
            if int(file.name.split("-")[1].split(".")[0]) <= through:
                file.unlink(missing_ok=True)

    def fail(self, reason: str) -> None:
        """Tell everybody who waits that there will be no more, and why."""
        write_text(self.folder / "failed", reason)

    def write_rows(self, period: Period, rows: Batch) -> None:
        """Give the rows of a period to everybody."""
        file = self._rows(period)
        aside = file.with_name(f".{file.name}.partial")  # without a sync: after a crash all of this is made anew
        save_file({name: column.contiguous() for name, column in to_tensors(rows).items()}, aside)
        aside.replace(file)

    def rows(self, period: Period) -> Batch:
        """Map the rows of a period, as soon as they are there."""
        return from_tensors(self._wait(self._rows(period), load_file))

    def write_found(self, name: str, period: Period, found: Neighbours, spent: Spent) -> None:
        """Keep what a retriever found for the rows of a period, and the wall and CPU seconds that it took."""
        write_neighbours(self.run.neighbours(name, period.index), found, spent)

    def found(self, name: str, period: Period) -> tuple[Neighbours, Spent]:
        """Read what a retriever found for the rows of a period, as soon as it is there, and what it took."""
        return self._wait(self.run.neighbours(name, period.index), self._read)

    def write_found_by_holdouts(self, name: str, period: Period, found: Neighbours) -> None:
        """Give everybody what the holdouts so far, one behind the other, found at the end of a period."""
        write_neighbours(self._holdouts(name, period), found, (0.0, 0.0))

    def found_by_holdouts(self, name: str, period: Period) -> Neighbours:
        """Read what the holdouts so far found at the end of a period, as soon as it is there."""
        return self._wait(self._holdouts(name, period), self._read)[0]

    def write_sizes(self, period: Period, sizes: dict[str, int]) -> None:
        """Tell everybody how many bytes the pool and the shared indexes have at the end of a period."""
        write_text(self._sizes(period), json.dumps(sizes))

    def sizes(self, period: Period) -> dict[str, int]:
        """Read how many bytes the pool and the shared indexes have at the end of a period."""
        return self._wait(self._sizes(period), lambda file: dict(json.loads(file.read_text(encoding="utf-8"))))

    def _rows(self, period: Period) -> Path:
        return self.folder / f"period-{period.index:05d}.safetensors"

    def _sizes(self, period: Period) -> Path:
        return self.folder / f"period-{period.index:05d}.json"

    def _holdouts(self, name: str, period: Period) -> Path:
        return self.folder / name / f"period-{period.index:05d}.parquet"

    def _read(self, file: Path) -> tuple[Neighbours, Spent]:
        return read_neighbours(file, self.fields)

    def _wait(self, file: Path, read: Callable[[Path], T]) -> T:
        """Read a file as soon as it is there; RunError names whom we wait for."""
        since, failed = time.monotonic(), self.folder / "failed"
        while True:
            try:
                return read(file)
            except FileNotFoundError:
                pass
            if failed.exists():
                raise RunError(failed.read_text(encoding="utf-8"))
            if time.monotonic() - since > PATIENCE_SECONDS:
                raise RunError(
                    f"{file}: did not come within {PATIENCE_SECONDS} s from the process that reads the log and "
                    "searches for all groups; start the run again"
                )
            time.sleep(POLL_SECONDS)
