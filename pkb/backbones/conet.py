"""CoNet, collaborative cross networks: two domains' networks hand each other what they see (Hu et al., CIKM 2018).

    h_a' = relu(W_a h_a + b_a + H h_b),    h_b' = relu(W_b h_b + b_b + H h_a)

with the same H in both directions, in the first `cross_layers` layers; `l1` makes H sparse (SCoNet). The paper's
networks read a user with an item of each domain, from interactions that it pairs; a row of a log has one item, and both
networks read the row, whose own domain's one predicts it. With more than two domains H reads the mean of the others.

A step costs as much as that of N plain DNNs of these widths, and for H half as much again.

Shapes: B rows, X inputs, N domains, H width of a layer.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from pkb.backbones.base import Backbone, enter
from pkb.backbones.domains import Domains, DomainSettings
from pkb.batch import Batch, Schema
from pkb.embedding import EmbeddingTable
from pkb.errors import SettingError
from pkb.plug import EMPTY, Plugged, Sockets


class CoNet(Backbone):
    @dataclass(frozen=True, kw_only=True)
    class Settings(DomainSettings):
        cross_layers: int = 2  # layers that read the other network, from the first on
        l1: float = 0.0  # weight of sum |H|

        def __post_init__(self) -> None:
            super().__post_init__()
            for name in ("cross_layers", "l1"):
                if getattr(self, name) < 0:
                    raise SettingError(f"{name}={getattr(self, name)}: must be at least 0")

    def __init__(self, schema: Schema, settings: Settings, sockets: Sockets = Sockets()) -> None:
        super().__init__(schema, settings, sockets)
        self.domains = Domains(schema, settings, type(self).__name__)
        self.embedding_width, self.dropout, self.l1 = settings.width, settings.dropout, settings.l1
        self.table = EmbeddingTable(schema.fields, settings.width)
        embeddings, each = sockets.around(len(schema.fields), settings.width)
        widths = list(pairwise([embeddings * each, *settings.hidden]))
        self.layers = nn.ModuleList(
            nn.ModuleList(nn.Linear(*width) for _ in range(settings.domains)) for width in widths
        )
        self.cross = nn.ModuleList(nn.Linear(*width, bias=False) for width in widths[: settings.cross_layers])
        self.last = nn.ModuleList(nn.Linear(settings.hidden[-1], 1) for _ in range(settings.domains))
        self.socket = min(sockets.layer, len(widths))
        self.hidden_width = settings.hidden[self.socket - 1]

    def meet(self, rows: Batch, generator: torch.Generator) -> None:
        self.domains.meet(rows)

    def forward(self, batch: Batch, plugged: Plugged = EMPTY) -> Tensor:
        x_BX = self.with_knowledge(self.table(batch), plugged).flatten(1)
        said = [x_BX] * len(self.last)  # by each network
        for number, layers in enumerate(self.layers, start=1):
            read = [layer(h) for layer, h in zip(cast(nn.ModuleList, layers), said, strict=True)]
            if number <= len(self.cross):
                crossed = [self.cross[number - 1](h) for h in said]
                every = torch.stack(crossed).sum(dim=0)
                read = [h + (every - own) / (len(said) - 1) for h, own in zip(read, crossed, strict=True)]
            said = [functional.dropout(torch.relu(h), self.dropout, self.training) for h in read]
            if number == self.socket:
                said = [enter(h, plugged) for h in said]
        logit_BN = torch.cat([last(h) for last, h in zip(self.last, said, strict=True)], dim=1)
        return logit_BN.gather(1, self.domains.of(batch).unsqueeze(1)).squeeze(1)

    def with_auxiliary(self, batch: Batch, plugged: Plugged = EMPTY) -> tuple[Tensor, Tensor | None]:
        logits = self(batch, plugged)
        if not (self.l1 and len(self.cross)):
            return logits, None
        return logits, self.l1 * torch.stack([H.abs().sum() for H in self.cross.parameters()]).sum()
