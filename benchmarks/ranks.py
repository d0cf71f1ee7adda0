"""Two Ray Train workers beside two processes of plain `torchrun`, on the same model and rows.

Each process trains the same steps with one thread; only what starts them differs.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from ray.train import RunConfig, ScalingConfig
from ray.train.torch import TorchConfig, TorchTrainer

from benchmarks.figures import Figure
from benchmarks.peers import BATCH, MILLION, Ours, read, written
from pkb.ranks import Ranks
from simulator.cluster.session import ray_session

WORKERS, WARM_UP, STEPS = 2, 5, 40


def trained(config: dict[str, Any]) -> None:
    """Within a process group: train, and leave rows/s in a file; every rank must end with the same table."""
    torch.set_num_threads(1)
    ranks, file = Ranks.of_process_group(), Path(config["file"])
    rows = read(file, tuple(config["sizes"]))
    ours = Ours(rows, 0, ranks=ranks)
    for step, batch in enumerate(rows.ours()[: WARM_UP + STEPS]):
        if step == WARM_UP:
            dist.barrier()
            started = time.perf_counter()
        ours.step(ranks.share(batch), of=len(batch))
    dist.barrier()
    spent = time.perf_counter() - started
    tables = [torch.zeros(1, dtype=torch.float64) for _ in range(ranks.world)]
    dist.all_gather(tables, ours.table.double().sum().reshape(1))
    assert tables[0] == tables[1], "the ranks' tables differ"
    if ranks.first:
        Path(config["answer"]).write_text(json.dumps(STEPS * BATCH / spent), encoding="utf-8")


def under_ray(config: dict[str, Any]) -> float:
    TorchTrainer(
        trained,
        train_loop_config=config,
        torch_config=TorchConfig(backend="gloo"),
        scaling_config=ScalingConfig(num_workers=WORKERS, resources_per_worker={"CPU": 0.9}),
        run_config=RunConfig(storage_path=str(Path(config["file"]).parent / "ray")),
    ).fit()
    return float(json.loads(Path(config["answer"]).read_text(encoding="utf-8")))


def under_torchrun(config: dict[str, Any]) -> float:
    words = [sys.executable, "-m", "torch.distributed.run", f"--nproc-per-node={WORKERS}", "-m", "benchmarks.ranks"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    subprocess.run([*words, json.dumps(config)], check=True, env=environment, capture_output=True)
    return float(json.loads(Path(config["answer"]).read_text(encoding="utf-8")))


def ranks(repeats: int = 3) -> list[Figure]:
    with tempfile.TemporaryDirectory() as folder, ray_session(None):
        file = Path(folder) / "rows.parquet"
        sizes = written(file, (WARM_UP + STEPS) * BATCH, MILLION, seed=0)
        config = {"file": str(file), "sizes": sizes, "answer": str(Path(folder) / "answer.json")}
        pairs = [(under_ray(config), under_torchrun(config)) for _ in range(repeats)]
    return [
        Figure(
            name="ray_vs_torchrun",
            value=statistics.median(r for r, _ in pairs),
            unit="rows/s",
            against=f"torchrun's {statistics.median(t for _, t in pairs):,.0f}",
            ratio=statistics.median(r / t for r, t in pairs),
            repeats=repeats,
        )
    ]


if __name__ == "__main__":
    dist.init_process_group("gloo")
    trained(json.loads(sys.argv[1]))
