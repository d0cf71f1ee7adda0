"""A transformer over a user's click sequence, read in both directions (BERT4Rec, Sun et al., CIKM 2019, section 3.3).

In front of the behaviours stands a mask, as if at the place of the next click: what is said there is what the sequence
comes to. Places are counted from the newest on, so that padding and the length of a history shift nothing.

    A = LN(x + MultiHead(x));  layer(x) = LN(A + W_2 GELU(W_1 A + b_1) + b_2)

Shapes: B sequences, H behaviours, S = H + 1 places, D width, N heads, M places of all sequences together, K negatives.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from pkb.errors import SettingError


@dataclass(frozen=True, kw_only=True)
class EncoderSettings:
    """The shape of an encoder; the base and the click model that goes on from it have the same."""

    width: int = 32  # of embeddings and encoder, D
    layers: int = 2
    heads: int = 2
    positions: int = 50  # places that are told apart; all older ones are alike

    def __post_init__(self) -> None:
        for name in ("width", "layers", "heads", "positions"):
            if getattr(self, name) < 1:
                raise SettingError(f"{name}={getattr(self, name)}: must be at least 1")
        if self.width % self.heads:
            raise SettingError(f"heads={self.heads}: must divide width={self.width}")


class SequenceEncoder(nn.Module):
    """From behaviours to what each place says among the others."""

    def __init__(self, settings: EncoderSettings) -> None:
        super().__init__()
        self.mask_D = nn.Parameter(0.1 * torch.randn(settings.width))
        self.places = nn.Embedding(settings.positions, settings.width)
        nn.init.normal_(self.places.weight, std=0.1)
        self.norm = nn.LayerNorm(settings.width)
        self.layers = nn.ModuleList(Layer(settings.width, settings.heads) for _ in range(settings.layers))

    def forward(self, behaviours_BHD: Tensor, present_BH: Tensor, hidden_BH: Tensor | None = None) -> Tensor:
        """[B, S, D]: of the whole sequence first, then of each behaviour; those of `hidden` [B, H] are masked."""
        mask_11D = self.mask_D.expand(1, 1, -1)
        if hidden_BH is not None:
            behaviours_BHD = torch.where(hidden_BH.unsqueeze(2), mask_11D, behaviours_BHD)
        x_BSD: Tensor = torch.cat([mask_11D.expand(len(behaviours_BHD), -1, -1), behaviours_BHD], dim=1)
        present_BS = functional.pad(present_BH, (1, 0), value=True)
        newer_BS = present_BS.flip(1).cumsum(dim=1).flip(1) - present_BS.int()  # behaviours after each place
        place_BS = functional.pad(newer_BS[:, 1:] + 1, (1, 0)).clamp(max=self.places.num_embeddings - 1)
        x_BSD = self.norm(x_BSD + self.places(place_BS))
        for layer in self.layers:
            x_BSD = layer(x_BSD, present_BS)
        return x_BSD


class Layer(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.to_qkv, self.mixed = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.wide, self.narrow = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        self.after_attention, self.after_feeding = nn.LayerNorm(width), nn.LayerNorm(width)

    def forward(self, x_BSD: Tensor, present_BS: Tensor) -> Tensor:
        q, k, v = self.to_qkv(x_BSD).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)  # each [B, N, S, D / N]
        logits_BNSS = q @ k.mT / q.shape[-1] ** 0.5
        absent_B11S = ~present_BS[:, None, None]
        weights_BNSS = logits_BNSS.masked_fill(absent_B11S, torch.finfo(q.dtype).min).softmax(dim=-1)
        attended_BSD = (weights_BNSS @ v).transpose(1, 2).flatten(2)
        a_BSD = self.after_attention(x_BSD + self.mixed(attended_BSD))
        fed_BSD: Tensor = self.after_feeding(a_BSD + self.narrow(functional.gelu(self.wide(a_BSD))))
        return fed_BSD


def told_apart(said_MD: Tensor, true_MD: Tensor, others_KD: Tensor, same_MK: Tensor) -> Tensor:
    """-log softmax of what is true among it and the others, [M]; others that are the same do not count (InfoNCE)."""
    true_M1 = (said_MD * true_MD).sum(dim=1, keepdim=True)
    others_MK = (said_MD @ others_KD.T).masked_fill(same_MK, torch.finfo(said_MD.dtype).min)
    return -functional.log_softmax(torch.cat([true_M1, others_MK], dim=1), dim=1)[:, 0]
