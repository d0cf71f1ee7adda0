"""Multi-head self-attention over many short sequences (EDK eq. 27 to 29), written for speed at small widths.

    y_f = x_f + sum_h sum_g A_h[f, g] (x_g W_V,h) W_O,h,   A_h = softmax_g(x_f W_Q,h (x_g W_K,h)^T / sqrt(d))

The paper states neither head width, residual nor normalisation. Here a head is as wide as its input
(d = 8 and 3 heads do not divide), there is a residual connection, and there is no layer norm: it would
rescale a masked feature back to full size and so erase the mask. Projections have no bias, so that
a feature masked to zero, or missing, has logits 0 and value 0.

What makes it fast, at equal values:
- A head is as wide as its input, so W_Q W_K^T and W_V W_O are merged into one matrix each: keys and values
  are the tokens themselves.
- Tokens are columns, [d, F], and the heads lie side by side, [d, h F]: one product per sequence
  yields the logits of all heads, and no step of the forward or backward pass transposes anything in memory.
- One pass over the [F, h F] logits (exp, in place); sums and normalisation happen on the [d + 1, h F] products.

Shapes: N sequences, F tokens, d token width, h heads. Attention weights are held as [N, g, (h f)]:
g is the token read, f the one that reads.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

SAFE_LOGIT = 60.0  # exp(+-60) and its products with a few more powers of ten are normal float32 numbers


def largest(x: Tensor) -> Tensor:
    """max |x|, in one pass."""
    low, high = x.aminmax()
    return torch.maximum(high, -low)


class _Attend(torch.autograd.Function):
    """sum_g softmax_g(<query_f, x_g>) x_g for queries [N, d, h F] and tokens [N, d, F]; [N, d, h F].

    The weights are kept unnormalised, E = exp(logits), with their inverse sums R. The backward pass needs
    the normalised P = E R only in products with the gradient, so R goes there:
    dlogits = P (dP - sum_g P dP) = E (x^T (R dZ) - <R dZ, Z>).
    """

    @staticmethod
    def forward(ctx: Any, queries: Tensor, tokens: Tensor) -> Tensor:
        logits = torch.bmm(tokens.transpose(1, 2), queries)
        bound = queries.shape[1] * largest(queries) * largest(tokens)
        # The usual shift costs a fifth of the pass, and is rarely needed; an exported program cannot tell.
        if torch.compiler.is_exporting() or not bound < SAFE_LOGIT:
            logits -= logits.amax(dim=1, keepdim=True)
        weights = logits.exp_()
        ones = tokens.new_ones(tokens.shape[0], 1, tokens.shape[2])
        sums = torch.bmm(torch.cat([tokens, ones], dim=1), weights)
        inverse = sums[:, -1:].reciprocal()
        read = sums[:, :-1] * inverse
        ctx.save_for_backward(queries, tokens, weights, inverse, read)
        return read

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor]:
        queries, tokens, weights, inverse, read = ctx.saved_tensors
        gradient = gradient * inverse
        mean = (gradient * read).sum(dim=1, keepdim=True)
        of_logits = torch.baddbmm(-mean, tokens.transpose(1, 2), gradient).mul_(weights)
        of_tokens = torch.bmm(gradient, weights.transpose(1, 2))
        of_tokens.baddbmm_(queries, of_logits.transpose(1, 2))
        return torch.bmm(tokens, of_logits), of_tokens


class SelfAttention(nn.Module):
    """One layer, [N, d, F] -> [N, d, F]; queries that are known already (of masked views) can be passed in."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.width, self.heads = width, heads
        shape = (heads, width, width)
        self.query, self.key, self.value, self.output = (nn.Parameter(torch.empty(shape)) for _ in range(4))
        for weight in self.parameters():
            for head in weight:
                nn.init.xavier_uniform_(head)

    def queries(self, tokens_NdF: Tensor) -> Tensor:
        """W_K W_Q^T x / sqrt(d) of every head, [N, d, h, F]: its product with a token is a logit."""
        merged = torch.bmm(self.query, self.key.transpose(1, 2)) / math.sqrt(self.width)  # [h, in, d]
        matrix = merged.permute(2, 0, 1).flatten(0, 1)  # [d h, in]
        queries = torch.bmm(matrix.expand(tokens_NdF.shape[0], -1, -1), tokens_NdF)
        return queries.view(tokens_NdF.shape[0], self.width, self.heads, -1)

    def forward(self, tokens_NdF: Tensor, queries_NdhF: Tensor | None = None) -> Tensor:
        read = self._read(tokens_NdF, queries_NdhF)
        return tokens_NdF + torch.bmm(self._output_matrix().expand(read.shape[0], -1, -1), read)

    def pooled(self, tokens_NdF: Tensor, queries_NdhF: Tensor | None = None) -> Tensor:
        """The mean over tokens of `forward`, [N, d]; it commutes with the output map, so it comes first."""
        read = self._read(tokens_NdF, queries_NdhF)
        return tokens_NdF.mean(dim=2) + read.mean(dim=2) @ self._output_matrix().T

    def _read(self, tokens_NdF: Tensor, queries_NdhF: Tensor | None) -> Tensor:
        """A x of every head, [N, d h, F]."""
        if queries_NdhF is None:
            queries_NdhF = self.queries(tokens_NdF)
        read: Tensor = _Attend.apply(queries_NdhF.flatten(2), tokens_NdF)  # type: ignore[no-untyped-call]
        return read.view(tokens_NdF.shape[0], self.width * self.heads, -1)

    def _output_matrix(self) -> Tensor:
        """W_V W_O of all heads as one matrix on what they read, [d, d h]."""
        return torch.bmm(self.value, self.output).permute(2, 1, 0).flatten(1)
