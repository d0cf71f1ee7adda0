"""Where each thing lies in a run's folder.

    config.yaml                                   the settings, fully resolved
    experiment.json                               what measuring and reporting must know of them
    environment.json                              where and with what the run was made
    log.json                                      which log it replays (`record.replayed`)
    in_use                                        whose the folder is while a run is played (`record.lock`)
    tuning.json                                   what every arm was tuned to (`record.tuning`)
    tuning/                                       a folder like this one, of the trials, while they are played
    groups.json                                   which group of workers plays which contender (`record.groups`)
    predictions/period-00003/<key>.parquet        a row per prediction of one contender (`record.predictions`)
    stale/period-00003/<key>.parquet              its answers to the next one's first rows before it learned this one
    costs/period-00003/<key>.json                 its seconds, rows and bytes, by stage (`record.costs`)
    costs/period-00003/period.json                what the period was
    ledger/period-00003/<key>-rank-0.parquet      the rows that each rank has learned, if `train.ledger` asks for it
    neighbours/<source>/period-00003.parquet      what rows found among older ones; own searches under the key
    contenders/<key>/period-00003/                its checkpoints, of the last two periods
    contenders/<key>/center/version-00003/        what its base knew then, for whoever reads a cache (`pkb.center`)
    contenders/<key>/committed                    the number of the last period that it has committed
    memory/<process>                              the peak of its memory, bytes (`record.memory`)
    serving.json                                  what was seen of the arms served (`record.serving`)
    vocabulary/                                   the log's, as a server looks values up (`stream.stored_words`)
    loadtest.json                                 what a load test saw of them (`record.loadtest`)
    exports/<key>/                                an arm as another server can load it (`simulator.export`)
    results.parquet, report.html                  what was measured of all this
    robustness.json                               which findings other runs turn round (`record.robustness`)

A key names a contender, `<arm>-<seed>` (`experiment.key_of`). A contender writes a period's files and its
checkpoint, and `committed` last. A period is complete once every contender of the run has committed it.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from pkb.errors import DataError

CENTER = "center"  # folder of its own that a contender may have


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
    def replayed(self) -> Path:
        return self.path / "log.json"

    @property
    def in_use(self) -> Path:
        return self.path / "in_use"

    @property
    def groups(self) -> Path:
        return self.path / "groups.json"

    @property
    def tuning(self) -> Path:
        return self.path / "tuning.json"

    @property
    def trials(self) -> RunFolder:
        """The run in which an arm's trials play, each as a contender."""
        return RunFolder(self.path / "tuning")

    @property
    def serving(self) -> Path:
        return self.path / "serving.json"

    @property
    def vocabulary(self) -> Path:
        return self.path / "vocabulary"

    @property
    def loadtest(self) -> Path:
        return self.path / "loadtest.json"

    @property
    def results(self) -> Path:
        return self.path / "results.parquet"

    @property
    def robustness(self) -> Path:
        return self.path / "robustness.json"

    @property
    def report(self) -> Path:
        return self.path / "report.html"

    def predictions(self, period: int, key: str) -> Path:
        return self.path / "predictions" / _named(period) / f"{key}.parquet"

    def stale(self, period: int, key: str) -> Path:
        return self.path / "stale" / _named(period) / f"{key}.parquet"

    def costs(self, period: int, key: str) -> Path:
        return self.path / "costs" / _named(period) / f"{key}.json"

    def period_facts(self, period: int) -> Path:
        return self.path / "costs" / _named(period) / "period.json"

    def ledger(self, period: int, key: str, rank: int) -> Path:
        return self.path / "ledger" / _named(period) / f"{key}-rank-{rank}.parquet"

    def memory(self, process: str) -> Path:
        """The peak of one process's memory."""
        return self.path / "memory" / process

    def neighbours(self, source: str, period: int) -> Path:
        return self.path / "neighbours" / source / f"{_named(period)}.parquet"

    def contender(self, key: str) -> Path:
        return self.path / "contenders" / key

    def center(self, key: str) -> Path:
        """The versions of what a contender's base knows."""
        return self.contender(key) / CENTER

    def checkpoint(self, key: str, period: int) -> Path:
        return self.contender(key) / _named(period)

    def export(self, key: str) -> Path:
        return self.path / "exports" / key

    def committed_file(self, key: str) -> Path:
        return self.contender(key) / "committed"

    def committed(self, key: str) -> int:
        """Read the number of the last period that a contender has committed; -1 before the first."""
        file = self.committed_file(key)
        try:
            text = file.read_text(encoding="utf-8", errors="replace").strip()
        except FileNotFoundError:
            return -1
        if not re.fullmatch(r"[0-9]+", text):
            raise DataError(f"{file}: {text[:40]!r} is not the number of a period; delete the run's folder, run again")
        return int(text)

    def complete_through(self, keys: Iterable[str]) -> int:
        """Find the last period that all of these contenders have committed; -1 before the first."""
        return min((self.committed(key) for key in keys), default=-1)

    def begun(self) -> int:
        """Count the periods of which any contender has written something."""
        return max((1 + _number(folder) for folder in (self.path / "costs").glob("period-*")), default=0)

    def drop_old_checkpoints(self, key: str, committed: int) -> None:
        """Remove a contender's checkpoints but those of the last two periods up to this one."""
        for folder in self.contender(key).glob("period-*"):
            if not committed - 1 <= _number(folder) <= committed:
                shutil.rmtree(folder)

    def drop(self, key: str) -> None:
        """Remove all that a contender has left."""
        self.committed_file(key).unlink(missing_ok=True)
        self.drop_uncommitted(key)
        shutil.rmtree(self.contender(key), ignore_errors=True)

    def drop_uncommitted(self, key: str) -> None:
        """Remove what a killed contender left beyond its last commit."""
        committed, name = self.committed(key), re.escape(key)
        for kind, named in (
            ("predictions", rf"{name}\.parquet"),
            ("stale", rf"{name}\.parquet"),
            ("costs", rf"{name}\.json"),
            ("ledger", rf"{name}-rank-\d+\.parquet"),
        ):
            for folder in (self.path / kind).glob("period-*"):
                if _number(folder) > committed:
                    for file in folder.iterdir():
                        if re.fullmatch(rf"{named}|\.{named}\..*partial", file.name):
                            file.unlink()
        for file in _entries(self.path / "neighbours" / key):
            if file.name.startswith(".") or _number(file) > committed:
                file.unlink()
        for entry in _entries(self.contender(key)):
            if entry.name.startswith("."):
                shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
        self.drop_old_checkpoints(key, committed)


def center_of(checkpoint: Path) -> Path:
    """The versions of what the base knows of the contender that this is a checkpoint of."""
    return checkpoint.parent / CENTER


def _named(period: int) -> str:
    return f"period-{period:05d}"


def _number(path: Path) -> int:
    """The number in the name of a period's file or folder."""
    return int(path.name.removeprefix("period-").split(".")[0])


def _entries(folder: Path) -> Iterator[Path]:
    return folder.iterdir() if folder.exists() else iter(())
