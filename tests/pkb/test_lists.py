"""Fields that are lists of categories: what a table reads of them is a plain loop's mean or sum, gradients too."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from pkb.batch import MISSING, Batch, Field, Schema, concatenate
from pkb.embedding import EmbeddingTable
from pkb.errors import DataError
from pkb.numbers import Number
from pkb.vectors import Vector

SCHEMA = Schema(
    fields=(
        Field(name="user", role="user"),
        Field(name="item", role="item"),
        Field(name="genres", role="item", pooling="mean"),
        Field(name="tags", role="context", pooling="sum"),
    ),
    user="user",
    item="item",
)
FIRST, SIZE, BEFORE = SCHEMA.first_value_id, 30, 20  # ids from BEFORE on are new, from SIZE on unknown
ids_of_a_list = st.lists(st.integers(FIRST, SIZE + 5), max_size=5)
rows_of_lists = st.lists(st.tuples(ids_of_a_list, ids_of_a_list), min_size=1, max_size=6)


def padded(lists: list[list[int]]) -> Tensor:
    longest = max(map(len, lists))
    return torch.tensor([ids + [MISSING] * (longest - len(ids)) for ids in lists], dtype=torch.int32).view(
        len(lists), longest
    )


def batch_of(rows: list[tuple[list[int], list[int]]], schema: Schema = SCHEMA) -> Batch:
    lists = {"genres": padded([genres for genres, _ in rows]), "tags": padded([tags for _, tags in rows])}
    single = torch.tensor([[10, 25]] * len(rows), dtype=torch.int32)
    return Batch(
        row_id=torch.arange(len(rows)),
        ids_BF=schema.ids(single, lists, None, {}),
        label=torch.zeros(len(rows)),
        lists=lists,
    )


def table(*, new: bool, width: int = 3) -> EmbeddingTable:
    """One that has grown twice, so that some values are new in training, or once, and none are."""
    made, draw = EmbeddingTable(SCHEMA.fields, width, scale=1.0, new_value_rate=0.1 if new else 0.0), torch.Generator()
    if new:
        made.grow(BEFORE, draw)
    made.grow(SIZE, draw)
    return made


def by_a_loop(t: EmbeddingTable, rows: list[tuple[list[int], list[int]]], *, new: bool) -> Tensor:
    """[B, 4, D], value by value."""

    def of_value(identity: int, column: int) -> Tensor:
        if identity == MISSING or identity >= SIZE:
            return t.weight[MISSING] if identity == MISSING else t.weight[1 + column]
        common = t.weight[1 + column] if new and t.training and identity >= BEFORE else 0
        return t.weight[identity] + common

    def of_list(ids: list[int], column: int) -> Tensor:
        if not ids:
            return torch.zeros(t.width)
        return torch.stack([of_value(identity, column) for identity in ids]).sum(dim=0)

    return torch.stack(
        [
            torch.stack([of_value(10, 0), of_value(25, 1), of_list(genres, 2) / max(1, len(genres)), of_list(tags, 3)])
            for genres, tags in rows
        ]
    )


@given(rows=rows_of_lists, new=st.booleans(), training=st.booleans())
def test_a_list_reads_the_mean_or_the_sum_of_its_values(
    rows: list[tuple[list[int], list[int]]], new: bool, training: bool
) -> None:
    t = table(new=new).train(training)
    direction = torch.randn(len(rows), 4, t.width)
    read = t(batch_of(rows))
    (read * direction).sum().backward()
    touched = t.gradient()
    assert touched is not None
    got = torch.zeros_like(t.weight).index_add(0, *touched)
    t.clear_gradient()
    expected = by_a_loop(t, rows, new=new)
    torch.testing.assert_close(read, expected)
    (expected * direction).sum().backward()
    assert t.weight.grad is not None
    of_loop = t.weight.grad.clone()
    of_loop[MISSING] = 0
    torch.testing.assert_close(got, of_loop)


@given(rows=rows_of_lists)
def test_padding_and_the_rows_beside_it_change_nothing_of_a_row(rows: list[tuple[list[int], list[int]]]) -> None:
    t = table(new=False).eval()
    whole = t(batch_of(rows))
    alone = torch.cat([t(batch_of([row])) for row in rows])
    joined = concatenate([batch_of([row]) for row in rows])
    torch.testing.assert_close(whole, alone)
    assert torch.equal(whole, t(joined))


def test_where_nothing_was_known_each_value_of_a_list_may_read_the_row_for_new_ones() -> None:
    t = EmbeddingTable(SCHEMA.fields, 1, new_value_rate=0.3)
    t.grow(SIZE, torch.Generator())
    with torch.no_grad():
        t.weight[:SIZE] = 0
        t.weight[3] = 1  # of new genres
    torch.manual_seed(0)
    shares = t(batch_of([([10, 11, 12, 13], [])] * 4000))[:, 2]
    assert (shares.mean() - 0.3).abs() < 0.02
    assert shares.unique().numel() == 5


def test_no_padded_value_is_looked_up_and_one_gradient_comes_out() -> None:
    t = table(new=False)
    t(batch_of([([10, 11, 12], []), ([], [13])])).sum().backward()
    assert t.weight.grad is not None
    assert sorted(t.weight.grad._indices()[0].tolist()) == [10, 10, 10, 11, 12, 13, 25, 25]


def test_values_of_lists_are_counted_among_the_ids_of_rows_and_keep_their_rows() -> None:
    rows = batch_of([([10, 28], [11]), ([], [])])
    assert rows.end_of_ids == 29
    assert rows.unique_ids().tolist() == [MISSING, 10, 11, 25, 28]
    t = EmbeddingTable(SCHEMA.fields, 2)
    for now in range(4):
        t.renew(rows.unique_ids() if now != 1 else torch.tensor([19]), now=now, keep=2, generator=torch.Generator())
    assert t.owners is not None
    assert {10, 28, 11} <= set(t.owners.ids.tolist())
    own = t.weight[t.owners.ids.tolist().index(28)]
    torch.testing.assert_close(t.eval()(batch_of([([28], [])]))[0, 2], own)


def test_who_knows_ids_alone_reads_the_first_value() -> None:
    t, rows = table(new=False), batch_of([([12, 13], [14, 15]), ([], [])])
    assert torch.equal(t.look_up(rows.ids_BF)[:, 2], t.weight[[12, MISSING]])


def test_a_schema_with_lists_and_vectors_survives_its_json() -> None:
    number = Field(name="price", role="context", number=Number(knots=(1.0, 2.5)))
    vector = Field(name="text", role="context", vector=Vector(length=3, scale=0.7))
    schema = replace(SCHEMA, fields=(*SCHEMA.fields, number, vector))
    assert Schema.from_json(schema.to_json()) == schema
    assert [f.kind for f in schema.fields] == ["category", "category", "list", "list", "number", "vector"]


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"pooling": "max"}, "field x: pooling 'max' is none of mean, sum"),
        ({"pooling": "sum", "vector": Vector(length=2)}, "field x: is one of a list, a number and a vector"),
    ],
)
def test_a_field_is_of_one_kind(fields: dict[str, object], said: str) -> None:
    with pytest.raises(DataError, match=said):
        Field(name="x", role="context", **fields)  # type: ignore[arg-type]


@pytest.mark.parametrize("role", ["user", "item"])
def test_a_list_identifies_nobody(role: str) -> None:
    with pytest.raises(DataError, match=f"{role} 'genres' is a list; make it a categorical field"):
        replace(SCHEMA, **{role: "genres"})  # type: ignore[arg-type]
