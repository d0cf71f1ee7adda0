"""What a knowledge base is held against: one that was compressed from rows that tell nothing."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from pkb.batch import Batch, Neighbours


def shuffled(rows: Batch, draw: torch.Generator) -> Batch:
    """Give the rows each other's labels, all labels of a row together, and so their neighbours."""

    def mixed(near: Neighbours) -> Neighbours:
        label_BK, found = near.label_BK.clone(), near.label_BK[near.present_BK]
        label_BK[near.present_BK] = found[torch.randperm(len(found), generator=draw)]
        return replace(near, label_BK=label_BK)

    giver: Tensor = torch.randperm(len(rows), generator=draw)
    further = {name: label[giver] for name, label in rows.further_labels.items()}
    neighbours = {name: mixed(near) for name, near in rows.neighbours.items()}
    return replace(rows, label=rows.label[giver], further_labels=further, neighbours=neighbours)
