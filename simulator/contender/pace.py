"""The pace of a lesson where the settings leave it to the log: how many rows a minibatch has, and how many passes."""

from __future__ import annotations

import math

import numpy as np
from torch import Tensor

from pkb.batch import Batch

STEPS = 128  # that a pass should have at least
SMALLEST, LARGEST = 16, 1024  # minibatches, rows
MOST_PASSES = 4
NEWEST = 0.125  # share of the present period's rows, the newest, that tells whether another pass pays
TELLING = 20  # rows of each class among them; fewer tell nothing


def batch_size(asked: int, rows: int) -> int:
    """Give the rows of a minibatch: as asked for, or (0) a power of two that makes `STEPS` steps of so many rows."""
    size = 1 << max(0, (rows // STEPS).bit_length() - 1)
    return asked or min(max(size, SMALLEST), LARGEST)


def newest(rows: Batch, since: int) -> Tensor | None:
    """Mark the newest of the rows that were shown from `since` on, [B] bool; None where they can tell nothing.

    Rows of one second stay together.
    """
    if rows.ts is None:
        return None
    present = rows.ts[rows.ts >= since]
    if not len(present):
        return None
    late: Tensor = rows.ts > present.sort().values[int((len(present) - 1) * (1 - NEWEST))]
    clicks = int((rows.label[late] > 0).sum())
    return late if min(clicks, int(late.sum()) - clicks) >= TELLING else None


class Gains:
    """Tells whether a further pass pays, by the log-likelihood of clicks that were not learned.

    It does if it has gained more than chance may: on the mean over rows, more than its standard error.
    """

    def __init__(self, rows: Batch) -> None:
        self.clicked = rows.label.numpy() > 0
        self.best: np.ndarray | None = None

    def more(self, probability: np.ndarray) -> bool:
        """Take in predictions of the rows after one more pass; tell whether they beat the best ones so far."""
        p = np.clip(probability.astype(np.float64), 1e-7, 1 - 1e-7)
        reached = np.where(self.clicked, np.log(p), np.log1p(-p))
        if self.best is not None:
            gain = reached - self.best
            if gain.mean() <= gain.std() / math.sqrt(len(gain)):
                return False
        self.best = reached
        return True
