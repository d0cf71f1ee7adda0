"""Weights of our models copied into those of deepctr-torch, which name their parts alike in every model."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from pkb.backbones.base import Tower
from pkb.batch import Batch
from pkb.embedding import EmbeddingTable
from tests.pkb.backbones.check_backbone import IDS, SCHEMA


def columns(width: int) -> list[Any]:
    """Every field over all ids, since ours are global."""
    from deepctr_torch.inputs import SparseFeat

    return [SparseFeat(name, vocabulary_size=IDS, embedding_dim=width) for name in SCHEMA.names]


@torch.no_grad()
def copy_embeddings(theirs: Any, table: EmbeddingTable, *, linear: bool) -> None:
    """Vectors; with `linear` our column 0 into their linear part, which is set to zero without."""
    for name in SCHEMA.names:
        theirs.embedding_dict[name].weight.copy_(table.weight[:, 1:] if linear else table.weight)
        if name in theirs.linear_model.embedding_dict:
            weights = table.weight[:, :1] if linear else torch.zeros(IDS, 1)
            theirs.linear_model.embedding_dict[name].weight.copy_(weights)


@torch.no_grad()
def copy_tower(theirs: Any, tower: Tower, beside: nn.Linear | None = None) -> None:
    """Hidden layers and the last one; behind it, theirs has one weight vector for `beside` and the hidden layer."""
    for to, layer in zip(theirs.dnn.linears, tower.layers, strict=True):
        assert isinstance(layer, nn.Sequential)
        to.load_state_dict(layer[0].state_dict())
    theirs.dnn_linear.weight.copy_(
        tower.last.weight if beside is None else torch.cat([beside.weight, tower.last.weight], dim=1)
    )
    theirs.out.bias.copy_(tower.last.bias)


@torch.no_grad()
def probabilities(theirs: Any, rows: Batch) -> Tensor:
    scores: Tensor = theirs.double().eval()(rows.ids_BF.double())
    return scores.squeeze(1)
