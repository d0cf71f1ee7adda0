"""Our training step beside FuxiCTR's, on the same rows of one Parquet file, in one process.

FuxiCTR's DeepFM is put together here from its own layers and trained by its own `train_step` with dense Adam, as its
model zoo does it (github.com/reczoo/FuxiCTR). It comes with `pip install '.[comparison]'`.

Shapes: B rows, F fields.
"""

from __future__ import annotations

import statistics
import tempfile
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import cycle, pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from benchmarks.figures import Figure, seconds
from pkb.backbones.base import ClickModel
from pkb.backbones.deepfm import DeepFM
from pkb.batch import Batch, Field, Schema
from pkb.device import Device
from pkb.parameters import tables_of
from pkb.ranks import Ranks
from pkb.seeding import generator
from pkb.step import Optimiser, click_loss
from simulator.measure.ranking import auc

FIELDS, BATCH, WIDTH, HIDDEN = 17, 4096, 16, (400, 400, 400)
SCHEMA = Schema(fields=tuple(Field(name=f"f{i}", role="context") for i in range(FIELDS)), user="f0", item="f1")
MILLION = 1_000_000


@dataclass(frozen=True)
class Rows:
    """Rows of a file: values of each field, counted from 1 within it, and labels."""

    values_BF: torch.Tensor
    label: torch.Tensor
    sizes: tuple[int, ...]  # values of each field

    def ours(self) -> list[Batch]:
        """Minibatches with global ids."""
        starts = torch.tensor(np.cumsum([1 + FIELDS, *self.sizes[:-1]]))
        ids = (self.values_BF - 1 + starts).to(torch.int32)
        whole = Batch(row_id=torch.arange(len(ids)), ids_BF=ids, label=self.label)
        return list(whole.minibatches(BATCH))

    def theirs(self) -> list[dict[str, torch.Tensor]]:
        """Minibatches as FuxiCTR's loader gives them: a tensor a column."""
        columns = {name: self.values_BF[:, i].clone() for i, name in enumerate(SCHEMA.names)} | {"click": self.label}
        return [
            {name: values[start : start + BATCH] for name, values in columns.items()}
            for start in range(0, len(self.label), BATCH)
        ]


def written(file: Path, rows: int, features: int, seed: int) -> tuple[int, ...]:
    """Write a file of rows: fields of sizes from 10 up, popularity by a Zipf law, a logit that adds up over values."""
    draw = np.random.default_rng(seed)
    shape = np.geomspace(10, features, FIELDS)
    sizes = tuple(int(s) for s in np.maximum(2, shape * (features / shape.sum())))
    columns, logit = {}, np.full(rows, -1.5)
    for name, size in zip(SCHEMA.names, sizes, strict=True):
        rank = np.minimum(size ** draw.random(rows), size - 1).astype(np.int64)  # density 1 / rank
        columns[name] = rank + 1
        logit += draw.normal(0, 0.35, size)[rank]
    label = (draw.random(rows) < 1 / (1 + np.exp(-logit))).astype(np.float32)
    pq.write_table(pa.table({**columns, "click": label}), file)
    return sizes


def read(file: Path, sizes: tuple[int, ...]) -> Rows:
    table = pq.read_table(file, partitioning=None)
    values = np.stack([table.column(name).to_numpy() for name in SCHEMA.names], axis=1)
    return Rows(torch.from_numpy(values), torch.tensor(table.column("click").to_numpy()), sizes)


class Ours:
    """DeepFM as an arm trains it: Adam for dense layers, row-wise Adagrad for the table."""

    def __init__(self, rows: Rows, seed: int, precision: str = "auto", ranks: Ranks | None = None) -> None:
        torch.manual_seed(seed)
        self.model = ClickModel(DeepFM(SCHEMA, DeepFM.Settings(width=WIDTH, hidden=HIDDEN)))
        self.model.backbone.grow(1 + FIELDS + sum(rows.sizes), generator(seed, "benchmark"))
        self.optimiser = Optimiser(self.model, ranks=ranks or Ranks())
        self.device = Device.choose("cpu", precision)

    @property
    def table(self) -> torch.Tensor:
        [table] = tables_of(self.model).values()
        return table.weight.data

    def step(self, batch: Batch, of: int | None = None) -> None:
        """One step on this rank's share of a minibatch of `of` rows; on all of it if not told."""
        loss = click_loss(self.model, batch, device=self.device)
        self.optimiser.step(loss * (len(batch) / (of or len(batch))), of or len(batch))

    @torch.inference_mode()
    def predict(self, batches: list[Batch]) -> np.ndarray:
        self.model.eval()
        scores: np.ndarray = torch.cat([torch.sigmoid(self.model(b)) for b in batches]).numpy()
        return scores


class Theirs:
    """FuxiCTR's DeepFM with its defaults: embeddings from N(0, 1e-4), Adam over every weight."""

    def __init__(self, rows: Rows, seed: int, folder: Path) -> None:
        from fuxictr.features import FeatureMap
        from fuxictr.pytorch.layers import FactorizationMachine, FeatureEmbedding, MLP_Block
        from fuxictr.pytorch.models import BaseModel

        class DeepFMOfFuxiCTR(BaseModel):  # type: ignore[misc]
            def __init__(self, features: Any) -> None:
                super().__init__(features, verbose=0, model_root=str(folder), metrics=["AUC"])
                self.embedding_layer = FeatureEmbedding(features, WIDTH)
                self.fm = FactorizationMachine(features)
                self.mlp = MLP_Block(
                    input_dim=FIELDS * WIDTH,
                    output_dim=1,
                    hidden_units=list(HIDDEN),
                    hidden_activations="ReLU",
                    output_activation=None,
                )
                self.compile("adam", "binary_crossentropy", 1e-3)
                self.reset_parameters()

            def forward(self, inputs: Any) -> Any:
                x = self.get_inputs(inputs)
                embedded = self.embedding_layer(x)
                logit = self.fm(x, embedded) + self.mlp(embedded.flatten(start_dim=1))
                return {"y_pred": self.output_activation(logit)}

        torch.manual_seed(seed)
        features = FeatureMap("benchmark", str(folder))
        features.labels, features.num_fields, features.default_emb_dim = ["click"], FIELDS, WIDTH
        features.features = OrderedDict(
            (name, {"source": "", "type": "categorical", "vocab_size": size + 1, "padding_idx": 0})
            for name, size in zip(SCHEMA.names, rows.sizes, strict=True)
        )
        self.model = DeepFMOfFuxiCTR(features)
        self.model._max_gradient_norm = 10.0

    def step(self, batch: dict[str, torch.Tensor]) -> None:
        self.model.train_step(batch)

    @torch.inference_mode()
    def predict(self, batches: list[dict[str, torch.Tensor]]) -> np.ndarray:
        self.model.eval()
        scores: np.ndarray = torch.cat([self.model(b)["y_pred"] for b in batches]).squeeze(1).numpy()
        return scores


def peers(repeats: int = 5) -> list[Figure]:
    """Rows/s at one and at Eleme's 16.5 million features, and ours at several sizes."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        return [
            *against(folder, "train_vs_fuxictr_1m", MILLION, repeats, theirs_steps=10),
            *against(folder, "train_vs_fuxictr_16m", 16_516_885, repeats, theirs_steps=2),
            *sizes(folder, repeats),
        ]


def against(folder: Path, name: str, features: int, repeats: int, theirs_steps: int) -> list[Figure]:
    file = folder / "rows.parquet"
    rows = read(file, written(file, 60 * BATCH, features, seed=0))
    ours, theirs = Ours(rows, 0), Theirs(rows, 0, folder)
    our_steps, their_steps = runner(ours.step, rows.ours(), 20), runner(theirs.step, rows.theirs(), theirs_steps)
    our_steps(), their_steps()
    pairs = [(20 * BATCH / seconds(our_steps), theirs_steps * BATCH / seconds(their_steps)) for _ in range(repeats)]
    return [
        Figure(
            name=name,
            value=statistics.median(o for o, _ in pairs),
            unit="rows/s",
            against=f"FuxiCTR's {statistics.median(t for _, t in pairs):,.0f}",
            ratio=statistics.median(o / t for o, t in pairs),
            repeats=repeats,
        )
    ]


def ceiling(repeats: int = 5) -> list[Figure]:
    """Our step beside its bare matrix products, in float32: what is left to gain without another precision."""
    with tempfile.TemporaryDirectory() as name:
        file = Path(name) / "rows.parquet"
        rows = read(file, written(file, 60 * BATCH, MILLION, seed=0))
    ours = runner(Ours(rows, 0, "float32").step, rows.ours(), 20)
    widths = [FIELDS * WIDTH, *HIDDEN, 1]
    layers = [
        (torch.randn(BATCH, before), torch.randn(before, after), torch.randn(BATCH, after))
        for before, after in pairwise(widths)
    ]

    def products() -> None:
        for _ in range(20):
            for x, weight, gradient in layers:  # forward, and backward to the weight and to the input
                x @ weight, x.T @ gradient, gradient @ weight.T

    ours()
    products()
    pairs = [(20 * BATCH / seconds(ours), 20 * BATCH / seconds(products)) for _ in range(repeats)]
    return [
        Figure(
            name="train_vs_its_products",
            value=statistics.median(o for o, _ in pairs),
            unit="rows/s",
            against=f"the products' {statistics.median(p for _, p in pairs):,.0f}",
            ratio=statistics.median(o / p for o, p in pairs),
            repeats=repeats,
        )
    ]


def runner(step: Callable[[Any], None], batches: list[Any], number: int) -> Callable[[], None]:
    """Takes the next `number` steps at each call."""
    feed: Iterator[Any] = cycle(batches)

    def run() -> None:
        for _ in range(number):
            step(next(feed))

    return run


def sizes(folder: Path, repeats: int) -> list[Figure]:
    """The time of a step at 4 and 16 million features over that at one million."""
    runs = {}
    for millions in (1, 4, 16):
        file = folder / "rows.parquet"
        rows = read(file, written(file, 60 * BATCH, millions * MILLION, seed=0))
        runs[millions] = runner(Ours(rows, 0).step, rows.ours(), 20)
    spent: dict[int, list[float]] = {millions: [] for millions in runs}
    for repeat in range(repeats + 1):
        for millions, run in runs.items():
            took = seconds(run)
            if repeat:
                spent[millions].append(took)
    return [
        Figure(
            name=f"step_{millions}m_vs_1m",
            value=20 * BATCH / statistics.median(spent[millions]),
            unit="rows/s",
            against="1 million features",
            ratio=statistics.median(m / o for m, o in zip(spent[millions], spent[1], strict=True)),
            repeats=repeats,
        )
        for millions in (4, 16)
    ]


def quality(rows: int = 100 * BATCH, seeds: int = 5) -> list[Figure]:
    """AUC after one epoch, less dense Adam's; and in bfloat16 less float32's, where the processor multiplies in it."""
    with tempfile.TemporaryDirectory() as name:
        return differences(Path(name), rows, seeds)


def differences(folder: Path, rows: int, seeds: int) -> list[Figure]:
    """Medians over seeds; the lowest and the highest stand behind `against`."""
    ours, bfloat16 = [], []
    for seed in range(seeds):
        file = folder / "rows.parquet"
        data = read(file, written(file, rows * 5 // 4, MILLION, seed=seed))
        label = data.label[rows:].numpy()

        def reached(model: Any, batches: list[Any], label: np.ndarray = label) -> float:
            for batch in batches[: rows // BATCH]:
                model.step(batch)
            return auc(label, model.predict(batches[rows // BATCH :])).value or 0.0

        theirs = reached(Theirs(data, seed, folder), data.theirs())
        float32 = reached(Ours(data, seed, "float32"), data.ours())
        ours.append(float32 - theirs)
        if Device.choose("cpu", "auto").bfloat16:
            bfloat16.append(reached(Ours(data, seed, "bfloat16"), data.ours()) - float32)
    measured = {"auc_minus_dense_adam": (ours, "FuxiCTR"), "auc_bfloat16_minus_float32": (bfloat16, "float32")}
    return [
        Figure(
            name=name,
            value=statistics.median(values),
            unit="AUC",
            against=f"{against}, {min(values):+.4f} to {max(values):+.4f}",
            repeats=seeds,
        )
        for name, (values, against) in measured.items()
        if values
    ]
