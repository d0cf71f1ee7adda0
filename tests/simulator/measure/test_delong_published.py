"""DeLong's test against numbers that others have published."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split

from simulator.measure.estimate import Estimate
from simulator.measure.ranking import auc
from tests.simulator.measure.of_rows import delong, delong_difference

# DeLong, DeLong and Clarke-Pearson 1988: 49 patients with ovarian cancer, the 43 without missing values as the SAS/STAT
# User's Guide prints them (LOGISTIC, example 8): albumin, total protein, K-G score, whether surgery helped
PATIENTS = """
3.0 5.8 10 0  3.2 6.3 5 1  3.9 6.8 3 1  2.8 4.8 6 0  3.2 5.8 3 1  0.9 4.0 5 0  2.5 5.7 8 0  1.6 5.6 5 1  3.8 5.7 5 1
3.7 6.7 6 1  3.2 5.4 4 1  3.8 6.6 6 1  4.1 6.6 5 1  3.6 5.7 5 1  4.3 7.0 4 1  3.6 6.7 4 0  2.3 4.4 6 1  4.2 7.6 4 0
4.0 6.6 6 0  3.5 5.8 6 1  3.8 6.8 7 1  3.0 4.7 8 0  4.5 7.4 5 1  3.7 7.4 5 1  3.1 6.6 6 1  4.1 8.2 6 1  4.3 7.0 5 1
4.3 6.5 4 1  3.2 5.1 5 1  2.6 4.7 6 1  3.3 6.8 6 0  1.7 4.0 7 0  3.7 6.1 5 1  3.3 6.3 7 1  4.2 7.7 6 1  3.5 6.2 5 1
2.9 5.7 9 0  2.1 4.8 7 1  2.8 6.2 8 0  4.0 7.0 7 1  3.3 5.7 6 1  3.7 6.9 5 1  3.6 6.6 5 1
"""


@pytest.fixture(scope="module")
def patients() -> dict[str, np.ndarray]:
    albumin, protein, score, helped = np.array(PATIENTS.split(), dtype=float).reshape(-1, 4).T
    return {"albumin": albumin, "protein": protein, "score": 10 - score, "helped": helped}


@pytest.mark.parametrize(
    ("test", "area", "error"), [("albumin", 0.7366, 0.0927), ("score", 0.7258, 0.1028), ("protein", 0.6478, 0.1000)]
)
def test_areas_and_errors_are_those_that_sas_prints(
    patients: dict[str, np.ndarray], test: str, area: float, error: float
) -> None:
    value = delong(patients["helped"], patients[test])
    assert value.value == pytest.approx(area, abs=6e-5)
    assert value.low == pytest.approx(area - 1.959964 * error, abs=2e-4)


@pytest.mark.parametrize(
    ("test", "difference", "error", "p"), [("albumin", 0.0108, 0.0953, 0.9102), ("protein", -0.0780, 0.1046, 0.4561)]
)
def test_differences_to_the_score_and_their_p_values_are_those_that_sas_prints(
    patients: dict[str, np.ndarray], test: str, difference: float, error: float, p: float
) -> None:
    estimate = delong_difference(patients["helped"], patients[test], patients["score"])
    assert isinstance(estimate, Estimate)
    assert estimate.point == pytest.approx(difference, abs=6e-5)
    assert estimate.error == pytest.approx(error, abs=6e-5)
    assert estimate.p_value().value == pytest.approx(p, abs=6e-5)


def test_the_variance_is_that_of_the_published_code_for_sun_and_xu() -> None:
    # github.com/yandexdataschool/roc_comparison, the first test of unittests.py
    iris = load_iris()
    split = train_test_split(iris.data, (iris.target == 1).astype(int), test_size=0.8, random_state=42)
    model = LogisticRegression(solver="lbfgs").fit(split[0], split[2])
    label, score = split[3], model.predict_proba(split[1])[:, 1]
    value, point = delong(label, score), auc(label, score).value
    assert value.low is not None
    assert point is not None
    assert ((point - value.low) / 1.959963985) ** 2 == pytest.approx(0.0015359814789736538, rel=1e-6)
