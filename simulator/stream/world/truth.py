"""The AUC to expect of a ranking, and the best there can be, from the probabilities of clicks (docs/world.md)."""

from __future__ import annotations

import numpy as np


def best_auc(p_true: np.ndarray) -> float:
    """The expected AUC of ranking rows by their own click probability [N]: no other ranking has a higher one."""
    return expected_auc(p_true, p_true)


def expected_auc(score: np.ndarray, p_true: np.ndarray) -> float:
    """AUC of `score` [N] to expect over draws of the labels, of which row i's is a click with probability p_i.

        sum_ij p_i (1 - p_j) ([s_i > s_j] + [s_i = s_j] / 2) / sum_ij p_i (1 - p_j),  i and j different rows

    that is the expected number of pairs in the right order over the expected number of pairs. NaN if no pair of a
    click and a row without one can occur.
    """
    p_true = np.asarray(p_true, dtype=np.float64)
    place = np.unique(score, return_inverse=True)[1]
    clicks, others, with_itself = (np.bincount(place, w) for w in (p_true, 1 - p_true, p_true * (1 - p_true)))
    below = np.cumsum(others) - others
    ties = clicks * others - with_itself
    pairs = clicks.sum() * others.sum() - with_itself.sum()
    return float((clicks @ below + ties.sum() / 2) / pairs) if pairs > 0 else float("nan")
