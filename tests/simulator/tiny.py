"""A small log in the format of `simulator.stream.log`, and settings that play it in seconds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pkb.batch import Field, Schema
from pkb.ranks import Ranks
from simulator.contender.contender import Contender
from simulator.contender.settings import ArmSettings
from simulator.plays import recipe_of
from simulator.serve.settings import ServeSettings
from simulator.settings import Settings
from simulator.stream.log import Log, Manifest, Period
from simulator.stream.settings import StreamSettings
from simulator.train.settings import TrainSettings

SCHEMA = Schema(
    fields=(
        Field(name="user", role="user"),
        Field(name="item", role="item"),
        Field(name="hour", role="context"),
    ),
    user="user",
    item="item",
    has_request=True,
    has_p_true=True,
)
DAY = 86_400


def tiny_log(folder: Path, *, periods: int = 4, rows: int = 600, seed: int = 0) -> Log:
    """Users and items with fixed tastes; ids in order of first appearance, five rows a request."""
    draw = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    taste = draw.normal(size=(60, 40))
    vocabulary: dict[int, int] = {}
    spans = []
    for index in range(periods):
        items_known = 20 + 20 * (index + 1) // periods
        request = np.repeat(np.arange(rows // 5), 5)
        columns = {
            "user": np.repeat(draw.integers(0, 60, rows // 5), 5),
            "item": draw.integers(0, items_known, rows),
            "hour": np.sort(np.repeat(draw.integers(0, 24, rows // 5), 5)),
        }
        p_true = 1 / (1 + np.exp(-(2 * taste[columns["user"], columns["item"]] - 1)))
        values = np.stack([columns[name] + 100 * column for column, name in enumerate(SCHEMA.names)], axis=1)
        met, place = np.unique(values, return_index=True)  # row by row
        for value in met[place.argsort()].tolist():
            vocabulary.setdefault(value, SCHEMA.first_value_id + len(vocabulary))
        ids = np.vectorize(vocabulary.__getitem__, otypes=[np.int32])(met)[np.searchsorted(met, values)]
        first = index * rows
        label = (draw.random(rows) < p_true).astype(np.int8)
        start = index * DAY
        table = pa.table(
            {
                "row_id": np.arange(first, first + rows),
                "ts": start + np.sort(draw.integers(0, DAY, rows)),
                "request_id": request + first // 5,
                **{name: ids[:, column] for column, name in enumerate(SCHEMA.names)},
                "click": label,
                "p_true": p_true,
            }
        )
        file = f"period-{index:05d}.parquet"
        pq.write_table(table, folder / file)
        spans.append(
            Period(
                index=index,
                start=start,
                end=start + DAY,
                rows=rows,
                positives=int(label.sum()),
                first_row_id=first,
                vocabulary_size=SCHEMA.first_value_id + len(vocabulary),
                file=file,
            )
        )
    total = periods * rows
    manifest = Manifest(
        name="tiny",
        source="test",
        fingerprint="0",
        rows_in=total,
        rows_kept=total,
        rows_rejected=0,
        periods=tuple(spans),
    )
    (folder / "schema.json").write_text(SCHEMA.to_json())
    (folder / "manifest.json").write_text(manifest.to_json())
    return Log(folder)


def tiny_settings(folder: Path, *, arms: dict[str, ArmSettings] | None = None, workers: int = 1) -> Settings:
    return Settings(
        name="tiny",
        runs=str(folder / "runs"),
        arms=arms or {"finetune": ArmSettings(policy="finetune")},
        stream=StreamSettings(data=str(folder / "data"), holdout_share=0.2),
        train=TrainSettings(workers=workers, batch_size=128, learning_rate=0.01),
        serve=ServeSettings(enabled=False),
        yardsticks=[],
    )


def contender_of(settings: Settings, arm: str, seed: int = 0, ranks: Ranks | None = None) -> Contender:
    """One arm of these settings, untrained, for the tiny log."""
    return Contender(recipe_of(settings, arm, seed), SCHEMA, ranks)
