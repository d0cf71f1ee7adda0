"""EDK's knowledge extractor: K masks over the fields of an impression (eq. 18 to 26).

The hard concrete distribution (Louizos et al. 2018), with its location log(alpha) = H P, u ~ U(0, 1):
    s = sigmoid((log u - log(1 - u) + log alpha) / temperature)
    z = min(1, max(0, s (high - low) + low))
The paper writes "log m" for the location where m = H P may be negative, and Tanh for the clamp: read as
above, which is how public code of the same distribution does it.

Shapes: B rows, F fields, K patterns, d width.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from pkb.edk.attention import SelfAttention

MARGIN = 1e-6  # of uniform noise to 0 and 1, where its logit is infinite


@dataclass(frozen=True, kw_only=True)
class HardConcrete:
    """Stretched to (low, high), a sigmoid of noise is clamped to [0, 1]: exactly 0 and 1 have probability."""

    temperature: float
    low: float  # gamma, below 0
    high: float  # delta in the paper, zeta elsewhere, above 1

    def _clamp(self, s: Tensor) -> Tensor:
        return (s * (self.high - self.low) + self.low).clamp(0, 1)

    def sample(self, log_alpha: Tensor, uniform: Tensor) -> Tensor:
        """A mask in [0, 1] from noise in (0, 1) of the same shape (eq. 22 to 24)."""
        return self._clamp(torch.sigmoid((torch.logit(uniform, MARGIN) + log_alpha) / self.temperature))

    def deterministic(self, log_alpha: Tensor) -> Tensor:
        """The mask without noise: the location alone, not divided by the temperature (Louizos et al., eq. 13)."""
        return self._clamp(torch.sigmoid(log_alpha))

    def probability_nonzero(self, log_alpha: Tensor) -> Tensor:
        """P(mask > 0), of which the L0 penalty is the mean (Louizos et al., eq. 12)."""
        return torch.sigmoid(log_alpha - self.temperature * math.log(-self.low / self.high))


class Extractor(nn.Module):
    """One global self-attention layer over the fields, then K locations for each: M = H P."""

    def __init__(self, width: int, patterns: int, heads: int) -> None:
        super().__init__()
        self.attention = SelfAttention(width, heads)
        self.patterns = nn.Parameter(nn.init.xavier_uniform_(torch.empty(patterns, width)))  # P, transposed

    def forward(self, features_BFd: Tensor) -> Tensor:
        """Embedded fields -> log(alpha) of the masks, [B, K, F]."""
        context_BdF: Tensor = self.attention(features_BFd.transpose(1, 2))
        return self.patterns @ context_BdF
