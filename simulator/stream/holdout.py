"""Which rows no arm ever trains on: drawn by a hash of the request, or of the row where there are no requests."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from pkb.batch import Batch


def holdout_mask(batch: Batch, share: float) -> Tensor:
    """[B] bool; rows shown together share their fate, and a row's fate never depends on other rows."""
    key = batch.row_id if batch.request is None else batch.request
    return torch.from_numpy(_splitmix64(key.numpy().view(np.uint64)) < np.uint64(share * 2**64))


def _splitmix64(x: np.ndarray) -> np.ndarray:
    """Steele et al. 2014: a bijection of 64-bit integers whose output bits look independent."""
    with np.errstate(over="ignore"):
        x = x + np.uint64(0x9E3779B97F4A7C15)
        x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        mixed: np.ndarray = x ^ (x >> np.uint64(31))
        return mixed
