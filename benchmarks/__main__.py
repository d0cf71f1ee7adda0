"""`make bench`: measures what the README claims, writes `results.json` and a table beside it.

Each figure is a median over interleaved repeats within this one process; ratios are taken repeat by repeat.
"""

from __future__ import annotations

import json
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import torch
from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits

from pkb.backbones.deepfm import DeepFM
from pkb.batch import Batch, Field, Schema
from pkb.edk import EDK
from pkb.edk.encoder import Encoder
from pkb.plug import ClickModel
from simulator.session import ray_session
from simulator.settings import ArmSettings, Settings, StreamSettings
from simulator.stream.ingest import ingest
from simulator.stream.replay import replay
from simulator.train.ranks import Ranks
from simulator.train.steps import Steps, dense_parameters

HERE = Path(__file__).parent
FIELDS, BATCH = 17, 4096
SCHEMA = Schema(fields=tuple(Field(name=f"f{i}", role="context") for i in range(FIELDS)), user="f0", item="f1")


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One measurement; `ratio` is value / against's value."""

    name: str
    value: float
    unit: str
    against: str | None
    ratio: float | None
    repeats: int


def batch(rows: int, features: int, seed: int) -> Batch:
    """Ids drawn uniformly: the worst case for an update of touched rows."""
    draw = torch.Generator().manual_seed(seed)
    ids = torch.randint(SCHEMA.first_value_id, features, (rows, FIELDS), generator=draw, dtype=torch.int32)
    label = (torch.rand(rows, generator=draw) < 0.1).float()
    return Batch(row_id=torch.arange(rows), ids_BF=ids, label=label)


def seconds(action: Callable[[], object]) -> float:
    started = time.perf_counter()
    action()
    return time.perf_counter() - started


def deepfm_step(features: int) -> Callable[[], object]:
    """Twenty training steps of DeepFM (width 16, MLP 256-128) on a table of so many rows."""
    torch.manual_seed(0)
    model = ClickModel(DeepFM(SCHEMA, DeepFM.Settings()))
    model.backbone.grow(features, torch.Generator().manual_seed(0))
    steps = Steps(model, [{"params": dense_parameters(model), "lr": 1e-3}], 0.02, Ranks())
    batches = [batch(BATCH, features, seed) for seed in range(20)]

    def twenty() -> None:
        for b in batches:
            steps.step(binary_cross_entropy_with_logits(model(b), b.label))

    return twenty


def step_size(repeats: int) -> list[Figure]:
    one, ten = deepfm_step(1_000_000), deepfm_step(10_000_000)
    one(), ten()
    pairs = [(seconds(one), seconds(ten)) for _ in range(repeats)]
    rate = 20 * BATCH / statistics.median(s for s, _ in pairs)
    ratio = statistics.median(t / o for o, t in pairs)
    return [
        Figure(name="train_1m", value=rate, unit="rows/s", against=None, ratio=None, repeats=repeats),
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


def compression_step(base: EDK, steps: Steps, rows: Batch) -> None:
    steps.step(base.compression_losses(rows)["total"])


def edk_whole(repeats: int) -> list[Figure]:
    """A whole compression step and a look-up of knowledge, at the paper's size and the demonstration's."""
    figures = []
    for label, settings in [("paper", EDK.Settings()), ("demo", EDK.Settings(patterns=5, depth=2))]:
        torch.manual_seed(0)
        base, rows = EDK(SCHEMA, settings), batch(1024, 100_000, 0)
        base.grow(100_000, torch.Generator().manual_seed(0))
        steps = Steps(base, base.parameter_groups(1e-3), 0.02, Ranks())
        base.train()
        work: dict[str, Callable[[], object]] = {
            "compress": partial(compression_step, base, steps, rows),
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
                    against=None,
                    ratio=None,
                    repeats=repeats,
                )
            )
    return figures


def period_gap() -> list[Figure]:
    """What lies between two periods of a replay through Ray Data, while nothing else runs."""
    with tempfile.TemporaryDirectory() as folder, ray_session(None):
        arms = {"finetune": ArmSettings()}
        settings = Settings(name="bench", arms=arms, stream=StreamSettings(data=folder))
        log, gaps = ingest(settings, print), []
        periods = replay(log)
        next(periods)
        while True:
            started = time.perf_counter()
            if next(periods, None) is None:
                break
            gaps.append(time.perf_counter() - started)
    gap = statistics.median(gaps)
    return [Figure(name="period_gap_seconds", value=gap, unit="s", against=None, ratio=None, repeats=len(gaps))]


def main() -> None:
    torch.set_num_threads(2)
    repeats = 9
    figures = [*step_size(repeats), *edk_encoder(repeats), *edk_whole(repeats), *period_gap()]
    commit = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=False, cwd=HERE)
    written = {
        "date": datetime.now(UTC).date().isoformat(),
        "machine": f"{platform.processor() or platform.machine()}, {torch.get_num_threads()} threads",
        "commit": commit.stdout.strip(),
        "results": [asdict(figure) for figure in figures],
    }
    (HERE / "results.json").write_text(json.dumps(written, indent=1) + "\n")
    lines = ["| name | value | unit | against | ratio | repeats |", "|---|---|---|---|---|---|"]
    for f in figures:
        ratio = "" if f.ratio is None else f"{f.ratio:.2f}"
        lines.append(f"| {f.name} | {f.value:,.4g} | {f.unit} | {f.against or ''} | {ratio} | {f.repeats} |")
    table = "\n".join(lines)
    (HERE / "results.md").write_text(f"Measured {written['date']} by `make bench`.\n\n{table}\n")
    sys.stdout.write(table + "\n")


if __name__ == "__main__":
    main()
