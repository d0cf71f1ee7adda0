"""What a knowledge base is compared with: one that was compressed from rows that tell nothing."""

from __future__ import annotations

from dataclasses import replace

import torch

from pkb.batch import Batch, Neighbours


def shuffled(rows: Batch, draw: torch.Generator) -> Batch:
    """The rows with each other's labels, and so their neighbours."""

    def mixed(near: Neighbours) -> Neighbours:
        label_BK, found = near.label_BK.clone(), near.label_BK[near.present_BK]
        label_BK[near.present_BK] = found[torch.randperm(len(found), generator=draw)]
        return replace(near, label_BK=label_BK)

    label = rows.label[torch.randperm(len(rows), generator=draw)]
    return replace(rows, label=label, neighbours={name: mixed(near) for name, near in rows.neighbours.items()})
