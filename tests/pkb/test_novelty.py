from __future__ import annotations

import torch

from pkb.batch import MISSING, Batch, Field, Schema
from pkb.novelty import Novelty

SCHEMA = Schema(fields=(Field(name="user", role="user"), Field(name="item", role="item")), user="user", item="item")


def rows(*ids: list[int]) -> Batch:
    ids_BF = torch.tensor(ids, dtype=torch.int32)
    return Batch(row_id=torch.arange(len(ids)), ids_BF=ids_BF, label=torch.zeros(len(ids)))


def grown(*sizes: int) -> Novelty:
    base = Novelty(SCHEMA, Novelty.Settings())
    for size in sizes:
        base.grow(size, torch.Generator().manual_seed(0))
    return base


def test_a_value_is_new_until_a_row_that_holds_it_was_compressed() -> None:
    queries = rows([5, 9], [12, 9], [12, 30])
    for base, new in ((grown(3, 10), [[0, 0], [1, 0], [1, 1]]), (grown(3, 10, 13), [[0, 0], [0, 0], [0, 1]])):
        said = base.knowledge(queries)
        assert said["values"].squeeze(2).tolist() == new
        assert said["row"].squeeze(1).tolist() == new


def test_a_missing_value_is_not_new() -> None:
    assert not grown(3, 10).knowledge(rows([MISSING, MISSING]))["row"].any()


def test_what_it_says_of_new_values_is_the_same_after_rows_without_any_were_compressed() -> None:
    base = grown(3, 10)
    base.standardise(rows([5, 9], [6, 9]))
    assert base.knowledge(rows([12, 9]))["row"].tolist() == [[[1, 0]]]
