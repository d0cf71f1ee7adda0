"""Where each thing lies in a run's folder.

    config.yaml                          the settings, fully resolved
    experiment.json                      what measuring and reporting must know of them (`simulator.record.experiment`)
    environment.json                     where and with what the run was made
    predictions/period-00003.parquet     a row per prediction (`simulator.record.predictions`)
    costs/period-00003.json              seconds, rows and bytes of every arm and stage (`simulator.record.costs`)
    ledger/period-00003-rank-0.parquet   the rows that each rank has learned, if `train.ledger` asks for it
    neighbours/<source>/period-00003.parquet    what rows found among older ones
    checkpoints/                         of the last two periods
    serving.json                         what the load test saw (`simulator.record.serving`)
    results.parquet, report.html         what was measured of all this

A period's files are written before its checkpoint; a period counts as committed once that checkpoint does.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

BY_PERIOD = ("predictions", "costs", "ledger", "neighbours")  # the folders whose files are of a period each


@dataclass(frozen=True)
class RunFolder:
    """The folder of one run."""

    path: Path

    def __str__(self) -> str:
        return str(self.path)

    @property
    def name(self) -> str:
        return self.path.name

    @property
    def config(self) -> Path:
        return self.path / "config.yaml"

    @property
    def experiment(self) -> Path:
        return self.path / "experiment.json"

    @property
    def environment(self) -> Path:
        return self.path / "environment.json"

    @property
    def serving(self) -> Path:
        return self.path / "serving.json"

    @property
    def results(self) -> Path:
        return self.path / "results.parquet"

    @property
    def report(self) -> Path:
        return self.path / "report.html"

    def predictions(self, period: int) -> Path:
        return self.path / "predictions" / f"{_stem(period)}.parquet"

    def costs(self, period: int) -> Path:
        return self.path / "costs" / f"{_stem(period)}.json"

    def ledger(self, period: int, rank: int) -> Path:
        return self.path / "ledger" / f"{_stem(period)}-rank-{rank}.parquet"

    def neighbours(self, source: str, period: int) -> Path:
        return self.path / "neighbours" / source / f"{_stem(period)}.parquet"

    def periods(self, kind: str) -> list[Path]:
        """List the files of one folder of `BY_PERIOD`, in time order."""
        return sorted((self.path / kind).glob("period-*"))

    def drop_uncommitted(self, committed_through: int) -> None:
        """Remove what a killed run left of periods beyond its last checkpoint."""
        for kind in BY_PERIOD:
            for file in (self.path / kind).rglob("period-*"):
                if file.is_file() and int(file.stem.split("-")[1]) > committed_through:
                    file.unlink()


def _stem(period: int) -> str:
    return f"period-{period:05d}"
