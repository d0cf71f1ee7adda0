"""Whose rows are whose: a row without a user is nobody's, and moves with no other."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from simulator.measure.ranking import GroupedAuc, grouped_auc
from simulator.measure.tally import GroupedTally
from simulator.record.predictions import Predictions


def auc_by_user(p: Predictions) -> GroupedAuc:
    """Measure the AUC within each user's rows; rows without a user are in no group, but among all rows."""
    known = ~p.no_user
    found = grouped_auc(GroupedTally.of(p.label[known], p.probability[known], p.user[known]))
    return replace(found, rows=len(p.label))


def clusters(p: Predictions) -> np.ndarray:
    """Number what the bootstrap draws together, [N]: the rows of a user; a row without one alone, by its own number."""
    return np.where(p.no_user, -1 - p.row_id, p.user) if p.no_user.any() else p.user
