"""A run on a log of every kind of field, played period by period without a group of workers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pkb.batch import Batch
from simulator.contender.checkpoint import save_contender
from simulator.contender.compression import compress
from simulator.contender.contender import Contender
from simulator.contender.learning import fit
from simulator.contender.settings import ArmSettings
from simulator.describe import describe
from simulator.loop.book import Book
from simulator.loop.commit import arm_costs
from simulator.loop.finder import Finder
from simulator.plays import play_of
from simulator.record.experiment import write_experiment
from simulator.record.files import write_text
from simulator.record.layout import RunFolder
from simulator.record.replayed import hold_to
from simulator.run import replayed
from simulator.serve.versions import Source, Versions
from simulator.settings import Settings, to_yaml
from simulator.stream.holdout import holdout_mask
from simulator.stream.ingest import ingest
from simulator.stream.learnable import Learnable
from simulator.stream.log import Log, Period
from simulator.stream.raw_values import asked_values
from simulator.stream.settings import IngestSettings, ListSettings, StreamSettings, TableSettings
from simulator.stream.shown import Activity, shown
from tests.simulator.stream.raw_files import DAY, MONDAY
from tests.simulator.tiny import tiny_settings

FEATURES = {
    "hour": "hour",
    "day": "weekday",
    "item_age": "age(item)",
    "pause": "since_last(user)",
    "shown_lately": "impressions(item, kind) over 3h",
    "rate": "click_rate(kind) over 1d",
    "clicks": "clicks(user) over all",
}
ARMS = {
    "deepfm": ArmSettings(epochs=1),
    "lr": ArmSettings(epochs=1, backbone="lr"),
    "edk": ArmSettings(epochs=1, knowledge="edk"),
    "rim": ArmSettings(epochs=1, backbone="rim"),
}
TABLE: dict[str, Any] = {
    "time": "t",
    "label": "y",
    "user": ["user", "country"],
    "item": ["item"],
    "context": ["kind", "member"],
    "request": "list",
    "numeric": ["price"],
    "lists": ["tags"],
    "vectors": {"text": 3},
    "histories": {"seen": "item"},
    "missing": ["-", "-1"],
}

GIVEN = ("user", "country", "item", "kind", "member", "price", "tags", "text", "seen")  # in a request, but its time


def write_raw(folder: Path, *, days: int, rows: int, seed: int = 0, alike: bool = False) -> None:
    """Rows of `days` days, five a list, with values that are missing now and then, of every kind.

    Those of a list differ in their item and label alone if they are `alike`.
    """
    draw = np.random.default_rng(seed)
    lists = days * rows // 5
    t = MONDAY + np.sort(draw.integers(0, days * DAY, lists)).repeat(5)
    number = lists * 5

    def some(letter: str, size: int, times: int = 1) -> list[Any]:
        drawn, lost = draw.zipf(1.3, number // times) % size, draw.random(number // times) < 0.05
        held = [None if gone else f"{letter}{one}" for one, gone in zip(drawn, lost, strict=True)]
        return [one for one in held for _ in range(times)]

    def listed(letter: str, size: int, most: int) -> list[Any]:
        held: list[Any] = [
            [f"{letter}{one}" for one in draw.integers(0, size, draw.integers(0, most))] for _ in range(number)
        ]
        return [None if draw.random() < 0.1 else one for one in held]

    columns = {
        "t": t,
        "y": draw.integers(0, 3, number) == 0,
        "user": some("u", 60, 5),
        "country": draw.choice(["de", "fr", "-"], number),
        "item": draw.integers(0, 90, number) + 90 * ((t - MONDAY) // DAY) // 4,  # new ones every day
        "kind": some("k", 4),
        "member": draw.random(number) < 0.5,
        "list": np.arange(number) // 5,
        "price": [None if lost else one for one, lost in zip(draw.lognormal(size=number), draw.random(number) < 0.1)],  # noqa: B905
        "tags": listed("t", 12, 6),
        "text": [None if draw.random() < 0.1 else draw.normal(size=3).tolist() for _ in range(number)],
        "seen": [None if one is None else [name[1:] for name in one] for one in listed("i", 90, 30)],
    }
    if alike:
        columns |= {
            name: [held[row // 5 * 5] for row in range(number)]
            for name, held in columns.items()
            if name not in ("y", "item")
        }
    folder.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns), folder / "rows.parquet")


def stream_of(folder: Path, **features: str) -> StreamSettings:
    return StreamSettings(
        source="table",
        root=str(folder / "raw"),
        data=str(folder / "data"),
        table=TableSettings(**TABLE),
        lists=ListSettings(length=4),
        history_length=8,
        features=FEATURES | features,
        label_delay="1h",
        holdout_share=0.2,
    )


@dataclass
class PlayedRun:
    """Commits one period after the other."""

    folder: Path
    settings: Settings
    log: Log
    contenders: dict[str, Contender] = field(default_factory=dict)
    finders: dict[str, Finder] = field(default_factory=dict)

    @property
    def run(self) -> RunFolder:
        return RunFolder(self.folder / "runs" / "tiny")

    def commit(self, index: int, before: Callable[[], None] = lambda: None) -> None:
        """Learn a period, store what is said of its holdout, and commit, `before` which something is done; each arm."""
        period, settings, run = self.log.periods[index], self.settings, self.run
        play = play_of(settings)
        if not self.contenders:
            self.contenders = {recipe.key: Contender(recipe, self.log.schema) for recipe in play.recipes}
            run.path.mkdir(parents=True, exist_ok=True)
            write_experiment(run, describe(settings, self.log.manifest.name))
            hold_to(run, replayed(self.log), lambda line: None)
            write_text(run.config, to_yaml(settings))
        rows = self.log.read(period, histories=True)
        held = holdout_mask(rows, settings.stream.holdout_share)
        now = shown(rows, self.log.schema, period.start, self.log.vocabulary_before(period), Activity().counts())
        holdout = now.select(held)
        book = Book(run, period, now, gap_seconds=0.0, since=0.0)
        arrived = Learnable(self.log, settings.stream)
        learned = arrived.rows(range(index, index + 1), self._read)
        for contender in self.contenders.values():
            self.finders.setdefault(contender.key, Finder(play.retrieval, self.log.schema, contender.reads.predicting))
        for key, contender in self.contenders.items():
            finder, who = self.finders[key], (contender.recipe.name, 0)

            def found(some: Batch, until: int, finder: Finder = finder, contender: Contender = contender) -> Batch:
                return finder.with_all(contender, some, until=until) if contender.reads.predicting else some

            said = contender.predict(found(rows, period.start))
            book.predicted(who, index - 1, index, now, said, holdout=False)
            if contender.base is not None and index:
                old = self.log.periods[index - 1]
                compress(contender, arrived.rows(range(index - 1, index), self._read), old, period)
            fit(contender, found(learned, period.start), period)
            finder.append_arrived(index, arrived, self._read)
            said = contender.predict(found(holdout.rows, period.end))
            book.predicted(who, index, index, holdout, said, holdout=True)
            written = save_contender(run.checkpoint(key, index), contender, index)
            book.write(arm_costs(contender, finder, finder.sizes(), written, {}), key)
            before()
            write_text(run.committed_file(key), str(index))
            run.drop_old_checkpoints(key, index)

    def nudge(self, index: int) -> None:
        """Let the stored predictions of a period be another model's."""
        file = self.run.predictions(index, "deepfm-0")
        table = pq.read_table(file, partitioning=None)
        nudged = pc.add(table["probability"], 1e-3).cast(pa.float32())
        pq.write_table(table.set_column(table.column_names.index("probability"), "probability", nudged), file)

    def _read(self, period: Period) -> Batch:
        return self.log.read(period, histories=True)

    def source(self, arm: str = "deepfm") -> Source:
        return Source(
            run=self.run.path,
            log=self.log.folder,
            stream=self.settings.stream,
            retrieval=self.settings.retrieval,
            arm=arm,
            seed=0,
        )

    def versions(self, arm: str = "deepfm", told: list[str] | None = None) -> Versions:
        return Versions(self.source(arm), (told if told is not None else []).append)

    def raw(self, rows: Batch) -> list[dict[str, Any]]:
        """What a request holds of each row."""
        asked = asked_values(rows, self.log, self.settings.stream)
        return [dict(zip(asked, values, strict=True)) for values in zip(*asked.values(), strict=True)]

    def rows(self, index: int) -> Batch:
        """The holdout of a period, of which probabilities are stored."""
        rows = self.log.read(self.log.periods[index], histories=True)
        return rows.select(holdout_mask(rows, self.settings.stream.holdout_share))


def played_run(
    folder: Path,
    *,
    days: int = 3,
    rows: int = 500,
    arms: tuple[str, ...] = ("deepfm",),
    alike: bool = False,
    **features: str,
) -> PlayedRun:
    """A run of which nothing is committed yet."""
    write_raw(folder / "raw", days=days, rows=rows, alike=alike)
    stream = stream_of(folder, **features)
    log = ingest(stream, IngestSettings(), lambda line: None)
    chosen = {name: ARMS[name] for name in arms}
    return PlayedRun(folder, replace(tiny_settings(folder, arms=chosen), stream=stream), log)
