"""The worker groups of a run: Ray Train starts each, every contender plays in one of them, all on the same rows.

A group that dies is started again from what its contenders have committed, while the others go on. One more process
reads the log and searches for all of them (`loop.commons`).
"""

from __future__ import annotations

import contextlib
import os
import queue
import shutil
import threading
from collections.abc import Callable
from typing import Any

import faiss
import ray
import torch
from ray.exceptions import RayActorError
from ray.train import FailureConfig, RunConfig, ScalingConfig
from ray.train.torch import TorchConfig, TorchTrainer
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from pkb.cores import allowed_cores
from pkb.errors import Error, RunError, SettingError
from pkb.ranks import Ranks
from simulator.cluster.placement import Spread
from simulator.cluster.progress import Teller
from simulator.cluster.shares import lots_of, shared_out
from simulator.cluster.threads import threads_that_pay
from simulator.loop.commons import Commons
from simulator.loop.play import Play
from simulator.loop.shared_files import SharedFiles
from simulator.loop.simulate import simulate
from simulator.record.full_disk import full_disk, largest_period
from simulator.record.groups import Groups, read_groups, write_groups
from simulator.record.layout import RunFolder
from simulator.stream.log import Log

COLLECTIVE_TIMEOUT_S = 600  # a rank that hangs ends the attempt instead of hanging the run
Tell = Callable[[str], None]


def train(play: Play, log: Log, run: RunFolder, board: Any, tell: Tell) -> None:
    """Play what is left of the stream; resumes a run that was killed.

    RunError says what stopped a group after `train.max_failures` restarts.
    """
    keys = [recipe.key for recipe in play.recipes]
    _tidy(run)
    if run.complete_through(keys) == log.periods[-1].index:
        return
    os.environ.setdefault("RAY_TRAIN_COLLECTIVE_TIMEOUT_S", str(COLLECTIVE_TIMEOUT_S))
    os.environ.setdefault("RAY_TRAIN_HEALTH_CHECK_INTERVAL_S", "0.5")
    groups = settle(play, log, run)
    if len(groups.groups) > 1:
        tell(f"{len(groups.groups)} groups of workers share out {len(keys)} contenders")
    files = SharedFiles(run, len(log.schema.fields))
    files.clear()
    shutil.rmtree(run.path / "memory", ignore_errors=True)
    ended: queue.Queue[BaseException | None] = queue.Queue()
    for number, share in enumerate(groups.groups):
        config = {"play": play, "share": share, "log": log, "run": run, "group": number}
        config |= {"board": board, "threads": groups.threads}
        trainer = _trainer(play, run, config, len(groups.groups))
        threading.Thread(target=_play, args=(trainer, ended), daemon=True).start()
    threading.Thread(target=_provide, args=(play, log, run, ended), daemon=True).start()
    for _ in groups.groups:
        if error := ended.get():  # the first of anybody's ends the run
            cause = cause_of(error)
            full = full_disk(str(cause), run.path, needs=largest_period(run), what="a period of this run")
            with contextlib.suppress(OSError):  # there may be no room for that either
                files.fail(full or str(cause))
            raise RunError(f"{run}: {full}") if full else cause from error
    _tidy(run)


def _tidy(run: RunFolder) -> None:
    """Remove what is of no use once nobody plays, or what a killed start has left."""
    for folder in ("shared", "train"):
        shutil.rmtree(run.path / folder, ignore_errors=True)
    for half in run.path.rglob(".*.partial"):
        shutil.rmtree(half) if half.is_dir() else half.unlink()


def settle(play: Play, log: Log, run: RunFolder) -> Groups:
    """Say who plays in which group: as the run has it, unless another number of groups is asked for."""
    keys = [recipe.key for recipe in play.recipes]
    cores = int(ray.cluster_resources().get("CPU", 1))
    if len([node for node in ray.nodes() if node["Alive"]]) == 1:  # Ray may have been promised more than is allowed
        cores = min(cores, allowed_cores())
    wanted = play.train.groups
    lots = lots_of(play, run, len(log.periods))
    number = min(len(lots), max(1, cores // play.train.workers) if wanted == "auto" else int(wanted))
    before = read_groups(run)
    if before is not None and len(before.groups) == number:
        return before
    threads = play.train.threads
    if before is not None:
        threads = before.threads  # they decide how sums are rounded
    elif not threads:
        each = max(1, cores // (number * play.train.workers))
        threads = threads_that_pay(play.recipes[0], play.retrieval, log, each) if number == 1 else 1
    how = (
        "as asked for"
        if wanted != "auto"
        else f"{cores} cores, {len(keys)} contenders, {play.train.workers} workers each"
    )
    groups = Groups(groups=shared_out(lots, number), threads=threads, chosen=how)
    write_groups(run, groups)
    return groups


def _trainer(play: Play, run: RunFolder, config: dict[str, Any], groups: int) -> TorchTrainer:
    workers, everybody = play.train.workers, play.train.workers * groups
    nodes = [node["Resources"].get("CPU", 0.0) for node in ray.nodes() if node["Alive"]]
    # Ray Data wants a whole core of some node for a moment when it begins to read; a core alone is left to it.
    cpus = 0.5 * min(1.0, sum(nodes) / everybody) if max(nodes) >= 2 else 0.0
    gpus = play.train.device != "cpu" and ray.cluster_resources().get("GPU", 0) >= everybody
    if play.train.device == "cuda" and not gpus:
        raise SettingError(f"train.device=cuda: Ray knows of fewer than {everybody} GPUs; write cpu or auto")
    return TorchTrainer(
        _worker,
        train_loop_config=config,
        torch_config=TorchConfig(backend="gloo", timeout_s=COLLECTIVE_TIMEOUT_S),
        scaling_config=ScalingConfig(
            num_workers=workers,
            use_gpu=gpus,
            resources_per_worker={"CPU": cpus, "memory": 1} | ({"GPU": 1} if gpus else {}),  # all zero is refused
        ),
        run_config=RunConfig(
            name=f"group-{config['group']}",
            storage_path=str(run.path / "train"),
            failure_config=FailureConfig(max_failures=play.train.max_failures),
            callbacks=[Spread(config["group"])],  # type: ignore[list-item]  # a controller's
        ),
    )


def _play(trainer: TorchTrainer, ended: queue.Queue[BaseException | None]) -> None:
    try:
        trainer.fit()
    except BaseException as error:
        ended.put(error)
    else:
        ended.put(None)


def _provide(play: Play, log: Log, run: RunFolder, ended: queue.Queue[BaseException | None]) -> None:
    """Keep the commons at work, on this node, until all is provided; its end is nobody's, its failure everybody's."""
    for left in range(play.train.max_failures, -1, -1):
        try:
            here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
            commons = _CommonsActor.options(scheduling_strategy=here).remote(play, log, run)  # type: ignore[attr-defined]
            ray.get(commons.provide.remote())
        except RayActorError as died:  # its process; another one goes on
            if not left:
                ended.put(died)
        except Exception as error:  # Ray itself is gone, too, where the run was interrupted
            ended.put(error)
            return
        else:
            return


@ray.remote(num_cpus=0)
class _CommonsActor:
    """The commons in a process of their own."""

    def __init__(self, play: Play, log: Log, run: RunFolder) -> None:
        self.commons = Commons(play, log, run)

    def provide(self) -> None:
        self.commons.provide()


def _worker(config: dict[str, Any]) -> None:
    torch.set_num_threads(config["threads"])
    faiss.omp_set_num_threads(config["threads"])  # Ray gives a worker one
    torch.use_deterministic_algorithms(True)
    tell = Teller(config["board"], config["group"]) if Ranks.of_process_group().first else _silent
    simulate(config["play"], config["group"], config["share"], config["log"], config["run"], tell)


def _silent(**_: Any) -> None:
    pass


def cause_of(error: BaseException, what: str = "a training group") -> Error:
    """Find the error of this project's tree inside what Ray wraps around it, else a RunError says what failed."""
    worker_errors = getattr(error, "worker_failures", None) or {}
    innermost = error
    for failure in [*worker_errors.values(), error]:
        node: BaseException | None = failure
        while node is not None:
            if isinstance(node, Error):
                return node
            innermost = node if failure is not error else innermost
            node = getattr(node, "cause", None) or node.__cause__
    lines = [line.strip() for line in str(innermost).splitlines() if line.strip()] or [""]
    return RunError(f"{what} failed: {type(innermost).__name__}: {lines[-1][-400:]}")
