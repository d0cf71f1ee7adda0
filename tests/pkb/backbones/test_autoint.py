from __future__ import annotations

import torch

from pkb.backbones.autoint import AutoInt, FieldAttention
from pkb.plug import Plugged
from tests.pkb.backbones.check_backbone import make_rows, stir
from tests.pkb.backbones.lively import lively


def test_each_field_becomes_a_mixture_of_all_fields_and_a_residual() -> None:
    layer = stir(FieldAttention(5, heads=2, head_width=3)).double()
    e = torch.randn(4, 5).double()  # one row
    query, key, value, residual = layer.project.weight.chunk(4)
    heads = []
    for head in (slice(0, 3), slice(3, 6)):
        logits = torch.stack([torch.stack([(query[head] @ f) @ (key[head] @ g) for g in e]) for f in e])
        heads.append(torch.softmax(logits, dim=1) @ (e @ value[head].T))
    expected = torch.relu(torch.cat(heads, dim=1) + e @ residual.T)
    torch.testing.assert_close(layer(e.unsqueeze(0)).squeeze(0), expected)


def test_the_logit_is_the_sum_of_attention_and_deep_part() -> None:
    model, rows = lively(AutoInt, width=5, hidden=(7,)), make_rows()
    v = model.table.weight[rows.ids_BF.long()]
    assert model.tower is not None
    attended = model.last(model.attention(v).flatten(1)).squeeze(1)
    torch.testing.assert_close(model(rows), attended + model.tower(v.flatten(1)))


def test_without_hidden_layers_attention_stands_alone_and_its_logit_is_gated() -> None:
    model, rows = lively(AutoInt, hidden=()), make_rows()
    assert model.tower is None
    assert model.hidden_width == 1
    gate = torch.full((32, 1), 0.5, dtype=torch.float64)
    torch.testing.assert_close(model(rows, Plugged(gate_BH=gate)), 0.5 * model(rows))
