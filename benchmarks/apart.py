"""How far vectors of several scenarios lie apart: what they tell of the scenario, and how alike the means are.

Shapes: B rows, A numbers of a row, S scenarios.
"""

from __future__ import annotations

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler


def information(scenario_B: np.ndarray, a_BA: np.ndarray) -> float:
    """A lower bound of I(s; a) in nats: H(s) minus a classifier's cross entropy on rows that it has not seen.

    The classifier learns the first half of the rows, which must hold every scenario.
    """
    half = len(scenario_B) // 2
    scaled = StandardScaler().fit(a_BA[:half])
    classifier = LogisticRegression(max_iter=500).fit(scaled.transform(a_BA[:half]), scenario_B[:half])
    own = np.searchsorted(classifier.classes_, scenario_B[half:])
    p = classifier.predict_proba(scaled.transform(a_BA[half:]))[np.arange(len(own)), own]
    return entropy(scenario_B[half:]) + float(np.log(p).mean())


def entropy(scenario_B: np.ndarray) -> float:
    """H(s) in nats, of the rows' own shares."""
    share = np.unique(scenario_B, return_counts=True)[1] / len(scenario_B)
    return -float((share * np.log(share)).sum())


def likeness(scenario_B: np.ndarray, a_BA: np.ndarray) -> np.ndarray:
    """Cosine similarity of the scenarios' means, [S, S], in the scenarios' order."""
    means = np.stack([a_BA[scenario_B == s].mean(axis=0) for s in np.unique(scenario_B)])
    unit = means / np.linalg.norm(means, axis=1, keepdims=True)
    cosine: np.ndarray = unit @ unit.T
    return cosine
