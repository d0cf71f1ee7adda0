"""Every model and every knowledge base computes on a GPU what it computes on a CPU, and learns there."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pkb.backbones import BACKBONES
from pkb.backbones.base import ClickModel, FittedBackbone
from pkb.bases import KNOWLEDGE_BASES
from pkb.batch import Batch
from pkb.device import Device
from pkb.parameters import tables_of
from pkb.step import Optimiser, click_loss
from retrieval.models import RETRIEVAL_MODELS
from simulator.contender.compression import compress
from simulator.contender.learning import fit
from simulator.contender.settings import ArmSettings
from tests.pkb.backbones.check_backbone import IDS, SCHEMA, make_rows
from tests.pkb.neighbours import make_neighbours
from tests.simulator.tiny import contender_of, tiny_log, tiny_settings

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="torch finds no GPU on this machine")
MODELS: dict[str, Any] = {n: m for n, m in (BACKBONES | RETRIEVAL_MODELS).items() if not issubclass(m, FittedBackbone)}
BASES: list[tuple[str, str | None]] = [
    *((name, None) for name, base in KNOWLEDGE_BASES.items() if not base.taught),
    *(("rok", teacher) for teacher in RETRIEVAL_MODELS),
    ("retrieved", "rim"),
]


def rows_for(retriever: str | None) -> Batch:
    rows = make_rows(64)
    near = replace(make_neighbours(rows), idf_BF=torch.ones(len(rows), len(SCHEMA.fields)))
    return rows if retriever is None else replace(rows, neighbours={retriever: near})


GPU = Device(name="cuda")


@pytest.mark.parametrize("name", MODELS)
def test_a_model_scores_and_learns_on_a_gpu(name: str) -> None:
    torch.manual_seed(0)
    model = MODELS[name](SCHEMA, MODELS[name].Settings())
    model.grow(IDS, torch.Generator().manual_seed(0))
    rows = rows_for(model.retriever)
    model.meet(rows, torch.Generator().manual_seed(0))
    there = deepcopy(model).cuda()
    moved = GPU.place(rows)
    before = there.eval()(moved)
    torch.testing.assert_close(before.cpu(), model.eval()(rows), atol=1e-5, rtol=0)
    optimiser, model_there = Optimiser(there), ClickModel(there.train())
    optimiser.step(click_loss(model_there, moved, device=Device.choose("auto", "auto")), len(moved))
    assert not torch.equal(there.eval()(moved), before)


@pytest.mark.parametrize(("name", "teacher"), BASES)
def test_a_base_is_compressed_and_knows_the_same_on_a_gpu(name: str, teacher: str | None) -> None:
    torch.manual_seed(0)
    cls: Any = KNOWLEDGE_BASES[name]
    taught_by = [] if teacher is None else [MODELS[teacher](SCHEMA, MODELS[teacher].Settings())]
    base = cls(SCHEMA, cls.Settings(), *taught_by)
    base.grow(IDS, torch.Generator().manual_seed(0))
    rows, there = rows_for(base.retriever), deepcopy(base).cuda()
    moved = GPU.place(rows)
    for one, other in ((base, rows), (there, moved)):
        one.standardise(other)
    known, known_there = base.knowledge(rows), there.knowledge(moved)
    for name, part in known.items():  # standardised: in units of what varies
        torch.testing.assert_close(known_there[name].cpu(), part, atol=1e-3, rtol=0)
    optimiser = Optimiser(there.train(), there.parameter_groups(1e-3))
    for stage in base.stages:
        optimiser.step(there.compression_losses(moved, stage)["total"], len(moved))
    assert all(torch.isfinite(torch.tensor(list(there.health(moved).values()))))


def test_a_contender_learns_and_predicts_on_a_gpu_as_on_a_cpu(tmp_path: Path) -> None:
    log = tiny_log(tmp_path / "log")
    first, second = log.periods[:2]
    scores = []
    for device in ("cpu", "cuda"):
        settings = tiny_settings(tmp_path, arms={"edk": ArmSettings(knowledge="edk", control="untrained")})
        settings = replace(settings, train=replace(settings.train, device=device, precision="float32"))
        contender = contender_of(settings, "edk")
        for table in tables_of(contender.model).values():
            table.new_value_rate = 0  # which rows play a new value is drawn on each device
        fit(contender, log.read(first), first)
        compress(contender, log.read(first), first, second)
        fit(contender, log.read(second), second)
        assert next(contender.model.parameters()).device.type == device
        scores.append(contender.predict(log.read(log.periods[2])))
    np.testing.assert_allclose(scores[1], scores[0], atol=1e-3)
