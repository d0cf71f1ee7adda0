"""The one Ray Train worker group of a run."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import faiss
import ray
import torch
from ray.train import CheckpointConfig, FailureConfig, RunConfig, ScalingConfig
from ray.train.torch import TorchConfig, TorchTrainer

from pkb.errors import Error, RunError, SettingError
from pkb.ranks import Ranks
from simulator.cluster.progress import Teller
from simulator.loop.play import Play
from simulator.loop.simulate import simulate
from simulator.record.layout import RunFolder
from simulator.stream.log import Log

COLLECTIVE_TIMEOUT_S = 600  # a rank that hangs ends the attempt instead of hanging the run


def train(play: Play, log: Log, run: Path, board: Any) -> Path:
    """Play the whole stream and return the folder of the last checkpoint; resumes a run that was killed.

    RunError says what stopped it after `train.max_failures` restarts.
    """
    os.environ.setdefault("RAY_TRAIN_COLLECTIVE_TIMEOUT_S", str(COLLECTIVE_TIMEOUT_S))
    os.environ.setdefault("RAY_TRAIN_HEALTH_CHECK_INTERVAL_S", "0.5")  # a report waits for one
    cores = ray.cluster_resources().get("CPU", 1)
    workers = play.train.workers
    cpus = 1.0 if cores > workers else 0.5 * cores / workers  # Ray Data's reads need the rest
    gpus = play.train.device != "cpu" and ray.cluster_resources().get("GPU", 0) >= workers
    if play.train.device == "cuda" and not gpus:
        raise SettingError(f"train.device=cuda: Ray knows of fewer than {workers} GPUs; write cpu or auto")
    trainer = TorchTrainer(
        _worker,
        train_loop_config={"play": play, "log": log, "run": run, "board": board},
        torch_config=TorchConfig(backend="gloo", timeout_s=COLLECTIVE_TIMEOUT_S),
        scaling_config=ScalingConfig(
            num_workers=workers,
            use_gpu=gpus,
            resources_per_worker={"CPU": cpus} | ({"GPU": 1} if gpus else {}),
        ),
        run_config=RunConfig(
            name="checkpoints",
            storage_path=str(run),
            failure_config=FailureConfig(max_failures=play.train.max_failures),
            checkpoint_config=CheckpointConfig(num_to_keep=2),
        ),
    )
    try:
        result = trainer.fit()
    except Exception as error:
        raise _cause(error) from error
    if result.checkpoint is None:
        raise RunError(f"{run}: training ended without a checkpoint")
    return Path(result.checkpoint.path)


def _worker(config: dict[str, Any]) -> None:
    play: Play = config["play"]
    torch.set_num_threads(play.train.threads or max(1, (os.cpu_count() or 1) // play.train.workers))
    faiss.omp_set_num_threads(torch.get_num_threads())  # Ray gives a worker one
    torch.use_deterministic_algorithms(True)
    tell = Teller(config["board"]) if Ranks.of_process_group().first else _silent
    simulate(play, config["log"], RunFolder(config["run"]), tell)


def _silent(**_: Any) -> None:
    pass


def _cause(error: BaseException) -> Error:
    """Find the error of this project's tree inside what Ray wraps around it, else make a RunError of its text."""
    worker_errors = getattr(error, "worker_failures", None) or {}
    for failure in [*worker_errors.values(), error]:
        node: BaseException | None = failure
        while node is not None:
            if isinstance(node, Error):
                return node
            node = getattr(node, "cause", None) or node.__cause__
    return RunError(f"the training group failed: {' '.join(str(error).split())[-600:]}")
