"""When to stop learning, by the AUC of rows that are not learned."""

from __future__ import annotations

import math
from copy import deepcopy

import numpy as np
from torch import Tensor, nn

from pkb.batch import Batch
from simulator.measure.ranking import auc


class EarlyStopping:
    """Stops once `patience` epochs have brought nothing, and goes back to the weights of the best one."""

    def __init__(self, module: nn.Module, patience: int, rows: Batch) -> None:
        self.module, self.patience, self.rows = module, patience, rows
        self.best, self.reached = -math.inf, 0  # AUC, and the epoch that has it
        self.epochs = 0
        self.weights: dict[str, Tensor] | None = None

    def stop(self, probability: np.ndarray) -> bool:
        """Whether to stop after an epoch that predicts the rows so; an undefined AUC is no progress."""
        value = auc(self.rows.label.numpy(), probability).value
        self.epochs += 1
        if value is not None and value > self.best:
            self.best, self.reached = value, self.epochs
            self.weights = deepcopy(self.module.state_dict())
        return self.epochs - self.reached >= self.patience

    def restore(self) -> int:
        """Go back to the best epoch's weights, if later ones were worse; says which it was."""
        if self.weights is None:
            return self.epochs
        if self.reached < self.epochs:
            self.module.load_state_dict(self.weights)
        return self.reached
