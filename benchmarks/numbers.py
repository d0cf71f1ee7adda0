"""What numbers cost: a training step with some, beside one with as many categorical fields; and their ingest."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

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

FIELDS, NUMBERS, BATCH, VALUES, ROWS = 26, 13, 4096, 1_000_000, 4_000_000
DAY, MONDAY = 86_400, 1_641_168_000
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


def batch(schema: Schema, seed: int) -> Batch:
    """Ids drawn uniformly, those of the last fields either bins of normal numbers or of 32 values."""
    draw = torch.Generator().manual_seed(seed)
    first, wide = schema.first_value_id, (BATCH, FIELDS - NUMBERS)
    ids = torch.randint(first + NUMBERS * 32, VALUES, wide, generator=draw, dtype=torch.int32)
    numbers = torch.randn(BATCH, NUMBERS, generator=draw)
    if schema.numbers:
        few = schema.number_ids(numbers)
    else:
        few = torch.randint(32, (BATCH, NUMBERS), generator=draw, dtype=torch.int32)
        few = few + first + 32 * torch.arange(NUMBERS, dtype=torch.int32)
    return Batch(
        row_id=torch.arange(BATCH),
        ids_BF=torch.cat([ids, few], dim=1),
        label=(torch.rand(BATCH, generator=draw) < 0.1).float(),
        numbers_BN=numbers if schema.numbers else None,
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
    """On one thread; the ratio is how many times as long a step with numbers takes."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with_ids = ten_steps(CATEGORICAL)
    figure = faster(
        "train_13_numbers",
        ten_steps(NUMERIC),
        with_ids,
        work=10 * BATCH,
        unit="rows/s",
        against="13 categorical fields",
        repeats=repeats,
    )
    torch.set_num_threads(threads)
    assert figure.ratio is not None
    return [replace(figure, ratio=1 / figure.ratio)]


def ingest_of_numbers() -> list[Figure]:
    """Four million rows of a Parquet file, in two periods."""
    draw = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder:
        columns: dict[str, np.ndarray] = {f"n{i}": draw.lognormal(size=ROWS) for i in range(NUMBERS)}
        columns |= {"t": np.sort(draw.integers(MONDAY, MONDAY + 2 * DAY, ROWS)), "y": draw.integers(0, 2, ROWS)}
        columns |= {"u": draw.integers(0, 200_000, ROWS), "i": draw.integers(0, 50_000, ROWS)}
        pq.write_table(pa.table(columns), Path(folder) / "rows.parquet")
        del columns
        numeric = [f"n{i}" for i in range(NUMBERS)]
        table = TableSettings(time="t", label="y", user=["u"], item=["i"], numeric=numeric)
        stream = StreamSettings(source="table", root=folder, data=f"{folder}/data", table=table)
        taken = seconds(lambda: ingest(stream, IngestSettings(), lambda line: None))
    return [Figure(name="ingest_13_numbers", value=60 * ROWS / taken, unit="rows/min", repeats=1)]
