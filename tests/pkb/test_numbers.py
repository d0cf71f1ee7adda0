"""Fields that are numbers: their bins, and the vectors that a table reads for them."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from pkb.batch import MISSING, Batch, Field, Schema
from pkb.embedding import EmbeddingTable
from pkb.errors import DataError
from pkb.numbers import ENCODINGS, Number

KNOTS = (0.0, 1.0, 3.0, 10.0)
MISSING_PRICE = 4  # behind MISSING and the rows for new values of user, item and price; its bins are 5 to 8
SCHEMA = Schema(
    fields=(
        Field(name="user", role="user"),
        Field(name="item", role="item"),
        Field(name="price", role="context", number=Number(knots=KNOTS, mean=2.0, deviation=0.5)),
    ),
    user="user",
    item="item",
)
small = st.floats(-100, 100, width=32)


def table(encoding: str = "linear", *, size: int = 30, width: int = 4) -> EmbeddingTable:
    user, item, price = SCHEMA.fields
    assert price.number is not None
    price = replace(price, number=replace(price.number, encoding=encoding))
    made = EmbeddingTable([user, item, price], width, new_value_rate=0.0)
    made.grow(size, torch.Generator().manual_seed(0))
    return made


def rows_of(*prices: float) -> Batch:
    """Rows with these prices."""
    numbers = torch.tensor(prices).unsqueeze(1)
    others = torch.arange(10, 10 + 2 * len(prices), dtype=torch.int32).view(-1, 2)
    return Batch(
        row_id=torch.arange(len(prices)),
        ids_BF=SCHEMA.ids(others, {}, numbers, {}),
        label=torch.zeros(len(prices)),
        numbers_BN=numbers,
    )


def read(t: EmbeddingTable, *prices: float) -> Tensor:
    vectors: Tensor = t(rows_of(*prices))[:, 2]
    return vectors


def test_ids_of_a_number_stand_before_all_values_that_of_the_missing_one_first() -> None:
    ids = rows_of(torch.nan, 0.0, 0.99, 1.0, 9.0, 10.0).ids_BF
    assert ids[:, 2].tolist() == [MISSING_PRICE, 5, 5, 6, 7, 8]
    assert SCHEMA.first_value_id == 9


def test_what_lies_outside_falls_into_the_first_or_the_last_bin() -> None:
    assert rows_of(-5.0, 1e30).ids_BF[:, 2].tolist() == [5, 8]


@given(st.lists(small, unique=True, max_size=8).map(sorted), st.lists(small | st.just(float("nan")), max_size=30))
def test_bins_are_those_that_bisection_finds(knots: list[float], values: list[float]) -> None:
    found = Number(knots=tuple(knots)).bins(torch.tensor(values, dtype=torch.float32))
    expected = [0 if not knots or np.isnan(v) else max(1, bisect_right(knots, v)) for v in values]
    assert found.tolist() == expected


def test_between_two_knots_a_number_reads_both_of_their_rows_in_proportion() -> None:
    t = table()
    w = t.weight.detach()
    torch.testing.assert_close(
        read(t, 0.25, 1.0, 2.0, 10.0),
        torch.stack([0.75 * w[5] + 0.25 * w[6], w[6], 0.5 * w[6] + 0.5 * w[7], w[8]]),
    )


def test_beyond_the_knots_it_reads_the_last_one_and_without_a_value_the_row_of_the_missing_one() -> None:
    t = table()
    torch.testing.assert_close(read(t, -3.0, 50.0, torch.nan), t.weight[[5, 8, MISSING_PRICE]])


def test_both_rows_get_their_share_of_the_gradient_and_take_a_step_of_adagrad() -> None:
    t = table()
    before = t.weight.detach().clone()
    read(t, 1.5).sum().backward()
    gradient = t.gradient()
    assert gradient is not None
    touched, values = gradient
    of = dict(zip(touched.tolist(), values[:, 0].tolist(), strict=True))
    assert (of[6], of[7]) == (0.75, 0.25)
    t.apply_gradient(touched, values, 0.1)
    moved = (before - t.weight.detach())[:, 0]
    assert moved[6].item() == pytest.approx(0.1 * 0.75 / (1 + 1.5))  # 1.5 is the length of (0.75, 0.75, 0.75, 0.75)
    assert moved[7].item() == pytest.approx(0.1 * 0.25 / (1 + 0.5))


def test_buckets_read_the_row_of_the_bin() -> None:
    t = table("buckets")
    assert torch.equal(read(t, 0.25, 2.0, torch.nan), t.weight[[5, 6, MISSING_PRICE]])


def test_standardised_it_moves_along_one_line_until_it_is_clipped() -> None:
    t = table("standardise")
    w = t.weight.detach()
    middle, slope = (w[5] + w[6]) / 2, (w[6] - w[5]) / 2
    scores = torch.tensor([-4.0, -3.0, 0.0, 1.5, 3.0, 20.0])
    expected = middle + (scores.clamp(-3, 3) / 3).unsqueeze(1) * slope
    torch.testing.assert_close(read(t, *(2 + 0.5 * scores).tolist()), expected)
    torch.testing.assert_close(read(t, torch.nan), w[[MISSING_PRICE]])


def test_who_knows_the_bin_alone_reads_its_row() -> None:
    t = table()
    ids = rows_of(2.5, torch.nan).ids_BF
    assert torch.equal(t.look_up(ids)[:, 2], t.weight[[6, MISSING_PRICE]])
    assert torch.equal(t.look_up(ids[:, 2], 2), t.weight[[6, MISSING_PRICE]])


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_other_fields_are_read_as_they_are_without_numbers(encoding: str) -> None:
    t = table(encoding)
    rows = rows_of(0.3, 40.0, torch.nan)
    rows.ids_BF[0, 0], rows.ids_BF[1, 1] = MISSING, 1000
    assert torch.equal(t(rows)[:, :2], t.look_up(rows.ids_BF)[:, :2])


def test_padding_reads_zero_whatever_the_number_beside_it() -> None:
    t = table()
    rows = rows_of(2.0, torch.nan)
    assert not t(replace(rows, ids_BF=torch.zeros_like(rows.ids_BF))).any()


@pytest.mark.parametrize("value", [3.4e38, -3.4e38, 1e-45])
def test_numbers_of_any_size_give_finite_vectors(value: float) -> None:
    wide = Number(knots=(-3e38, 0.0, 1e-44, 3e38))
    for encoding in ("linear", "standardise"):
        user, item, price = SCHEMA.fields
        number = replace(wide, encoding=encoding, mean=0.0, deviation=1e38)
        schema = replace(SCHEMA, fields=(user, item, replace(price, number=number)))
        t = EmbeddingTable(schema.fields, 2)
        t.grow(0, torch.Generator().manual_seed(0))
        numbers = torch.tensor([[value]])
        rows = replace(rows_of(value), ids_BF=schema.ids(torch.zeros(1, 2, dtype=torch.int32), {}, numbers, {}))
        assert t(rows).isfinite().all()


def test_bins_are_never_new_and_never_given_up() -> None:
    t = EmbeddingTable(SCHEMA.fields, 2, new_value_rate=0.9)
    t.grow(30, torch.Generator().manual_seed(0))
    ids = rows_of(*([2.0] * 200)).ids_BF
    assert (t.known(ids, torch.arange(3))[:, 2] == 6).all()
    own = t.weight[5:9].detach().clone()
    for now in range(4):
        seen = torch.tensor([10 + now], dtype=torch.int32)
        t.renew(seen, now=now, keep=1, generator=torch.Generator().manual_seed(now))
    assert torch.equal(t.weight[5:9], own)
    assert t.size == SCHEMA.first_value_id + 1


def test_a_schema_of_numbers_survives_its_json_and_one_without_says_nothing_of_them() -> None:
    assert Schema.from_json(SCHEMA.to_json()) == SCHEMA
    assert "number" not in replace(SCHEMA, fields=SCHEMA.fields[:2]).to_json()


def test_numbers_stand_behind_all_other_fields() -> None:
    user, item, price = SCHEMA.fields
    with pytest.raises(
        DataError, match="user, price, item must stand in the order of their kinds: category, list, number"
    ):
        Schema(fields=(user, price, item), user="user", item="item")


def test_a_number_identifies_nobody() -> None:
    with pytest.raises(DataError, match="user 'price' is a number; make it a categorical field"):
        replace(SCHEMA, user="price")
