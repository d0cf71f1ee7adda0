"""Numbers, lists and vectors in requests; and what is served is what the model says itself."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
import torch

from pkb.backbones import BACKBONES
from simulator.serve.request import RequestError, encode_request, parse_request
from simulator.serve.traffic import requests_for, sampled_requests
from tests.pkb.backbones.check_backbone import Case, make_rows, stir
from tests.pkb.test_kinds_contract import OF_EVERY_KIND
from tests.pkb.test_numbers import MISSING_PRICE, SCHEMA


def asked(price: Any) -> bytes:
    return encode_request({"user": 10}, {"item": [20, 21], "price": price})


def test_a_number_gets_the_id_of_its_bin_and_null_that_of_the_missing_one() -> None:
    batch = parse_request(asked([2.5, None]), SCHEMA)
    assert batch.ids_BF.tolist() == [[10, 20, 6], [10, 21, MISSING_PRICE]]
    assert batch.numbers_BN is not None
    assert batch.numbers_BN[0, 0] == 2.5
    assert batch.numbers_BN[1, 0].isnan()


def test_a_number_may_be_shared_by_all_candidates() -> None:
    batch = parse_request(encode_request({"user": 10, "price": 4}, {"item": [20, 21]}), SCHEMA)
    assert batch.ids_BF[:, 2].tolist() == [7, 7]


@pytest.mark.parametrize("price", ["7", True, [1.0], 1e39, float("inf"), float("nan"), 10**400])
def test_what_is_no_number_is_refused_in_one_line(price: Any) -> None:
    with pytest.raises(
        RequestError, match=r"candidates\.price: .* is no number; give a finite one of 32 bits, or null"
    ):
        parse_request(asked([1.0, price]), SCHEMA)


@pytest.mark.parametrize("name", ["deepfm", "gbdt", "logistic"])
def test_a_served_row_has_the_probability_that_the_model_gives_it_in_process(name: str) -> None:
    case = Case(BACKBONES[name], schema=OF_EVERY_KIND)
    rows, model = case.rows, case.make()
    rows = replace(rows, label=(rows.vectors["text"].nan_to_num().sum(dim=1) > 0).float())
    if case.fitted:
        model.eval().backbone.fit(rows)  # type: ignore[operator]
    else:
        stir(model).eval()
    with torch.no_grad():
        expected = model(rows)
        served = torch.cat(
            [model(parse_request(body, OF_EVERY_KIND)) for body in requests_for(rows, OF_EVERY_KIND, size=10)]
        )
    torch.testing.assert_close(served, expected, rtol=1e-6, atol=1e-6)
    assert expected.unique().numel() > 5


def whole(**values: Any) -> bytes:
    """A request for two candidates with fields of every kind."""
    shared = {"user": 30, "hour": 31, "age": 1.5}
    candidates = {
        "item": [32, 33],
        "category": [34, 35],
        "tags": [[40, 41], None],
        "price": [1, None],
        "text": [[0, 1.5, -2], None],
    }
    mine = {name: values.pop(name) for name in list(values) if name in candidates}
    return encode_request(shared | values, {k: v for k, v in (candidates | mine).items() if k not in values})


def test_a_list_is_one_of_ids_and_a_vector_one_of_numbers_and_null_and_empty_are_missing() -> None:
    batch = parse_request(whole(), OF_EVERY_KIND)
    assert batch.lists["tags"].tolist() == [[40, 41], [0, 0]]
    assert batch.ids_BF[:, OF_EVERY_KIND.names.index("tags")].tolist() == [40, 0]
    assert batch.vectors["text"][0].tolist() == [0, 1.5, -2]
    assert batch.vectors["text"][1].isnan().all()
    assert batch.ids_BF[:, -1].diff().tolist() == [-1]
    assert parse_request(whole(tags=[[], [0, 42]]), OF_EVERY_KIND).lists["tags"].tolist() == [[0], [42]]


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"tags": [[40], 41]}, r"candidates\.tags\[1\]: 41 is no list; give a list of ids, or null"),
        ({"tags": [[40], [True]]}, r"candidates\.tags\[1\]: true is no id; ids are whole numbers"),
        ({"tags": [[1] * 2000, []]}, r"candidates\.tags\[0\]: has 2000 ids; send the first 1000 at most"),
        ({"text": [[1, 2], None]}, r"candidates\.text\[0\]: \[1, 2\] is no vector; give a list of 3 numbers, or null"),
        ({"text": [[1, 2, None], None]}, r"candidates\.text\[0\]: holds null; give 3 numbers"),
        ({"text": [None, [1, 2, "3"]]}, r'candidates\.text\[1\]: "3" is no number'),
        ({"text": [None, [1, 2, 1e39]]}, r"candidates\.text\[1\]: 1e\+39 is no number"),
    ],
)
def test_what_is_no_list_and_no_vector_is_refused_in_one_line(values: dict[str, Any], said: str) -> None:
    with pytest.raises(RequestError, match=said):
        parse_request(whole(**values), OF_EVERY_KIND)


def test_requests_of_a_load_test_hold_values_of_the_log() -> None:
    rows = make_rows(50, schema=OF_EVERY_KIND)
    assert rows.numbers_BN is not None
    there = {None if value != value else value for value in rows.numbers_BN[:, 0].tolist()}
    tags = {tuple(row[row > 0].tolist()) for row in rows.lists["tags"]}
    for body in sampled_requests(rows, OF_EVERY_KIND, number=20, candidates=3, seed=0):
        shown = json.loads(body)["candidates"]
        assert set(shown["price"]) <= there
        assert {tuple(some) for some in shown["tags"]} <= tags
        assert all(text is None or len(text) == 3 for text in shown["text"])
        assert len(parse_request(body, OF_EVERY_KIND)) == 3
