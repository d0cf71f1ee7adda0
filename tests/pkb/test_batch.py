from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from pkb.batch import Batch, Field, History, Neighbours, Schema, concatenate
from pkb.errors import DataError

SCHEMA = Schema(
    fields=(Field(name="user", role="user"), Field(name="item", role="item")),
    user="user",
    item="item",
    histories=(History(name="clicked", field="item"),),
)


def batch(rows: int, history: int = 3) -> Batch:
    return Batch(
        row_id=torch.arange(rows),
        ids_BF=torch.arange(2 * rows, dtype=torch.int32).view(rows, 2),
        label=torch.zeros(rows),
        histories={"clicked": torch.ones(rows, history, dtype=torch.int32)},
    )


def test_a_schema_survives_its_json() -> None:
    assert Schema.from_json(SCHEMA.to_json()) == SCHEMA


def test_a_schema_refuses_a_history_of_an_unknown_field() -> None:
    with pytest.raises(DataError, match="history field 'shop' is not among the fields user, item"):
        Schema(fields=SCHEMA.fields, user="user", item="item", histories=(History(name="h", field="shop"),))


def test_a_schema_refuses_a_column_named_twice() -> None:
    with pytest.raises(DataError, match="user is named twice"):
        Schema(fields=(*SCHEMA.fields, SCHEMA.fields[0]), user="user", item="item")


def test_minibatches_hold_every_row_once_in_the_given_order() -> None:
    order = torch.randperm(10, generator=torch.Generator().manual_seed(0))
    parts = list(batch(10).minibatches(4, order))
    assert [len(p) for p in parts] == [4, 4, 2]
    assert torch.equal(torch.cat([p.row_id for p in parts]), order)


def test_concatenation_pads_the_shorter_histories() -> None:
    joined = concatenate([batch(2, history=1), batch(3, history=4)])
    assert joined.row_id.tolist() == [0, 1, 0, 1, 2]
    assert joined.histories["clicked"].sum(dim=1).tolist() == [1, 1, 4, 4, 4]


def test_neighbours_go_with_their_rows() -> None:
    def with_neighbours(rows: int) -> Batch:
        ids = torch.arange(rows * 2 * 2, dtype=torch.int32).view(rows, 2, 2)
        found = Neighbours(
            ids_BKF=ids,
            label_BK=torch.zeros(rows, 2),
            age_BK=torch.zeros(rows, 2, dtype=torch.int32),
            present_BK=torch.ones(rows, 2, dtype=torch.bool),
        )
        return replace(batch(rows), neighbours={"field_match": found})

    joined = concatenate([with_neighbours(2), with_neighbours(3)])
    assert joined.neighbours["field_match"].ids_BKF[2].tolist() == [[0, 1], [2, 3]]
    chosen = joined.select(torch.tensor([4])).neighbours["field_match"]
    assert chosen.ids_BKF.tolist() == [[[8, 9], [10, 11]]]
    assert chosen.idf_BF is None
