from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from pkb.backbones.base import ClickModel, enter
from pkb.backbones.dnn import DNN
from pkb.knowledge import Knowledge, Part
from pkb.parameters import dense_parameters
from pkb.plug import (
    PLUGS,
    AddedToHidden,
    Both,
    ExtraFields,
    Gate,
    JoinedFields,
    JoinedMixtures,
    Plugged,
    make_plug,
    sockets_for,
)
from tests.pkb.backbones.check_backbone import IDS, SCHEMA, make_rows, stir

ROW = Part(name="row", vectors=3, width=5, fields=SCHEMA.names)
USER = Part(name="user", vectors=1, width=6, fields=("user",))
OF_FIELDS = Part(name="values", vectors=4, width=2, fields=SCHEMA.names, of_fields=True)
KINDS = [(ROW,), (ROW, OF_FIELDS), (USER, ROW), (USER, ROW, OF_FIELDS)]
DRAW = torch.Generator().manual_seed(0)
KNOWLEDGE = {part.name: torch.randn(6, part.vectors, part.width, generator=DRAW) for part in (ROW, OF_FIELDS, USER)}
VECTORS, FEATURES = KNOWLEDGE["row"], KNOWLEDGE["values"]


def plugged_model(plug: str, parts: Sequence[Part] = (ROW, OF_FIELDS)) -> ClickModel:
    torch.manual_seed(0)
    sockets = sockets_for(plug, parts, layer=1)
    backbone = DNN(SCHEMA, DNN.Settings(width=4, hidden=(7,)), sockets)
    backbone.grow(IDS, torch.Generator().manual_seed(0))
    widths = {"embedding_width": backbone.embedding_width, "hidden_width": backbone.hidden_width}
    return ClickModel(backbone, make_plug(plug, parts, fields=len(SCHEMA.fields), **widths)).eval()


@pytest.mark.parametrize("parts", KINDS, ids=lambda parts: "+".join(part.name for part in parts))
@pytest.mark.parametrize("plug", PLUGS)
def test_a_new_plug_leaves_scores_as_they_were(plug: str, parts: Sequence[Part]) -> None:
    model, rows = plugged_model(plug, parts), make_rows(6)
    assert torch.equal(model(rows, KNOWLEDGE), model(rows))


@pytest.mark.parametrize("parts", KINDS, ids=lambda parts: "+".join(part.name for part in parts))
@pytest.mark.parametrize("plug", PLUGS)
def test_a_plug_learns_to_use_knowledge_that_tells_the_label(plug: str, parts: Sequence[Part]) -> None:
    model, rows, label = plugged_model(plug, parts), make_rows(6), torch.tensor([0.0, 1.0] * 3)
    tells = 3 * label[:, None, None]
    knowledge: Knowledge = {name: part + tells for name, part in KNOWLEDGE.items()}
    adam = torch.optim.Adam(dense_parameters(model), lr=0.05)
    for _ in range(40):
        adam.zero_grad()
        nn.functional.binary_cross_entropy_with_logits(model(rows, knowledge), label).backward()
        adam.step()
    scores = model(rows, knowledge)
    assert scores[label == 1].min() > scores[label == 0].max()


def test_extra_fields_map_each_vector_by_itself() -> None:
    plug = stir(ExtraFields([ROW], 4))
    together = plug(KNOWLEDGE).fields_BKD
    alone = torch.cat([plug({"row": VECTORS[:, k : k + 1]}).fields_BKD for k in range(3)], dim=1)
    assert together.shape == (6, 3, 4)
    torch.testing.assert_close(together, alone)


def test_joined_columns_are_a_fields_own_mixture_mapped_linearly() -> None:
    plug = stir(JoinedMixtures([ROW], fields=4))
    mixed = torch.einsum("fk,bkd->bfd", plug.mixtures_FK[0], VECTORS)
    torch.testing.assert_close(plug(KNOWLEDGE).joined_BFJ, plug.adapt[0](mixed))


def test_with_one_vector_a_field_each_field_starts_with_its_own() -> None:
    four, two = (Part(name="row", vectors=vectors, width=5, fields=()) for vectors in (4, 2))
    assert torch.equal(JoinedMixtures([four], fields=4).mixtures_FK[0].detach(), torch.eye(4))
    assert torch.equal(JoinedMixtures([two], fields=4).mixtures_FK[0].detach(), torch.full((4, 2), 0.5))


def test_a_part_with_a_vector_for_each_field_is_joined_to_each_fields_embedding() -> None:
    plug = stir(make_plug("join", (ROW, OF_FIELDS), fields=4, embedding_width=4, hidden_width=7))
    assert isinstance(plug, JoinedFields)
    torch.testing.assert_close(plug(KNOWLEDGE).joined_BFJ, plug.adapt[0](FEATURES))
    assert sockets_for("join", (ROW, OF_FIELDS), layer=1).joined == 2
    assert sockets_for("join", (ROW,), layer=1).joined == 5


def test_parts_of_several_widths_enter_one_beside_the_other() -> None:
    parts = (USER, ROW, OF_FIELDS)
    assert sockets_for("fields", parts, layer=1).fields == 1 + 3
    assert sockets_for("join", (USER, ROW), layer=1).joined == 6 + 5
    assert sockets_for("columns", parts, layer=1).columns == 6 + 15
    hidden = stir(AddedToHidden([USER, ROW], 7))
    each = hidden.adapted(KNOWLEDGE[part.name].flatten(1) for part in (USER, ROW))
    torch.testing.assert_close(hidden(KNOWLEDGE).added_BH, each[0] + each[1])  # KEEP, eq. 5


def test_both_plugs_at_once_fill_the_sockets_of_each() -> None:
    both = stir(make_plug("fields+join", (ROW, OF_FIELDS), fields=4, embedding_width=4, hidden_width=7))
    assert isinstance(both, Both)
    plugged, extra, joined = both(KNOWLEDGE), both.one(KNOWLEDGE), both.other(KNOWLEDGE)
    assert torch.equal(plugged.fields_BKD, extra.fields_BKD)
    assert torch.equal(plugged.joined_BFJ, joined.joined_BFJ)
    assert plugged.added_BH is plugged.gate_BH is plugged.columns_BX is None
    sockets = sockets_for("fields+join", (ROW, OF_FIELDS), layer=2)
    assert sockets == replace(
        sockets_for("fields", (ROW, OF_FIELDS), layer=2), joined=sockets_for("join", (ROW, OF_FIELDS), layer=2).joined
    )


def test_two_plugs_at_once_score_as_each_alone_where_the_other_is_new() -> None:
    model, rows = plugged_model("fields+join"), make_rows(6)
    assert isinstance(model.plug, Both)
    stir(model.backbone)
    stir(model.plug.one)
    only_fields = model.backbone(rows, model.plug.one(KNOWLEDGE))
    torch.testing.assert_close(model(rows, KNOWLEDGE), only_fields)
    stir(model.plug.other)
    assert not torch.isclose(model(rows, KNOWLEDGE), only_fields).any()


def test_a_gate_lies_between_zero_and_two() -> None:
    plug = stir(Gate([ROW], 7))
    gate = plug({"row": 100 * VECTORS}).gate_BH
    assert gate.shape == (6, 7)
    assert gate.min() >= 0
    assert gate.max() <= 2
    assert gate.max() - gate.min() > 1


def test_a_hidden_layer_is_first_gated_then_added_to() -> None:
    hidden, gate, added = torch.randn(3, 6, 7, generator=torch.Generator().manual_seed(1))
    entered = enter(hidden, Plugged(gate_BH=gate, added_BH=added))
    torch.testing.assert_close(entered, hidden * gate + added)
    assert torch.equal(enter(hidden, Plugged()), hidden)


@pytest.mark.parametrize(("plug", "hidden_width"), [(AddedToHidden, 1), (Gate, 1)])
def test_a_socket_of_width_one_does_not_make_the_adapter_as_narrow(
    plug: type[AddedToHidden | Gate], hidden_width: int
) -> None:
    first = plug([ROW], hidden_width).adapt[0][0]  # type: ignore[index]
    assert isinstance(first, nn.Linear)
    assert first.out_features == 5


def test_an_unknown_plug_is_refused() -> None:
    with pytest.raises(ValueError, match="socket"):
        make_plug("socket", (ROW,), fields=4, embedding_width=4, hidden_width=7)


def test_joined_and_extra_columns_sit_behind_the_embeddings() -> None:
    model = plugged_model("join", (ROW,)).backbone
    v: Tensor = torch.randn(6, 4, 4)
    joined = torch.randn(6, 4, 5)
    torch.testing.assert_close(model.with_knowledge(v, Plugged(joined_BFJ=joined)), torch.cat([v, joined], dim=2))
    empty = model.with_knowledge(v, Plugged())
    torch.testing.assert_close(empty, torch.cat([v, torch.zeros(6, 4, 5)], dim=2))
