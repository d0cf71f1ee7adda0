"""DERT: RIM over neighbours that a dense index found by their vectors (Zheng et al., KDD 2023).

z = encoder(row) / |encoder(row)|,   neighbours by inner product of z,   logit as RIM's
L_aux = s BCE(w . z + b, label) + c InfoNCE(z, z~)
InfoNCE = -mean_i log(exp(z_i . z~_i / t) / sum_j exp(z_i . z~_j / t))

z~ is the vector of the row's corrupted view: each of its values is replaced, with some probability, by the value
of that field in another row of the batch (SCARF: Bahri et al., ICLR 2022, which DERT cites).

Of DERT only the abstract could be read: an encoder with auxiliary losses, then a prediction from what was found.
The encoder's shape and both losses are choices of this project, each named in `Settings`.

The encoder shares nothing with the prediction net: searching is no differentiable step, so no loss of one moves the
other.

Shapes: B rows, F fields, D embedding width, V width of a vector.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from pkb.batch import Batch, Schema
from pkb.embedding import EmbeddingTable
from pkb.layers import mlp
from pkb.plug import EMPTY, Plugged, Sockets
from retrieval.models.rim import RIM


def corrupted(ids_BF: Tensor, probability: float) -> Tensor:
    """Each value replaced, with this probability, by that of another row in the same column, [B, F]."""
    rows, device = len(ids_BF), ids_BF.device
    steps_BF = torch.randint(1, max(rows, 2), ids_BF.shape, device=device)  # a row alone steps back to itself
    source_BF = (torch.arange(rows, device=device).unsqueeze(1) + steps_BF) % rows
    return torch.where(torch.rand(ids_BF.shape, device=device) < probability, ids_BF.gather(0, source_BF), ids_BF)


def info_nce(z_BV: Tensor, view_BV: Tensor, temperature: float) -> Tensor:
    """Cross entropy of telling each row's own view from those of the other rows, a scalar."""
    similarity_BB = z_BV @ view_BV.T / temperature
    return functional.cross_entropy(similarity_BB, torch.arange(len(z_BV), device=z_BV.device))


class DenseEncoder(nn.Module):
    """z, [B, F] ids -> [B, V], of length 1; with an embedding table of its own.

    Rows are read by their ids, which is all that a search pool keeps: a list by its first value, a number by its bin,
    of a vector whether it is there.
    """

    def __init__(self, schema: Schema, width: int, hidden: Sequence[int], vector_width: int) -> None:
        super().__init__()
        fields = len(schema.fields)
        self.table = EmbeddingTable(schema.fields, width)
        self.layers = mlp(fields * width, hidden, vector_width)

    def forward(self, ids_BF: Tensor) -> Tensor:
        return functional.normalize(self.layers(self.table.look_up(ids_BF).flatten(1)), dim=1)


class DERT(RIM):
    retriever: ClassVar[str] = "dense"

    @dataclass(frozen=True, kw_only=True)
    class Settings(RIM.Settings):
        encoder_hidden: tuple[int, ...] = (128,)  # widths of the encoder's hidden layers (ours)
        vector_width: int = 32  # V (ours)
        supervised: float = 1.0  # s, weight of telling clicks from the vector (ours)
        contrast: float = 0.1  # c, weight of the contrastive loss (ours)
        corruption: float = 0.6  # probability that a value is replaced (SCARF's share of replaced fields)
        temperature: float = 1.0  # t (SCARF)

    def __init__(self, schema: Schema, settings: Settings, sockets: Sockets = Sockets()) -> None:
        super().__init__(schema, settings, sockets)
        self.settings, self.vector_width = settings, settings.vector_width
        self.encoder = DenseEncoder(schema, settings.width, settings.encoder_hidden, settings.vector_width)
        self.click = nn.Linear(settings.vector_width, 1)  # w, b

    def encode(self, batch: Batch) -> Tensor:
        """What the dense index compares, [B, V]; the same for every call in evaluation mode."""
        z_BV: Tensor = self.encoder(batch.ids_BF)
        return z_BV

    def with_auxiliary(self, batch: Batch, plugged: Plugged = EMPTY) -> tuple[Tensor, Tensor | None]:
        return self(batch, plugged), self._encoder_loss(batch) if self.training else None

    def _encoder_loss(self, batch: Batch) -> Tensor:
        """L_aux."""
        z_BV, view_BV = self.encode(batch), self.encoder(corrupted(batch.ids_BF, self.settings.corruption))
        clicks = functional.binary_cross_entropy_with_logits(self.click(z_BV).squeeze(1), batch.label)
        contrast = info_nce(z_BV, view_BV, self.settings.temperature)
        return self.settings.supervised * clicks + self.settings.contrast * contrast
