"""xDeepFM: compressed interaction network, linear and deep part over shared embeddings (Lian et al., KDD 2018).

X^k_h = sum_i sum_j W^{k,h}_{ij} (X^{k-1}_i * X^0_j),  X^0 = (v_1, ..., v_F)   (eq. 6, the CIN)
y = w_0 + sum_f w_f + w^T [p^1, ..., p^T] + MLP([v_1, ..., v_F]),  p^k_h = sum_d X^k_{h,d}   (eq. 7 and 9)

The CIN has no activation between its layers, as in the paper's best setting. Extra fields and joined embeddings are
part of X^0; the linear term sees ids only. Knowledge is added to, or gates, a hidden layer of the MLP.

Shapes: B rows, F fields, K extra fields, D embedding width, J joined width, H feature maps of a CIN layer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn

from pkb.backbones.base import Backbone, Tower
from pkb.batch import Batch, Schema
from pkb.embedding import EmbeddingTable
from pkb.plug import EMPTY, Plugged, Sockets
from pkb.space import Dropout


class CIN(nn.Module):
    """Compressed interaction network; [B, F, D] -> [B], a weighted sum of all its feature maps.

    All embedding columns share one matrix a layer, so a layer is a product of [N, H F] with [H F, H'], N = B D. Its
    left side is H F / H' times as large as the result: rows pass in blocks, whose products stay in a core's cache.
    """

    block = 128  # rows

    def __init__(self, fields: int, maps: Sequence[int]) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            nn.Linear(before * fields, after, bias=False) for before, after in pairwise([fields, *maps])
        )
        self.last = nn.Linear(sum(maps), 1, bias=False)

    def forward(self, v_BFD: Tensor) -> Tensor:
        # An exported program has one number of blocks, whatever that of rows.
        blocks = (v_BFD,) if torch.compiler.is_exporting() else v_BFD.split(self.block)
        pooled_BH = torch.cat([self.pooled(block_BFD) for block_BFD in blocks])
        logit_B1: Tensor = self.last(pooled_BH)
        return logit_B1.squeeze(1)

    def pooled(self, v_BFD: Tensor) -> Tensor:
        """Every layer's feature maps, each summed over its columns, side by side."""
        rows, fields, width = v_BFD.shape
        x0_NF = x_NH = v_BFD.transpose(1, 2).reshape(rows * width, fields)
        sums = []
        for layer in self.layers:
            products_NHF = torch.bmm(x_NH.unsqueeze(2), x0_NF.unsqueeze(1))  # broadcasting has a slower gradient
            x_NH = layer(products_NHF.flatten(1))
            sums.append(x_NH.view(rows, width, -1).sum(dim=1))
        return torch.cat(sums, dim=1)


class XDeepFM(Backbone):
    @dataclass(frozen=True, kw_only=True)
    class Settings:
        width: int = 16  # embedding width D
        maps: tuple[int, ...] = (32, 32)  # feature maps H of each CIN layer (the paper: 200 each, on GPUs)
        hidden: tuple[int, ...] = (256, 128)  # widths of the deep part
        dropout: Dropout = 0.0

    def __init__(self, schema: Schema, settings: Settings, sockets: Sockets = Sockets()) -> None:
        super().__init__(schema, settings, sockets)
        fields, self.embedding_width = len(schema.fields), settings.width
        self.table = EmbeddingTable(schema.fields, 1 + settings.width)  # column 0 is the linear weight
        number, width = sockets.around(fields, settings.width)
        self.cin = CIN(number, settings.maps)
        self.tower = Tower(number * width, settings.hidden, sockets, dropout=settings.dropout)
        self.hidden_width = self.tower.socket_width

    def forward(self, batch: Batch, plugged: Plugged = EMPTY) -> Tensor:
        rows_BFD: Tensor = self.table(batch)
        linear_B, v_BFD = rows_BFD[..., 0].sum(dim=1), self.with_knowledge(rows_BFD[..., 1:], plugged)
        deep_B: Tensor = self.tower(v_BFD.flatten(1), plugged)  # with w_0
        crossed_B: Tensor = self.cin(v_BFD)
        return linear_B + crossed_B + deep_B
