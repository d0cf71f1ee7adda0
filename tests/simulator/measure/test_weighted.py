from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import brier_score_loss, log_loss

from simulator.measure.quality import quality
from simulator.measure.scored import scored
from simulator.measure.value import Value
from simulator.record.predictions import Predictions

ROWS = 2_000


@pytest.fixture(scope="module")
def plain() -> Predictions:
    rng = np.random.default_rng(5)
    probability = rng.uniform(0.05, 0.9, ROWS).astype(np.float32)
    return Predictions(
        arm="a",
        seed=0,
        trained_through=0,
        evaluated_on=1,
        holdout=True,
        row_id=np.arange(ROWS),
        label=(rng.random(ROWS) < probability).astype(np.int8),
        probability=probability,
        user=rng.integers(1, 60, ROWS).astype(np.int32),
        request=None,
        new_user=np.zeros(ROWS, bool),
        new_item=np.zeros(ROWS, bool),
        no_item=np.zeros(ROWS, bool),
        activity=np.zeros(ROWS, np.int32),
        scenario=None,
    )


def measured(p: Predictions) -> dict[str, Value]:
    return {result.metric: result.value for result in quality(scored([p])[0], [])}


def test_metrics_by_weight_have_names_of_their_own_and_leave_the_others(plain: Predictions) -> None:
    weight = (np.arange(ROWS) % 4).astype(np.float32)
    without, found = measured(plain), measured(replace(plain, weight=weight))
    assert {metric: found[metric] for metric in without} == without
    assert found.keys() - without.keys() == {"logloss_weighted", "ne_weighted", "pcoc_weighted", "brier_weighted"}
    p, label = plain.probability.astype(float), plain.label
    rate = (weight * label).sum() / weight.sum()
    loss = log_loss(label, p, sample_weight=weight)
    expected = {
        "logloss_weighted": loss,
        "ne_weighted": loss / -(rate * np.log(rate) + (1 - rate) * np.log(1 - rate)),
        "pcoc_weighted": (weight * p).sum() / (weight * label).sum(),
        "brier_weighted": brier_score_loss(label, p, sample_weight=weight),
    }
    for metric, value in expected.items():
        assert found[metric].value == pytest.approx(value, rel=1e-6)
        assert found[metric].n == ROWS


def test_without_any_weight_or_a_finite_score_they_are_undefined(plain: Predictions) -> None:
    nothing = measured(replace(plain, weight=np.zeros(ROWS, np.float32)))
    broken = measured(replace(plain, weight=np.ones(ROWS, np.float32), probability=np.full(ROWS, np.nan, np.float32)))
    for metric in ("logloss_weighted", "ne_weighted", "pcoc_weighted", "brier_weighted"):
        for found in (nothing, broken):
            assert found[metric].value is None
            assert found[metric].reason
