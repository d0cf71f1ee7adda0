"""Numbers in requests: as they are, with null for a missing one; and what is served is what the model says itself."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pkb.backbones import BACKBONES
from simulator.serve.check import TOLERANCE
from simulator.serve.loading import load_servable
from simulator.serve.request import RequestError, encode_request, parse_request
from simulator.serve.serving import serve_and_measure
from simulator.serve.settings import ServeSettings
from simulator.serve.traffic import requests_for, sampled_requests
from tests.pkb.backbones.check_backbone import Case, make_rows, stir
from tests.pkb.test_numbers import MISSING_PRICE, SCHEMA
from tests.pkb.test_numbers_contract import NUMERIC
from tests.simulator.serve.trained_run import trained_run
from tests.simulator.stream.test_numeric import log_of, write_csv


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
    case = Case(BACKBONES[name], schema=NUMERIC)
    rows, model = case.rows, case.make()
    if case.fitted:
        model.eval().backbone.fit(rows)  # type: ignore[operator]
    else:
        stir(model).eval()
    with torch.no_grad():
        expected = model(rows)
        served = torch.cat([model(parse_request(body, NUMERIC)) for body in requests_for(rows, NUMERIC, size=10)])
    torch.testing.assert_close(served, expected, rtol=1e-6, atol=1e-6)
    assert expected.unique().numel() > 5


def test_requests_of_a_load_test_hold_numbers_of_the_log() -> None:
    rows = make_rows(50, schema=NUMERIC)
    assert rows.numbers_BN is not None
    there = {None if value != value else value for value in rows.numbers_BN[:, 0].tolist()}
    for body in sampled_requests(rows, NUMERIC, number=20, candidates=3, seed=0):
        shared = json.loads(body)["shared"]
        assert shared["price"] in there
        assert len(parse_request(body, NUMERIC)) == 3


@pytest.mark.slow
def test_what_is_served_of_a_log_with_numbers_is_what_was_stored(tmp_path: Path, local_ray: None) -> None:
    draw = np.random.default_rng(0)
    prices = np.where(draw.random((2, 400)) < 0.1, np.nan, draw.lognormal(size=(2, 400)))
    write_csv(tmp_path, [["" if np.isnan(price) else str(price) for price in day] for day in prices])
    asked = ServeSettings(port=0, candidates=20, rates=[20.0], seconds=0.5, repeats=1, check_rows=50)
    trained = trained_run(tmp_path, asked, log=log_of(tmp_path, files="*.csv"))
    settings = trained.settings
    load = partial(load_servable, trained.log, settings.stream, settings.retrieval)
    served = serve_and_measure(
        trained.run, settings.serve, settings.stream, trained.log, lambda line: None, seed=0, load=load
    )
    assert [check.rows for check in served.checks] == [50, 50]
    assert all((check.max_difference or 0) <= TOLERANCE for check in served.checks)
    assert all(load.errors == 0 for load in served.measured)
