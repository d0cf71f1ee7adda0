"""What a period predicted and cost is read as it was noted, a contender at a time."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from simulator.loop.book import Book, write_ledger
from simulator.record.costs import ArmCosts, read_costs
from simulator.record.experiment import ArmAndSeed, key_of
from simulator.record.files import write_text
from simulator.record.layout import RunFolder
from simulator.record.predictions import BEST_ATTAINABLE, read_predictions
from simulator.stream.shown import Activity, Shown, shown
from tests.simulator.tiny import tiny_log

FACTS = {
    "reads": [],
    "knowledge_bytes": 0,
    "memory_bytes": {},
    "checkpoint_bytes": 1,
    "dense_builds": [],
    "notes": {},
    "lesson": None,
}


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    return RunFolder(tmp_path / "run")


def period(run: RunFolder) -> tuple[Book, Shown]:
    log = tiny_log(run.path.parent / "log", periods=1)
    [first] = log.periods
    now = shown(log.read(first), log.schema, first.start, log.vocabulary_before(first), Activity().counts())
    return Book(run, first, now, gap_seconds=0.5, since=0.0), now


def commit(book: Book, *everyone: ArmAndSeed, stopped: str | None = None) -> list[str]:
    """Write and commit what the book has of these; give their keys."""
    for who in everyone:
        costs = ArmCosts(arm=who[0], seed=who[1], stopped=stopped, **FACTS)  # type: ignore[arg-type]
        book.write(costs, key_of(who))
        book.run.contender(key_of(who)).mkdir(parents=True)
        write_text(book.run.committed_file(key_of(who)), str(book.period.index))
    return [key_of(who) for who in everyone]


def test_predictions_are_read_as_they_were_noted(run: RunFolder) -> None:
    book, now = period(run)
    probability = np.linspace(0.1, 0.9, len(now.rows)).astype(np.float32)
    everyone = [("b", 0), ("a", 1), ("a", 0)]
    for who in everyone:
        book.predicted(who, -1, 0, now, probability, holdout=False)
    keys = commit(book, *everyone, ("silent", 0))
    book.write_best()
    assert not run.predictions(0, f"{BEST_ATTAINABLE}-0").exists(), "nobody noted them"
    [pieces] = read_predictions(run, keys)
    assert [(p.arm, p.seed, p.trained_through, p.holdout) for p in pieces] == [
        ("a", 0, -1, False),
        ("a", 1, -1, False),
        ("b", 0, -1, False),
    ]
    for p in pieces:
        assert np.array_equal(p.row_id, now.rows.row_id.numpy())
        assert np.array_equal(p.probability, probability)
        assert p.request is not None
        assert p.scenario is None


def test_the_best_attainable_predictions_are_read_beside_the_others(run: RunFolder) -> None:
    book, now = period(run)
    probability = np.full(len(now.rows), 0.5, np.float32)
    for who in (("z", 0), (BEST_ATTAINABLE, 0)):
        book.predicted(who, -1, 0, now, probability, holdout=False)
    book.write_best()
    [pieces] = read_predictions(run, commit(book, ("z", 0)))
    assert [p.arm for p in pieces] == [BEST_ATTAINABLE, "z"]


def test_a_stage_is_charged_in_full_to_each_who_takes_part_and_adds_up(run: RunFolder) -> None:
    book, now = period(run)
    one, other = ("finetune", 0), ("finetune", 1)
    with book.stage([one, other], "retrieve") as charge:
        charge(7)
        charge(3)
    with book.stage([one], "retrieve") as charge:
        charge(5)
    with book.stage([one], "learn"):
        pass
    book.charge(one, "predict", seconds=2.0, cpu_seconds=1.5, rows=4)
    book.charge(one, "predict", seconds=1.0, cpu_seconds=0.5, rows=3)
    keys = [*commit(book, one), *commit(book, other, stopped="loss was nan"), *commit(book, ("frozen", 0))]
    [costs] = read_costs(run, keys)
    first, second, third = costs.arms
    assert (costs.rows, costs.positives) == (len(now.rows), int(now.rows.label.sum()))
    assert {name: stage.rows for name, stage in first.stages.items()} == {"retrieve": 15, "learn": 0, "predict": 7}
    assert (first.stages["predict"].seconds, first.stages["predict"].cpu_seconds) == (3.0, 2.0)
    assert {name: stage.rows for name, stage in second.stages.items()} == {"retrieve": 10}
    assert first.stages["retrieve"].seconds > second.stages["retrieve"].seconds > 0
    assert (first.gap_seconds, first.commit) == (0.5, second.commit)
    assert first.wall_seconds > 0
    assert second.stopped == "loss was nan"
    assert third.stages == {}


def busy(seconds: float) -> None:
    until = time.thread_time() + seconds
    while time.thread_time() < until:
        pass


@pytest.mark.parametrize(("threads", "least", "most"), [(1, 0.05, 0.14), (2, 0.15, 1.0)])
def test_cpu_seconds_leave_out_waiting_and_know_of_the_threads_that_operators_use(
    run: RunFolder, threads: int, least: float, most: float
) -> None:
    book, _ = period(run)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        with book.stage([("a", 0)], "learn"):
            busy(0.05)
            time.sleep(0.1)
            beside = threading.Thread(target=busy, args=(0.1,))
            beside.start()
            beside.join()
    finally:
        torch.set_num_threads(before)
    spent = book.spent["a", 0]["learn"]
    assert least <= spent.cpu_seconds < most
    assert spent.seconds >= 0.25


def test_a_rank_writes_a_ledger_only_of_what_it_has_learned(run: RunFolder) -> None:
    write_ledger(run, 4, "a-b-2", [], rank=1)
    assert not run.ledger(4, "a-b-2", 1).exists()
    write_ledger(run, 4, "a-b-2", [torch.tensor([3, 1]), torch.tensor([3])], rank=1)
    rows = [tuple(row.values()) for row in pq.read_table(run.ledger(4, "a-b-2", 1)).to_pylist()]
    assert rows == [("a-b", 2, 3), ("a-b", 2, 1), ("a-b", 2, 3)]
