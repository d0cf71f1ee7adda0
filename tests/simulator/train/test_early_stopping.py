from __future__ import annotations

import torch
from torch import nn

from simulator.train.early_stopping import EarlyStopping


def after(reached: list[float], patience: int) -> tuple[int, float]:
    """The epochs that were played, and the weight that was kept; epoch e leaves the weight e."""
    module = nn.Linear(1, 1, bias=False)
    stopping, best = EarlyStopping(module, patience), 0.0
    played = 0
    for epoch, value in enumerate(reached, start=1):
        with torch.no_grad():
            module.weight.fill_(epoch)
        played = epoch
        improved, best = value > best, max(value, best)
        if stopping.stop(improved):
            break
    stopping.restore()
    return played, module.weight.item()


def test_it_stops_after_so_many_epochs_without_progress_and_goes_back_to_the_best() -> None:
    assert after([0.6, 0.7, 0.65, 0.7, 0.9], patience=2) == (4, 2)
    assert after([0.6, 0.7, 0.65, 0.8, 0.9], patience=2) == (5, 5)
