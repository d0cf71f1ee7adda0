"""What a contender predicted offline, which what is served is held to.

Shapes: B rows.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow.compute as pc

from pkb.errors import RunError
from retrieval.indexed_pool import ROUNDED
from simulator.record.experiment import key_of
from simulator.record.layout import RunFolder
from simulator.record.predictions import read_columns

FLIPS = 0.01  # share of rows beyond the tolerance where rounding may decide which of two neighbours is read
TOLERANCE = 1e-6  # between a served and a stored probability: other batch sizes round differently
Stored = tuple[np.ndarray, np.ndarray]  # row_id [B] ascending, probability [B] float32


def stored_predictions(run: RunFolder, period: int, arm: str, seed: int, *, through: int, holdout: bool) -> Stored:
    """Read what a contender trained through period `through` predicted offline for the rows of `period`."""
    file = run.predictions(period, key_of((arm, seed)))
    here = (
        (pc.field("trained_through") == through)
        & (pc.field("evaluated_on") == period)
        & (pc.field("holdout") == holdout)
    )
    table = read_columns(file, ["row_id", "probability"], here).sort_by("row_id")
    if not table.num_rows:
        raise RunError(f"{file}: holds no predictions of {arm} (seed {seed}) for period {period}; delete the run")
    return table.column("row_id").to_numpy(), table.column("probability").to_numpy()


def may_flip(reads: Sequence[str]) -> float:
    """The share of rows that may get another probability, of an arm that reads what these retrievers find."""
    return FLIPS if ROUNDED & set(reads) else 0.0
