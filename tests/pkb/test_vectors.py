"""Fields that are vectors: what a table reads of them is a linear layer, whose weights are rows of the table."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from pkb.backbones import BACKBONES
from pkb.backbones.base import make_click_model
from pkb.batch import MISSING, Batch, Field, Schema
from pkb.embedding import EmbeddingTable
from pkb.errors import DataError
from pkb.step import Optimiser, click_loss
from pkb.vectors import Vector

SCHEMA = Schema(
    fields=(
        Field(name="user", role="user"),
        Field(name="item", role="item"),
        Field(name="text", role="context", vector=Vector(length=3, scale=2.0)),
        Field(name="image", role="context", vector=Vector(length=2)),
    ),
    user="user",
    item="item",
)
TEXT, IMAGE = 5, 10  # the first ids of both: missing, there, entries
SIZE = 40


def batch_of(text: Tensor, image: Tensor, schema: Schema = SCHEMA) -> Batch:
    vectors = {"text": text, "image": image}
    single = torch.arange(20, 20 + 2 * len(text), dtype=torch.int32).view(-1, 2)
    return Batch(
        row_id=torch.arange(len(text)),
        ids_BF=schema.ids(single, {}, None, vectors),
        label=torch.zeros(len(text)),
        vectors=vectors,
    )


def some_rows(number: int = 6) -> Batch:
    draw = torch.Generator().manual_seed(0)
    text, image = torch.randn(number, 3, generator=draw), torch.randn(number, 2, generator=draw)
    text[1], image[2] = torch.nan, torch.nan
    return batch_of(text, image)


def table() -> EmbeddingTable:
    made = EmbeddingTable(SCHEMA.fields, 4, scale=1.0, new_value_rate=0.9)
    made.grow(SIZE, torch.Generator().manual_seed(1))
    return made


def test_ids_say_whether_a_vector_is_there_and_stand_before_all_values() -> None:
    rows = some_rows(3)
    assert rows.ids_BF[:, 2:].tolist() == [[TEXT + 1, IMAGE + 1], [TEXT, IMAGE + 1], [TEXT + 1, IMAGE]]
    assert SCHEMA.first_value_id == IMAGE + 4


def test_it_is_a_linear_layer_gradients_too() -> None:
    t, rows = table(), some_rows()
    layer = nn.Linear(3, 4)
    with torch.no_grad():
        layer.weight.copy_(t.weight[TEXT + 2 : TEXT + 5].T / 2)  # 2 is the scale
        layer.bias.copy_(t.weight[TEXT + 1])
    there = ~rows.vectors["text"].isnan().any(dim=1)
    read = t(rows)[:, 2]
    expected = layer(rows.vectors["text"][there])
    torch.testing.assert_close(read[there], expected)
    assert torch.equal(read[~there], t.weight[[TEXT]])
    read.square().sum().backward()
    expected.square().sum().backward()
    assert t.weight.grad is not None
    gradient = t.weight.grad.to_dense()
    torch.testing.assert_close(gradient[TEXT + 2 : TEXT + 5].T, layer.weight.grad / 2)  # type: ignore[operator]
    torch.testing.assert_close(gradient[TEXT + 1], layer.bias.grad)
    torch.testing.assert_close(gradient[TEXT], 2 * t.weight[TEXT].detach())
    assert not gradient[IMAGE:].any()


def test_what_is_missing_or_padding_lets_nothing_through() -> None:
    t, rows = table(), some_rows()
    assert torch.equal(t(rows)[2, 3], t.weight[IMAGE])
    blank = replace(rows, ids_BF=torch.zeros_like(rows.ids_BF))
    assert not t(blank).any()
    assert t(rows).isfinite().all()


def test_who_knows_ids_alone_reads_whether_it_is_there() -> None:
    t, rows = table(), some_rows(3)
    assert torch.equal(t.look_up(rows.ids_BF)[:, 2], t.weight[[TEXT + 1, TEXT, TEXT + 1]])


def test_its_rows_are_never_new_and_never_given_up() -> None:
    t, rows = table(), some_rows(200)
    assert (t.known(rows.ids_BF, torch.arange(4))[:, 2:] == rows.ids_BF[:, 2:]).all()
    own = t.weight[TEXT : IMAGE + 4].detach().clone()
    for now in range(3):
        seen = torch.tensor([20 + now], dtype=torch.int32)
        t.renew(seen, now=now, keep=1, generator=torch.Generator())
    assert torch.equal(t.weight[TEXT : IMAGE + 4], own)
    assert t.size == SCHEMA.first_value_id + 1


@pytest.mark.parametrize("units", [1e-3, 1.0, 1e3])
def test_a_direction_of_a_vector_is_learned_whatever_its_units(units: float) -> None:
    draw = torch.Generator().manual_seed(0)
    x = torch.randn(4000, 64, generator=draw)
    clicks = (torch.rand(4000, generator=draw) < (3 * x[:, 0]).sigmoid()).float()
    vector = Vector(length=64, scale=units)
    text = Field(name="text", role="context", vector=vector)
    schema = replace(SCHEMA, fields=(*SCHEMA.fields[:2], text))
    single = torch.full((4000, 2), MISSING, dtype=torch.int32)
    vectors = {"text": units * x}
    rows = Batch(row_id=torch.arange(4000), ids_BF=schema.ids(single, {}, None, vectors), label=clicks, vectors=vectors)
    torch.manual_seed(0)
    model = make_click_model(BACKBONES["lr"], schema)
    model.backbone.grow(0, draw)
    optimiser = Optimiser(model)
    learned, judged = rows.select(slice(3000)), rows.select(slice(3000, None))
    for _ in range(3):
        for batch in learned.minibatches(256):
            optimiser.step(click_loss(model, batch), len(batch))
    assert click_loss(model.eval(), judged).item() < 0.52, "36 steps; a coin has 0.69"


def test_a_vector_without_entries_or_with_an_odd_scale_is_refused() -> None:
    for odd in ({"length": 0}, {"length": 2, "scale": 0.0}, {"length": 2, "scale": float("nan")}):
        with pytest.raises(DataError, match="vector"):
            Vector(**odd)
    assert MISSING == 0
