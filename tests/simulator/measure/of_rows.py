"""Intervals asked for by rows, as a test has them: labels and scores that nobody has ranked yet."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from simulator.measure import significance
from simulator.measure.estimate import Estimate
from simulator.measure.ranking import Ranking
from simulator.measure.significance import Placements, Redrawn
from simulator.measure.tally import Tally
from simulator.measure.value import Value


def delong(label: np.ndarray, score: np.ndarray) -> Value:
    return significance.delong(Tally.of(label, score))


def delong_difference(label: np.ndarray, score: np.ndarray, reference: np.ndarray) -> Estimate | Value:
    one, other = (Placements(Ranking(label, each)) for each in (score, reference))
    return significance.delong_difference(one, other)


def bootstrap_aucs(
    label: np.ndarray, scores: Sequence[np.ndarray], user: np.ndarray, replicates: int, seed: int
) -> np.ndarray:
    """Of each array of scores in each redraw: [len(scores), replicates]."""
    users, of_row = np.unique(user, return_inverse=True)
    redrawn = Redrawn(users, of_row, replicates, seed)
    return np.stack([significance.bootstrap_aucs(Ranking(label, score), redrawn)[1:] for score in scores])
