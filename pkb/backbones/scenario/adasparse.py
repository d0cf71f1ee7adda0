"""AdaSparse: each scenario prunes neurons, and scales those that stay (Yang et al., CIKM 2022).

h_l' = h_l * pi_l,  v_l = W_l [x_s, h_l] + b_l
binarisation   pi = 1 where sigmoid(alpha v) > epsilon, else 0                                       (eq. 5)
scaling        pi = beta sigmoid(v)                                                                  (eq. 6)
fusion         pi = beta sigmoid(alpha v) where that is above epsilon, else 0                        (eq. 7)

alpha grows with every step, so that the sigmoid turns into a step. The sparsity term holds the share of pruned neurons
of each layer between two bounds: weight (share - middle)^2 outside, 0 inside; its gradient passes the threshold as
if it were the sigmoid.

A step costs a plain DNN's and B (D + H) H products a layer, twice a plain hidden layer's.

Shapes: B rows, D width of the scenario's vector, H width of a layer.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from pkb.backbones.scenario.base import ConditionedBackbone, ScenarioSettings
from pkb.batch import Batch, Schema
from pkb.errors import SettingError
from pkb.layers import dense
from pkb.plug import EMPTY, Plugged, Sockets

FORMS = ("binarisation", "scaling", "fusion")


class AdaSparse(ConditionedBackbone):
    alpha: Tensor

    @dataclass(frozen=True, kw_only=True)
    class Settings(ScenarioSettings):
        form: str = "fusion"  # binarisation, scaling, fusion
        beta: float = 2.0  # the largest factor
        epsilon: float = 0.25  # below it a neuron is pruned
        alpha: float = 1.0  # at the start
        alpha_step: float = 1e-4  # added with every step
        sparsity: float = 0.01  # weight of the sparsity term, which scaling has none of
        fewest: float = 0.15  # share of pruned neurons, at least
        most: float = 0.25  # share of pruned neurons, at most

        def __post_init__(self) -> None:
            super().__post_init__()
            if self.form not in FORMS:
                raise SettingError(f"form={self.form}: is not one of {', '.join(FORMS)}")
            if not 0 <= self.fewest <= self.most <= 1:
                raise SettingError(f"fewest={self.fewest}, most={self.most}: must rise between 0 and 1")
            if not 0 < self.epsilon < min(self.beta, 1):
                raise SettingError(f"epsilon={self.epsilon}: must lie between 0 and the smaller of 1 and beta")
            for name, least in (("alpha", 1e-6), ("alpha_step", 0), ("sparsity", 0)):
                if getattr(self, name) < least:
                    raise SettingError(f"{name}={getattr(self, name)}: must be at least {least}")

    def __init__(self, schema: Schema, settings: Settings, sockets: Sockets = Sockets()) -> None:
        super().__init__(schema, settings, sockets)
        self.settings, widths = settings, [self.inputs, *settings.hidden]
        self.register_buffer("alpha", torch.tensor(settings.alpha))
        self.layers = nn.ModuleList(dense(a, b) for a, b in zip(widths, settings.hidden, strict=False))
        self.pruners = nn.ModuleList(nn.Linear(settings.width + width, width) for width in settings.hidden)

    def stepped(self) -> None:
        self.alpha += self.settings.alpha_step

    def forward(self, batch: Batch, plugged: Plugged = EMPTY) -> Tensor:
        return self.pruned(batch, plugged)[0]

    def with_auxiliary(self, batch: Batch, plugged: Plugged = EMPTY) -> tuple[Tensor, Tensor | None]:
        logit_B, shares = self.pruned(batch, plugged)
        if not self.settings.sparsity or self.settings.form == "scaling":
            return logit_B, None
        share_L, fewest, most = torch.stack(shares), self.settings.fewest, self.settings.most
        outside_L = ((share_L < fewest) | (share_L > most)).to(share_L.dtype)
        return logit_B, self.settings.sparsity * (outside_L * (share_L - (fewest + most) / 2).square()).mean()

    def pruned(self, batch: Batch, plugged: Plugged = EMPTY) -> tuple[Tensor, list[Tensor]]:
        """Logits, [B], and the share of neurons that each layer prunes, over rows."""
        x_BD, shares = self.condition(batch), list[Tensor]()
        layers = [
            partial(self._layer, layer, pruner, x_BD, shares)
            for layer, pruner in zip(self.layers, self.pruners, strict=True)
        ]
        hidden_BH = self.through(self.embedded(batch, plugged).flatten(1), layers, plugged)
        return self.last(hidden_BH).squeeze(1), shares

    def _layer(self, layer: nn.Module, pruner: nn.Module, x_BD: Tensor, shares: list[Tensor], h_BX: Tensor) -> Tensor:
        h_BH = layer(h_BX)
        v_BH = pruner(torch.cat([x_BD, h_BH], dim=1))
        factor_BH, kept_BH = self.factors(v_BH)
        shares.append(1 - kept_BH.mean())
        activated: Tensor = h_BH * factor_BH
        return activated

    def factors(self, v_BH: Tensor) -> tuple[Tensor, Tensor]:
        """pi and whether a neuron is kept, 1 or 0, whose gradient is the sigmoid's; both [B, H]."""
        form, beta, epsilon = self.settings.form, self.settings.beta, self.settings.epsilon
        if form == "scaling":
            return beta * torch.sigmoid(v_BH), torch.ones_like(v_BH)
        soft_BH = torch.sigmoid(self.alpha * v_BH)
        largest_BH = soft_BH if form == "binarisation" else beta * soft_BH
        kept_BH = (largest_BH > epsilon).to(v_BH.dtype) + (soft_BH - soft_BH.detach())
        return (kept_BH, kept_BH) if form == "binarisation" else (largest_BH * kept_BH.detach(), kept_BH)
