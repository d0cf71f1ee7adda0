"""How knowledge enters a backbone.

Shapes: B rows, K knowledge vectors, d their width, D the backbone's embedding width.
"""

from __future__ import annotations

from typing import cast

from torch import Tensor, nn

from pkb.backbones.base import Backbone
from pkb.batch import Batch
from pkb.layers import mlp


class ExtraFields(nn.Module):
    """Each knowledge vector becomes the embedding of one more field: MLP of EDK eq. 33, [B, K, d] -> [B, K, D].

    It starts at zero, so that a new plug leaves scores as they were: at the usual initialisation its outputs
    are several times as long as embeddings, and drown them in every product of fields.
    """

    def __init__(self, knowledge_width: int, embedding_width: int) -> None:
        super().__init__()
        self.adapt = mlp(knowledge_width, [embedding_width], embedding_width)
        last = cast(nn.Linear, self.adapt[-1])
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)

    def forward(self, knowledge_BKd: Tensor) -> Tensor:
        extra_BKD: Tensor = self.adapt(knowledge_BKd)
        return extra_BKD


class ClickModel(nn.Module):
    """A backbone, with or without knowledge plugged in: the learnt part of an arm."""

    def __init__(self, backbone: Backbone, plug: ExtraFields | None = None) -> None:
        super().__init__()
        self.backbone, self.plug = backbone, plug

    def forward(self, batch: Batch, knowledge_BKd: Tensor | None = None) -> Tensor:
        """Click logits, [B]."""
        if self.plug is None or knowledge_BKd is None:
            logits: Tensor = self.backbone(batch)
        else:
            logits = self.backbone(batch, self.plug(knowledge_BKd))
        return logits
