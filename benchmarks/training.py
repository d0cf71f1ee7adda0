"""How fast one training step is, and that it does not slow down with the number of features."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from functools import partial

import torch
from torch import nn

from benchmarks.figures import Figure, seconds
from pkb.backbones.base import ClickModel
from pkb.backbones.deepfm import DeepFM
from pkb.batch import Batch, Field, Schema
from pkb.edk import EDK
from pkb.edk.encoder import Encoder
from pkb.step import Optimiser, click_loss

FIELDS, BATCH = 17, 4096
SCHEMA = Schema(fields=tuple(Field(name=f"f{i}", role="context") for i in range(FIELDS)), user="f0", item="f1")


def batch(rows: int, features: int, seed: int) -> Batch:
    """Ids drawn uniformly: the worst case for an update of touched rows."""
    draw = torch.Generator().manual_seed(seed)
    ids = torch.randint(SCHEMA.first_value_id, features, (rows, FIELDS), generator=draw, dtype=torch.int32)
    label = (torch.rand(rows, generator=draw) < 0.1).float()
    return Batch(row_id=torch.arange(rows), ids_BF=ids, label=label)


def deepfm_step(features: int) -> Callable[[], object]:
    """Twenty training steps of DeepFM (width 16, MLP 256-128) on a table of so many rows."""
    torch.manual_seed(0)
    model = ClickModel(DeepFM(SCHEMA, DeepFM.Settings()))
    model.backbone.grow(features, torch.Generator().manual_seed(0))
    optimiser = Optimiser(model)
    batches = [batch(BATCH, features, seed) for seed in range(20)]

    def twenty() -> None:
        for b in batches:
            optimiser.step(click_loss(model, b), len(b))

    return twenty


def step_size(repeats: int) -> list[Figure]:
    one, ten = deepfm_step(1_000_000), deepfm_step(10_000_000)
    one(), ten()
    pairs = [(seconds(one), seconds(ten)) for _ in range(repeats)]
    rate = 20 * BATCH / statistics.median(s for s, _ in pairs)
    ratio = statistics.median(t / o for o, t in pairs)
    return [
        Figure(name="train_1m", value=rate, unit="rows/s", repeats=repeats),
        Figure(
            name="step_10m_vs_1m",
            value=20 * BATCH / statistics.median(t for _, t in pairs),
            unit="rows/s",
            against="train_1m",
            ratio=ratio,
            repeats=repeats,
        ),
    ]


class PlainEncoder(nn.Module):
    """The encoder of EDK as one writes it down first: nn.MultiheadAttention over every masked pattern."""

    def __init__(self, width: int, depth: int, heads: int) -> None:
        super().__init__()
        inner = width * heads  # MultiheadAttention splits its width; this gives each head the full one
        self.widen, self.narrow = nn.Linear(width, inner), nn.Linear(inner, width)
        self.layers = nn.ModuleList(nn.MultiheadAttention(inner, heads, batch_first=True) for _ in range(depth))

    def forward(self, embeddings_BFd: torch.Tensor, masks_BKF: torch.Tensor) -> torch.Tensor:
        x = self.widen((embeddings_BFd.unsqueeze(1) * masks_BKF.unsqueeze(3)).flatten(0, 1))
        for layer in self.layers:
            x = x + layer(x, x, x, need_weights=False)[0]
        pooled: torch.Tensor = self.narrow(x.mean(dim=1))
        return pooled


def edk_encoder(repeats: int) -> list[Figure]:
    """Forward and backward at the paper's size: K=20 patterns, 3 layers, 3 heads, width 8."""
    rows, patterns, width = 256, 20, 8
    torch.manual_seed(0)
    embeddings = torch.randn(rows, FIELDS, width, requires_grad=True)
    masks = torch.rand(rows, patterns, FIELDS, requires_grad=True)
    plain, ours = PlainEncoder(width, 3, 3), Encoder(width, depth=3, heads=3, hidden=32)

    def train(encoder: nn.Module) -> Callable[[], object]:
        return lambda: encoder(embeddings, masks).square().sum().backward()

    train(plain)(), train(ours)()
    pairs = [(seconds(train(plain)), seconds(train(ours))) for _ in range(repeats)]
    return [
        Figure(
            name="edk_encoder_vs_plain",
            value=rows / statistics.median(o for _, o in pairs),
            unit="rows/s",
            against="nn.MultiheadAttention",
            ratio=statistics.median(p / o for p, o in pairs),
            repeats=repeats,
        )
    ]


def compression_step(base: EDK, optimiser: Optimiser, rows: Batch) -> None:
    optimiser.step(base.compression_losses(rows, "compress")["total"], len(rows))


def edk_whole(repeats: int) -> list[Figure]:
    """A whole compression step and a look-up of knowledge, at the paper's size and the demonstration's."""
    figures = []
    for label, settings in [("paper", EDK.Settings()), ("demo", EDK.Settings(patterns=5, depth=2))]:
        torch.manual_seed(0)
        base, rows = EDK(SCHEMA, settings), batch(1024, 100_000, 0)
        base.grow(100_000, torch.Generator().manual_seed(0))
        optimiser = Optimiser(base, base.parameter_groups(1e-3))
        base.train()
        work: dict[str, Callable[[], object]] = {
            "compress": partial(compression_step, base, optimiser, rows),
            "look_up": partial(base.knowledge, rows),
        }
        for name, action in work.items():
            action()
            spent = statistics.median(seconds(action) for _ in range(repeats))
            figures.append(
                Figure(
                    name=f"edk_{name}_{label}",
                    value=len(rows) / spent,
                    unit="rows/s",
                    repeats=repeats,
                )
            )
    return figures
