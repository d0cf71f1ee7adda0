"""Vectors of rows: what dense and soft searches compare.

Shapes: B rows, D width of a vector.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pkb.batch import Batch
from pkb.errors import DataError

Encoder = Callable[[Batch], Tensor]  # [B, D] of B rows; alike rows have a large inner product

AT_ONCE = 8192  # rows encoded in one go: few enough for an encoder's activations to stay small


def encode(encoder: Encoder, rows: Batch, width: int) -> NDArray[np.float32]:
    """The vectors of all rows, [B, D], contiguous."""
    vectors_BD = np.empty((len(rows), width), dtype=np.float32)
    with torch.no_grad():
        for start in range(0, len(rows), AT_ONCE):
            part = encoder(rows.select(slice(start, start + AT_ONCE)))
            if part.shape[1:] != (width,):
                raise DataError(f"retrieval: the encoder gives vectors of {tuple(part.shape[1:])}, not of ({width},)")
            vectors_BD[start : start + AT_ONCE] = part.cpu().numpy()
    if not np.isfinite(vectors_BD).all():
        raise DataError("retrieval: the encoder gives numbers that are not finite; was it trained to its end?")
    return vectors_BD
