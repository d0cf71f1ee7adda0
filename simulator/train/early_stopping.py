"""When to stop learning, by rows that are not learned."""

from __future__ import annotations

from copy import deepcopy

from torch import Tensor, nn


class EarlyStopping:
    """Stops once `patience` epochs have brought nothing, and goes back to the weights of the best one."""

    def __init__(self, module: nn.Module, patience: int) -> None:
        self.module, self.patience = module, patience
        self.since = 0  # epochs
        self.weights: dict[str, Tensor] | None = None

    def stop(self, improved: bool) -> bool:
        """Whether to stop after an epoch that is the best so far, or not."""
        if improved:
            self.since = 0
            self.weights = deepcopy(self.module.state_dict())
            return False
        self.since += 1
        return self.since >= self.patience

    def restore(self) -> None:
        """Go back to the best epoch's weights, if later ones were worse."""
        if self.weights is not None and self.since:
            self.module.load_state_dict(self.weights)
