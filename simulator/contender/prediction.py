"""The pass over rows that a prediction makes, each rank over its share."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from pkb.batch import Batch
from pkb.knowledge import evaluate
from pkb.ranks import Ranks

Progress = Callable[[int], None]  # hears the number of rows of each minibatch that is done


@torch.inference_mode()
def probabilities(
    model: nn.Module,
    score: Callable[[Batch], Tensor],
    rows: Batch,
    *,
    size: int,
    ranks: Ranks,
    progress: Progress | None = None,
) -> np.ndarray:
    """Give the click probabilities of all rows, [B] float32, on every rank; `score` gives the model's logits, [B]."""
    evaluate(model)
    start, stop = ranks.bounds(len(rows))
    probability_B = torch.zeros(len(rows))
    for part in rows.select(slice(start, stop)).minibatches(size):
        probability_B[start : start + len(part)] = torch.sigmoid(score(part)).cpu()
        start += len(part)
        if progress:
            progress(len(part) * ranks.world)
    return ranks.sum(probability_B).numpy()
