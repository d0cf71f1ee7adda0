"""Whose rows are whose: a row without a user is nobody's, and moves with no other."""

from __future__ import annotations

import numpy as np

from simulator.record.predictions import Predictions


def clusters(p: Predictions) -> np.ndarray:
    """Number what the bootstrap draws together, [N]: the rows of a user; a row without one alone, by its own number."""
    return np.where(p.no_user, -1 - p.row_id, p.user) if p.no_user.any() else p.user
