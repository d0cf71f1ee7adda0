"""The neighbours that a batch brings along, or their absence.

Shapes: B rows, F fields, K neighbours.
"""

from __future__ import annotations

import torch

from pkb.batch import MISSING, Batch, Neighbours


def neighbours_of(batch: Batch, retriever: str) -> Neighbours:
    """What `retriever` found for these rows; where it was not asked, one absent neighbour each."""
    found = batch.neighbours.get(retriever)
    if found is not None:
        return found
    label_BK = torch.zeros_like(batch.label).unsqueeze(1)
    return Neighbours(
        ids_BKF=torch.full_like(batch.ids_BF, MISSING).unsqueeze(1),
        label_BK=label_BK,
        age_BK=label_BK.to(torch.int32),
        present_BK=label_BK.bool(),
    )
