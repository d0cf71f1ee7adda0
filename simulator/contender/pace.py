"""The pace of a lesson where the settings leave it to the log: how many rows a minibatch has, and how many passes."""

from __future__ import annotations

import math

import numpy as np
from torch import Tensor

from pkb.batch import Batch
from simulator.measure.ranking import auc

STEPS = 128  # that a pass should have at least
SMALLEST, LARGEST = 32, 1024  # minibatches, rows
MOST_PASSES = 4
NEWEST = 0.125  # share of the present period's rows, the newest, that tells whether another pass pays
TELLING = 20  # rows of each class among them; fewer tell nothing
NOISE = 1.0  # standard errors that a pass must gain


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
    clicks = int(rows.label[late].sum())
    return late if min(clicks, int(late.sum()) - clicks) >= TELLING else None


class Likelihood:
    """Judges passes by the log-likelihood of clicks that were not learned.

    A pass has brought something if it has brought more than chance may: a mean gain above its standard error.
    """

    def __init__(self, rows: Batch) -> None:
        self.clicked = rows.label.numpy() > 0
        self.best: np.ndarray | None = None

    def improved(self, probability: np.ndarray) -> bool:
        """Take in predictions of the rows after one more pass; tell whether they beat the best ones so far."""
        p = np.clip(probability.astype(np.float64), 1e-7, 1 - 1e-7)
        reached = np.where(self.clicked, np.log(p), np.log1p(-p))
        if self.best is not None:
            gain = reached - self.best
            if gain.mean() <= NOISE * gain.std() / math.sqrt(len(gain)):
                return False
        self.best = reached
        return True


class ValidationAUC:
    """Judges passes by the AUC of rows that were not learned."""

    def __init__(self, rows: Batch) -> None:
        self.label, self.best = rows.label.numpy(), -math.inf

    def improved(self, probability: np.ndarray) -> bool:
        """Take in predictions of the rows after one more pass; tell whether their AUC is the best so far."""
        reached = auc(self.label, probability).value
        if reached is None or reached <= self.best:
            return False
        self.best = reached
        return True
