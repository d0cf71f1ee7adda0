"""EDK's knowledge encoder: masked patterns in, knowledge vectors out (eq. 26 to 30).

    pattern_k = H' * m_k;   s_k = MLP(mean_f psi(pattern_k))

psi is a stack of self-attention layers, equivariant to a permutation of the fields; the mean over
the fields makes s_k invariant to it. (How F encoded features become one vector is not in the paper.)

The K patterns of a row are one embedding times scalar masks, so the first layer's queries are
computed once a row and scaled: queries(e m_k) = queries(e) m_k.

Shapes: B rows, F fields, K patterns, d width, h heads.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

from pkb.edk.attention import SelfAttention
from pkb.layers import mlp

CACHE_BYTES = 4 << 20  # of attention weights at a time on a CPU: they stay in its cache, and malloc recycles them


class Encoder(nn.Module):
    def __init__(self, width: int, *, depth: int, heads: int, hidden: int) -> None:
        super().__init__()
        self.heads = heads
        self.layers = nn.ModuleList(SelfAttention(width, heads) for _ in range(depth))
        self.mlp = mlp(width, [hidden], width)

    def forward(self, embeddings_BFd: Tensor, masks_BKF: Tensor) -> Tensor:
        """H' of eq. 25 and the masks -> knowledge vectors, [B, K, d]."""
        embeddings_BdF = embeddings_BFd.transpose(1, 2).contiguous()
        if torch.compiler.is_exporting():  # a program has one number of parts, whatever that of rows
            whole_BKd: Tensor = self.mlp(self._pooled(embeddings_BdF, masks_BKF))
            return whole_BKd
        rows = self._rows_at_a_time(masks_BKF)
        parts = zip(embeddings_BdF.split(rows), masks_BKF.split(rows), strict=True)
        knowledge_BKd: Tensor = self.mlp(torch.cat([self._pooled(*part) for part in parts]))
        return knowledge_BKd

    def _rows_at_a_time(self, masks_BKF: Tensor) -> int:
        rows, patterns, fields = masks_BKF.shape
        if masks_BKF.device.type == "cpu":
            rows = CACHE_BYTES // (patterns * self.heads * fields**2 * masks_BKF.element_size())
        return max(1, rows)

    def _pooled(self, embeddings_BdF: Tensor, masks_BKF: Tensor) -> Tensor:
        """mean_f psi(pattern_k), [B, K, d]."""
        layers = cast(list[SelfAttention], list(self.layers))
        queries = layers[0].queries(embeddings_BdF).unsqueeze(1) * masks_BKF[:, :, None, None]
        tokens = (embeddings_BdF.unsqueeze(1) * masks_BKF.unsqueeze(2)).flatten(0, 1)
        known: Tensor | None = queries.flatten(0, 1)
        for layer in layers[:-1]:
            tokens, known = layer(tokens, known), None
        return layers[-1].pooled(tokens, known).view(*masks_BKF.shape[:2], -1)
