"""DARec: features that tell clicks but not the domain (Yuan et al. 2019), as DANN (Ganin and Lempitsky 2015).

    f = bottom(x);    logit = predictor_d(f) of the row's domain d;    loss += CE(d, classifier(reverse(f)))

where reverse hands f on and its gradient back times -mu: the classifier learns to tell domains, the bottom to keep them
from it. The paper does so with ratings that auto-encoders have learned before; KEEP compares with it "with slight
modifications for task accommodation", which it does not name. Here the bottom is an MLP over a row's embeddings.

Shapes: B rows, X inputs, N domains, H width of the bottom.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated, Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from pkb.backbones.base import Backbone, enter
from pkb.backbones.domains import Domains, DomainSettings
from pkb.batch import Batch, Schema
from pkb.embedding import EmbeddingTable
from pkb.errors import SettingError
from pkb.layers import dense, mlp
from pkb.plug import EMPTY, Plugged, Sockets
from pkb.space import Between


class Reverse(torch.autograd.Function):
    """Hands a value on, and its gradient back times -mu."""

    @staticmethod
    def forward(ctx: Any, value: Tensor, mu: float) -> Tensor:
        ctx.mu = mu
        return value.view_as(value)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return -ctx.mu * gradients[0], None


class DARec(Backbone):
    @dataclass(frozen=True, kw_only=True)
    class Settings(DomainSettings):
        """`hidden` is the bottom."""

        tower: int = 64  # hidden width of each domain's predictor, and of the classifier
        mu: Annotated[float, Between(0.01, 1.0, log=True)] = 0.1  # ours; the paper searches it

        def __post_init__(self) -> None:
            super().__post_init__()
            if self.tower < 1:
                raise SettingError(f"tower={self.tower}: must be at least 1")
            if self.mu < 0:
                raise SettingError(f"mu={self.mu}: must be at least 0")

    def __init__(self, schema: Schema, settings: Settings, sockets: Sockets = Sockets()) -> None:
        super().__init__(schema, settings, sockets)
        self.domains = Domains(schema, settings, type(self).__name__)
        self.embedding_width, self.mu = settings.width, settings.mu
        self.table = EmbeddingTable(schema.fields, settings.width)
        embeddings, each = sockets.around(len(schema.fields), settings.width)
        widths = pairwise([embeddings * each, *settings.hidden])
        self.bottom = nn.ModuleList(dense(*width, dropout=settings.dropout) for width in widths)
        last, number = settings.hidden[-1], settings.domains
        self.predictors = nn.ModuleList(mlp(last, [settings.tower], 1) for _ in range(number))
        self.classifier = mlp(last, [settings.tower], number)
        self.socket = min(sockets.layer, len(settings.hidden))
        self.hidden_width = settings.hidden[self.socket - 1]

    def meet(self, rows: Batch, generator: torch.Generator) -> None:
        self.domains.meet(rows)

    def forward(self, batch: Batch, plugged: Plugged = EMPTY) -> Tensor:
        return self._logits(batch, plugged, self.domains.of(batch))[0]

    def with_auxiliary(self, batch: Batch, plugged: Plugged = EMPTY) -> tuple[Tensor, Tensor | None]:
        domain_B = self.domains.of(batch)
        logit_B, feature_BH = self._logits(batch, plugged, domain_B)
        told_BN = self.classifier(Reverse.apply(feature_BH, self.mu))  # type: ignore[no-untyped-call]
        return logit_B, functional.cross_entropy(told_BN, domain_B)

    def _logits(self, batch: Batch, plugged: Plugged, domain_B: Tensor) -> tuple[Tensor, Tensor]:
        """Logits, [B], and the features that they were made from, [B, H]."""
        feature_BH = self.with_knowledge(self.table(batch), plugged).flatten(1)
        for number, layer in enumerate(self.bottom, start=1):
            feature_BH = layer(feature_BH)
            if number == self.socket:
                feature_BH = enter(feature_BH, plugged)
        logit_BN = torch.cat([predictor(feature_BH) for predictor in self.predictors], dim=1)
        return logit_BN.gather(1, domain_B.unsqueeze(1)).squeeze(1), feature_BH
