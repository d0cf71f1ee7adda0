"""What a period predicted and cost is read as it was noted."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from simulator.loop.book import Book, write_ledger
from simulator.record.costs import ArmCosts, read_costs
from simulator.record.layout import RunFolder
from simulator.record.predictions import read_predictions
from simulator.stream.shown import Activity, Shown, shown
from tests.simulator.tiny import tiny_log

FACTS = {"reads": [], "knowledge_bytes": 0, "memory_bytes": {}, "checkpoint_bytes": 1, "dense_builds": [], "notes": {}}


def facts(arm: str, seed: int, stopped: str | None = None) -> ArmCosts:
    return ArmCosts(arm=arm, seed=seed, stopped=stopped, **FACTS)  # type: ignore[arg-type]


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    return RunFolder(tmp_path / "run")


def period(folder: Path) -> tuple[Book, Shown]:
    log = tiny_log(folder / "log", periods=1)
    [first] = log.periods
    now = shown(log.read(first), log.schema, first.start, log.vocabulary_before(first), Activity().counts())
    return Book(first, now, gap_seconds=0.5, since=0.0), now


def test_predictions_are_read_as_they_were_noted(run: RunFolder, tmp_path: Path) -> None:
    book, now = period(tmp_path)
    probability = np.linspace(0.1, 0.9, len(now.rows)).astype(np.float32)
    for arm, seed in (("b", 0), ("a", 1), ("a", 0)):
        book.predicted(arm, seed, -1, 0, now, probability, holdout=False)
    book.write(run, [])
    [pieces] = read_predictions(run)
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


def test_a_stage_is_charged_in_full_to_each_who_takes_part_and_adds_up(run: RunFolder, tmp_path: Path) -> None:
    book, now = period(tmp_path)
    one, other = ("finetune", 0), ("finetune", 1)
    with book.stage([one, other], "retrieve") as charge:
        charge(7)
        charge(3)
    with book.stage([one], "retrieve") as charge:
        charge(5)
    with book.stage([one], "learn"):
        pass
    book.write(run, [facts(*one), facts(*other, "loss was nan"), facts("frozen", 0)])
    [costs] = read_costs(run)
    first, second, third = costs.arms
    assert (costs.rows, costs.positives) == (len(now.rows), int(now.rows.label.sum()))
    assert {name: stage.rows for name, stage in first.stages.items()} == {"retrieve": 15, "learn": 0}
    assert {name: stage.rows for name, stage in second.stages.items()} == {"retrieve": 10}
    assert first.stages["retrieve"].seconds > second.stages["retrieve"].seconds > 0
    assert second.stopped == "loss was nan"
    assert third.stages == {}


def test_a_rank_writes_a_ledger_only_of_what_it_has_learned(run: RunFolder) -> None:
    write_ledger(run, 4, [], rank=1)
    assert not run.ledger(4, 1).exists()
    write_ledger(run, 4, [("a", 0, torch.tensor([3, 1])), ("b", 2, torch.tensor([3]))], rank=1)
    rows = [tuple(row.values()) for row in pq.read_table(run.ledger(4, 1)).to_pylist()]
    assert rows == [("a", 0, 3), ("a", 0, 1), ("b", 2, 3)]
