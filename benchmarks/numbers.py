"""What numbers, lists and features cost: a training step, beside one with as many categorical fields; their ingest."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from benchmarks.figures import Figure, faster, seconds
from pkb.backbones.base import ClickModel
from pkb.backbones.deepfm import DeepFM
from pkb.batch import Batch, Field, Schema
from pkb.numbers import Number
from pkb.step import Optimiser, click_loss
from simulator.stream.ingest import ingest
from simulator.stream.settings import IngestSettings, StreamSettings, TableSettings

FIELDS, NUMBERS, LISTS, BATCH, VALUES, ROWS = 26, 13, 3, 4096, 1_000_000, 4_000_000
LONGEST, TAGS = 5, 10_000  # values of a list, 1 at least and 3 on average, and values that there are
DAY, MONDAY = 86_400, 1_641_168_000
FEATURES = {
    "age": "age(i)",
    "pause": "since_last(u)",
    "shown": "impressions(i) over 1h",
    "clicks": "clicks(u) over 1d",
    "rate": "click_rate(i) over 1d",
    "rate_ever": "click_rate(i)",
}
CATEGORICAL = Schema(
    fields=tuple(Field(name=f"f{i}", role="context") for i in range(FIELDS)),
    user="f0",
    item="f1",
)
KNOTS = tuple(np.linspace(-2, 2, 32).astype(np.float32).tolist())
NUMERIC = replace(
    CATEGORICAL,
    fields=(
        *CATEGORICAL.fields[NUMBERS:],
        *(replace(f, number=Number(knots=KNOTS)) for f in CATEGORICAL.fields[:NUMBERS]),
    ),
    user=f"f{NUMBERS}",
    item=f"f{NUMBERS + 1}",
)


WITH_LISTS = replace(
    NUMERIC,
    fields=(
        *NUMERIC.fields[: FIELDS - NUMBERS - LISTS],
        *(replace(f, pooling="mean") for f in NUMERIC.fields[FIELDS - NUMBERS - LISTS : FIELDS - NUMBERS]),
        *NUMERIC.fields[FIELDS - NUMBERS :],
    ),
)


def batch(schema: Schema, seed: int) -> Batch:
    """Ids drawn uniformly; three fields are lists or their first values, the last bins of numbers or of 32 values."""
    draw = torch.Generator().manual_seed(seed)
    first, lowest = schema.first_value_id, schema.first_value_id + NUMBERS * 32
    ids = torch.randint(
        lowest + LISTS * TAGS, VALUES, (BATCH, FIELDS - NUMBERS - LISTS), generator=draw, dtype=torch.int32
    )
    tags = torch.randint(TAGS, (LISTS, BATCH, LONGEST), generator=draw, dtype=torch.int32)
    tags = tags + lowest + TAGS * torch.arange(LISTS, dtype=torch.int32)[:, None, None]
    there = torch.arange(LONGEST) <= torch.randint(LONGEST, (LISTS, BATCH, 1), generator=draw)
    lists = dict(zip(schema.names_of("list"), tags * there, strict=False))
    if not lists:
        ids = torch.cat([ids, tags[:, :, 0].T], dim=1)
    numbers = torch.randn(BATCH, NUMBERS, generator=draw) if schema.numbers else None
    if numbers is None:
        few = torch.randint(32, (BATCH, NUMBERS), generator=draw, dtype=torch.int32)
        ids = torch.cat([ids, few + first + 32 * torch.arange(NUMBERS, dtype=torch.int32)], dim=1)
    return Batch(
        row_id=torch.arange(BATCH),
        ids_BF=schema.ids(ids, lists, numbers, {}),
        label=(torch.rand(BATCH, generator=draw) < 0.1).float(),
        lists=lists,
        numbers_BN=numbers,
    )


def ten_steps(schema: Schema) -> Callable[[], None]:
    """Ten training steps of DeepFM."""
    torch.manual_seed(0)
    model = ClickModel(DeepFM(schema, DeepFM.Settings()))
    model.backbone.grow(VALUES, torch.Generator().manual_seed(0))
    optimiser = Optimiser(model)
    batches = [batch(schema, seed) for seed in range(10)]

    def steps() -> None:
        for b in batches:
            optimiser.step(click_loss(model, b), len(b))

    return steps


def step_of_numbers(repeats: int) -> list[Figure]:
    """On one thread; the ratio is how many times as long a step takes as one with categorical fields alone."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with_ids = ten_steps(CATEGORICAL)
    figures = [
        faster(
            name,
            ten_steps(schema),
            with_ids,
            work=10 * BATCH,
            unit="rows/s",
            against="26 categorical fields",
            repeats=repeats,
        )
        for name, schema in (("train_13_numbers", NUMERIC), ("train_13_numbers_3_lists", WITH_LISTS))
    ]
    torch.set_num_threads(threads)
    return [replace(figure, ratio=1 / (figure.ratio or 1)) for figure in figures]


def ingest_of_numbers(parts: int = 1) -> list[Figure]:
    """So many files of four million rows and two periods: 13 numbers; three lists of five values; six features, too."""
    return [
        _ingest("ingest_13_numbers", parts, lists=0, features={}),
        _ingest("ingest_13_numbers_3_lists", parts, lists=LISTS, features={}),
        _ingest("ingest_13_numbers_3_lists_6_features", parts, lists=LISTS, features=FEATURES),
    ]


def _ingest(name: str, parts: int, *, lists: int, features: dict[str, str]) -> Figure:
    numeric, of_lists = [f"n{i}" for i in range(NUMBERS)], [f"l{i}" for i in range(lists)]
    table = TableSettings(time="t", label="y", user=["u"], item=["i"], numeric=numeric, lists=of_lists)
    with tempfile.TemporaryDirectory() as folder:
        for part in range(parts):
            pq.write_table(_rows(part, lists), Path(folder) / f"rows-{part}.parquet")
        stream = StreamSettings(source="table", root=folder, data=f"{folder}/data", table=table, features=features)
        taken = seconds(lambda: ingest(stream, IngestSettings(), lambda line: None))
    return Figure(name=name, value=60 * ROWS * parts / taken, unit="rows/min", repeats=1)


def _rows(part: int, lists: int) -> pa.Table:
    draw, first = np.random.default_rng(part), MONDAY + 2 * DAY * part
    columns: dict[str, Any] = {f"n{i}": draw.lognormal(size=ROWS) for i in range(NUMBERS)}
    columns |= {"t": np.sort(draw.integers(first, first + 2 * DAY, ROWS)), "y": draw.integers(0, 2, ROWS)}
    columns |= {"u": draw.integers(0, 200_000, ROWS), "i": draw.integers(0, 50_000, ROWS)}
    for i in range(lists):
        values = draw.integers(0, 10_000, ROWS * LONGEST)
        columns[f"l{i}"] = pa.ListArray.from_arrays(np.arange(0, ROWS * LONGEST + 1, LONGEST, dtype=np.int32), values)
    return pa.table(columns)
