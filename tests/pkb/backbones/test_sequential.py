from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from pkb.backbones import BACKBONES
from pkb.backbones.base import Backbone
from pkb.backbones.din import DIN
from pkb.backbones.pretrained import SequenceNetwork
from pkb.errors import SettingError
from tests.pkb.backbones.check_backbone import SCHEMA, Case, make_rows

READS_HISTORIES = [name for name, backbone in BACKBONES.items() if backbone.uses_histories]
PRETRAINED = {name for name in READS_HISTORIES if issubclass(BACKBONES[name], SequenceNetwork)}  # read one history


def make(backbone: type[Backbone]) -> Backbone:
    return Case(backbone).make_lively().backbone


@pytest.mark.parametrize("name", sorted({*READS_HISTORIES} - {"keep"}))  # which does without
def test_a_log_without_histories_is_refused_with_what_to_do(name: str) -> None:
    backbone = BACKBONES[name]
    with pytest.raises(SettingError, match=f"{backbone.__name__} .* history.* stream.table.histories"):
        backbone(replace(SCHEMA, histories=()), backbone.Settings())


@pytest.mark.parametrize("name", sorted({*READS_HISTORIES} - PRETRAINED))
def test_every_history_counts(name: str) -> None:
    model, rows = make(BACKBONES[name]).eval(), make_rows()
    for history in SCHEMA.histories:
        without = replace(rows, histories=rows.histories | {history.name: torch.zeros(len(rows), 1, dtype=torch.int32)})
        has_past = (rows.histories[history.name] != 0).any(dim=1)
        changed = ~torch.isclose(model(without), model(rows))
        assert changed[has_past].all()
        assert not changed[~has_past].any()


def test_a_history_is_asked_about_the_value_of_its_field() -> None:
    model, rows = make(DIN), make_rows()
    assert isinstance(model, DIN)
    seen: list[torch.Tensor] = []
    for interest in model.interests:
        interest.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].target_BD))
    model(rows)
    for target, history in zip(seen, SCHEMA.histories, strict=True):
        ids = rows.ids_BF[:, SCHEMA.names.index(history.field)]
        torch.testing.assert_close(target, model.table.weight[ids.long()])


@pytest.mark.parametrize("name", ["dien", "hpmn", "mimn"])
def test_the_auxiliary_loss_is_for_training_alone(name: str) -> None:
    model, rows = make(BACKBONES[name]), make_rows()
    assert model.eval().with_auxiliary(rows)[1] is None
    loss = model.train().with_auxiliary(rows)[1]
    assert loss is not None
    assert loss > 0
    loss.backward()


def test_most_models_have_no_auxiliary_loss() -> None:
    logits, loss = make(DIN).eval().with_auxiliary(make_rows())
    assert loss is None
    torch.testing.assert_close(logits, make(DIN).eval()(make_rows()))


@pytest.mark.parametrize("name", READS_HISTORIES)
def test_matrix_products_may_be_in_bfloat16(name: str) -> None:
    model, rows = make(BACKBONES[name]).train(), make_rows()
    with torch.autocast("cpu", torch.bfloat16):
        logits, auxiliary = model.with_auxiliary(rows)
    loss = logits.float().sum() + (0 if auxiliary is None else auxiliary.float())
    loss.backward()
    assert loss.isfinite()
