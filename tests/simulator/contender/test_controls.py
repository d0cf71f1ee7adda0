"""What a base learned is worth what it says beyond its controls: each of them must say something else."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from pkb.bases import KNOWLEDGE_BASES
from pkb.batch import Batch
from pkb.knowledge import Knowledge
from pkb.pretrained.base import Pretrained
from pkb.seeding import generator
from retrieval.models import RETRIEVAL_MODELS
from simulator.contender.compression import compress
from simulator.contender.controls import shuffled
from simulator.contender.settings import ArmSettings
from simulator.stream.log import Log
from tests.pkb.neighbours import make_neighbours
from tests.simulator.tiny import SCHEMA, contender_of, tiny_log, tiny_settings

LEARNING = [
    (name, teacher)
    for name, base in KNOWLEDGE_BASES.items()
    if base.stages and not issubclass(base, Pretrained)  # which need histories
    for teacher in (RETRIEVAL_MODELS if base.taught else [None])
]


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Log:
    return tiny_log(tmp_path_factory.mktemp("log"), rows=300)


def met(rows: Batch, teacher: str | None) -> Batch:
    """Give rows the neighbours that a teacher reads."""
    retriever = None if teacher is None else RETRIEVAL_MODELS[teacher].retriever
    if retriever is None:
        return rows
    return replace(rows, neighbours={retriever: make_neighbours(rows, schema=SCHEMA)})


@pytest.mark.parametrize(("name", "teacher"), LEARNING)
def test_a_base_knows_other_things_than_its_controls(tmp_path: Path, log: Log, name: str, teacher: str | None) -> None:
    options = {} if teacher is None else {"teacher": teacher}
    controls = (None, "untrained") if KNOWLEDGE_BASES[name].searches else (None, "untrained", "shuffled")
    arms = {str(control): ArmSettings(knowledge=name, options=options, control=control) for control in controls}
    settings = tiny_settings(tmp_path, arms=arms)
    rows, known = met(log.read(log.periods[0]), teacher), list[Knowledge]()
    for arm in arms:
        contender = contender_of(settings, arm)
        compress(contender, rows, log.periods[0], log.periods[1])
        assert contender.base is not None
        known.append(contender.base.knowledge(rows))
    for i, one in enumerate(known):
        assert all(part.isfinite().all() for part in one.values())
        for other in known[:i]:
            assert any(not torch.allclose(part, other[part_name]) for part_name, part in one.items())


def test_shuffled_rows_keep_how_many_labels_there_are_and_what_each_row_is(log: Log) -> None:
    rows = met(log.read(log.periods[0]), "rim")
    mixed = shuffled(rows, generator(0, "test"))
    assert torch.equal(mixed.ids_BF, rows.ids_BF)
    assert mixed.label.sum() == rows.label.sum()
    assert not torch.equal(mixed.label, rows.label)
    [before], [after] = rows.neighbours.values(), mixed.neighbours.values()
    assert torch.equal(after.ids_BKF, before.ids_BKF)
    assert after.label_BK.sum() == before.label_BK.sum()
    assert not torch.equal(after.label_BK, before.label_BK)
    assert not after.label_BK[~after.present_BK].any()
