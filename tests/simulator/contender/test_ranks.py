from __future__ import annotations

import multiprocessing
import os
import socket
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.distributed as dist

from pkb.parameters import tables_of
from pkb.ranks import Ranks
from simulator.contender.learning import fit
from simulator.contender.settings import ArmSettings
from simulator.stream.log import Log
from tests.simulator.tiny import contender_of, tiny_log, tiny_settings


@pytest.mark.parametrize("rows", [0, 1, 2, 7, 128])
def test_shares_are_disjoint_complete_and_equal_but_for_one_row(rows: int) -> None:
    spans = [Ranks(rank, 3).bounds(rows) for rank in range(3)]
    assert [row for start, stop in spans for row in range(start, stop)] == list(range(rows))
    sizes = [stop - start for start, stop in spans]
    assert max(sizes) - min(sizes) <= 1


def play(ranks: Ranks, root: Path) -> tuple[np.ndarray, torch.Tensor]:
    torch.set_num_threads(1)
    log = Log(root / "log")
    settings = tiny_settings(root, arms={"finetune": ArmSettings()})
    settings = replace(settings, train=replace(settings.train, precision="float32"))  # where sums of shares agree
    contender = contender_of(settings, "finetune", 0, ranks)
    tables_of(contender.model)["backbone.table"].new_value_rate = 0  # which rows play a new value is drawn on each rank
    rows = log.read(log.periods[0]).select(slice(0, 513))  # the last minibatch has one row: one rank has none
    fit(contender, rows, log.periods[0])
    return contender.predict(rows), tables_of(contender.model)["backbone.table"].weight.data


def run_rank(rank: int, port: int, root: Path) -> None:
    dist.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=2)
    scores, table = play(Ranks.of_process_group(), root)
    np.savez(root / f"rank-{rank}.npz", scores=scores, table=table)
    dist.barrier()
    os._exit(0)  # gloo's threads sometimes abort a process that tears its group down; the files are written


def test_two_ranks_learn_what_one_learns_and_hold_the_same_tables(tmp_path: Path) -> None:
    tiny_log(tmp_path / "log")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    spawn = multiprocessing.get_context("spawn")
    processes = [spawn.Process(target=run_rank, args=(rank, port, tmp_path)) for rank in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(timeout=120)
        assert process.exitcode == 0
    one, two = (np.load(tmp_path / f"rank-{rank}.npz") for rank in range(2))
    assert np.array_equal(one["table"], two["table"])
    assert np.array_equal(one["scores"], two["scores"])
    alone, _ = play(Ranks(), tmp_path)
    np.testing.assert_allclose(one["scores"], alone, atol=1e-5)
