"""PNN: product-based neural network (Qu et al., ICDM 2016).

l_1 = relu(W_z z + W_p p + b),  z = [v_1, ..., v_F]
p = (<v_f, v_g>)_{f<g}                                                    (inner products, IPNN)
p = s s^T,  s = sum_f v_f                                                 (outer products, superposed, OPNN)
y = the rest of the MLP on l_1

Both kinds together make PNN*. Extra fields and joined embeddings take part in z and in the products; knowledge is
added to, or gates, l_1 or a later layer. Of the symmetric matrices the triangle is used: the other half would add
weights but no other function.

Shapes: B rows, F fields, K extra fields, D embedding width, J joined width.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from pkb.backbones.base import Backbone, Tower
from pkb.batch import Batch, Schema
from pkb.embedding import EmbeddingTable
from pkb.errors import SettingError
from pkb.layers import inner_products
from pkb.plug import EMPTY, Plugged, Sockets
from pkb.space import Dropout

PRODUCTS = ("inner", "outer", "both")


def outer_products(v_BFD: Tensor) -> Tensor:
    """sum_{f,g} v_f v_g^T, its upper triangle with the diagonal; [B, F, D] -> [B, D (D + 1) / 2]."""
    sum_BD = v_BFD.sum(dim=1)
    row, column = torch.triu_indices(sum_BD.shape[1], sum_BD.shape[1], device=v_BFD.device)
    return sum_BD[:, row] * sum_BD[:, column]


class PNN(Backbone):
    @dataclass(frozen=True, kw_only=True)
    class Settings:
        width: int = 16  # embedding width D
        product: str = "inner"  # inner, outer or both
        hidden: tuple[int, ...] = (256, 128)
        dropout: Dropout = 0.0

        def __post_init__(self) -> None:
            if self.product not in PRODUCTS:
                raise SettingError(f"product={self.product!r}: must be one of {', '.join(PRODUCTS)}")

    def __init__(self, schema: Schema, settings: Settings, sockets: Sockets = Sockets()) -> None:
        super().__init__(schema, settings, sockets)
        fields, self.embedding_width = len(schema.fields), settings.width
        self.table = EmbeddingTable(schema.fields, settings.width)
        number, width = sockets.around(fields, settings.width)
        self.inner, self.outer = settings.product != "outer", settings.product != "inner"
        inputs = number * width + self.inner * number * (number - 1) // 2 + self.outer * width * (width + 1) // 2
        self.tower = Tower(inputs, settings.hidden, sockets, dropout=settings.dropout)
        self.hidden_width = self.tower.socket_width

    def forward(self, batch: Batch, plugged: Plugged = EMPTY) -> Tensor:
        v_BFD = self.with_knowledge(self.table(batch), plugged)
        signals = [v_BFD.flatten(1)]
        if self.inner:
            signals.append(inner_products(v_BFD))
        if self.outer:
            signals.append(outer_products(v_BFD))
        logits: Tensor = self.tower(torch.cat(signals, dim=1), plugged)
        return logits
