"""Contenders that need no training, for tests of what stands around them."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from pkb.batch import Batch, Field, Schema
from pkb.errors import CheckpointError

SCHEMA = Schema(fields=(Field(name="user", role="user"), Field(name="item", role="item")), user="user", item="item")


class OneOverId:
    """Predicts 1 / item, a float32 that few decimals cannot write."""

    def __init__(self) -> None:
        self.schema = SCHEMA
        self.trained_through = 3

    def predict(self, batch: Batch) -> np.ndarray:
        return (1 / batch.ids_BF[:, 1].numpy()).astype(np.float32)


def load_one_over_id(run: Path, arm: str, seed: int) -> OneOverId:
    return OneOverId()


def load_damaged(run: Path, arm: str, seed: int) -> OneOverId:
    raise CheckpointError(f"{run}: {arm}-{seed} is damaged")
