from __future__ import annotations

import numpy as np
import torch
from torch import nn

from pkb.batch import Batch
from simulator.train.early_stopping import EarlyStopping

LABEL = [0.0, 0.0, 0.0, 1.0]


def rows(label: list[float]) -> Batch:
    n = len(label)
    return Batch(row_id=torch.arange(n), ids_BF=torch.zeros(n, 1, dtype=torch.int32), label=torch.tensor(label))


def after(beaten: list[int], patience: int, label: list[float] = LABEL) -> tuple[int, float, int]:
    """The epochs that were played, the weight that was kept (epoch e leaves the weight e), and the epoch told.

    In each epoch the click's score beats so many of the three others.
    """
    module = nn.Linear(1, 1, bias=False)
    stopping = EarlyStopping(module, patience, rows(label))
    played = 0
    for epoch, misses in enumerate(beaten, start=1):
        with torch.no_grad():
            module.weight.fill_(epoch)
        played = epoch
        if stopping.stop(np.array([0.1, 0.3, 0.5, 0.2 * misses])):
            break
    told = stopping.restore()
    return played, module.weight.item(), told


def test_it_stops_after_so_many_epochs_without_progress_and_goes_back_to_the_best() -> None:
    assert after([0, 2, 1, 2, 3], patience=2) == (4, 2, 2)
    assert after([0, 1, 0, 2, 3], patience=2) == (5, 5, 5)


def test_an_undefined_auc_is_no_progress() -> None:
    assert after([1, 2, 3], patience=2, label=[1.0] * 4) == (2, 2, 2)
