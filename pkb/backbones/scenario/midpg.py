"""MI-DPG: weights of the layers weighed by matrices that the scenario generates (arXiv 2603.21209).

h' = act((W * A_s) h + b)                                                                        (eq. 1)
non     A_s = sigmoid(g([x_s, h]))                          a whole matrix, [N, M]               (eq. 2)
rc      A_s = repeat(sigmoid(U_s V_s^T))                    both factors generated               (eq. 3)
r       A_s = repeat(sigmoid(U_s V^T))                      U_s generated, V shared by all       (eq. 4)
c       A_s = repeat(sigmoid(U V_s^T))                      V_s generated, U shared by all       (eq. 5)
L = cross entropy + MIR                                     (eq. 6 to 8: `mir`)

The formulas of the published text were lost; what stands here was put together from its words. W has a row for each of
its N inputs and a column for each of its M neurons. U is [n, k], V [m, k], so that the small matrix is [n, m]; `repeat`
makes each of its entries a block of N/n by M/m of A_s. With n = 1 and m = M it is a gate on each neuron.
In the first layer a row block is one embedding (n = the number of embeddings) unless the settings say otherwise.

Section 2.2.3 calls R what generates the row factor; 3.5.1 explains that r is best by "row-wise ... as cross-scenario
shared", which is 2.2.3's C. `reading` says whose words the names r and c follow; on a world with scenarios neither wins
beyond the seeds (docs/measured.md).

What a step costs beside the plain layer's B N M products: W * A_s is never formed but by `non`. As A_s is constant
within a block, either the n row blocks' outputs, [B, n, M], are weighed before they are summed, or the inputs are
weighed for each of the m column blocks, [B, m, N]; the smaller is taken. Neither costs more products than the plain
layer but B times as many as it has numbers; the factors cost B (D + N) G + B G k (n, m or n + m), G the generators'
hidden width. `non` generates and reads B N M numbers, G products for each: G times the plain layer, and a minibatch's
memory.

Shapes: B rows, N inputs and M neurons of a layer, n and m blocks, k rank, D width of x_s.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional

from pkb.backbones.scenario.base import ConditionedBackbone, ScenarioSettings
from pkb.backbones.scenario.mir import Discriminator, mutual_information_loss
from pkb.batch import Batch, Schema
from pkb.errors import SettingError
from pkb.layers import mlp
from pkb.plug import EMPTY, Plugged, Sockets

VARIANTS = ("non", "rc", "r", "c")
READINGS = ("2.2.3", "3.5.1")


class Factor(nn.Module):
    """A factor of [blocks, k] for each row, generated, or one for all rows; [B, D + N] -> [B or 1, blocks, k]."""

    def __init__(self, condition: int, hidden: int, blocks: int, rank: int, *, generated: bool) -> None:
        super().__init__()
        self.blocks, self.generator = blocks, None
        if generated:
            self.generator = mlp(condition, [hidden], blocks * rank)
        else:
            self.shared = nn.Parameter(torch.randn(1, blocks, rank))

    def forward(self, condition_BC: Tensor) -> Tensor:
        if self.generator is None:
            return self.shared
        factor: Tensor = self.generator(condition_BC).unflatten(1, (self.blocks, -1))
        return factor


class FactoredWeighting(nn.Module):
    """The small matrix sigmoid(U V^T), without its repetition; [B, D + N] -> [B, n, m]."""

    def __init__(self, condition: int, hidden: int, blocks: tuple[int, int], rank: int, generated: str) -> None:
        super().__init__()
        self.rows = Factor(condition, hidden, blocks[0], rank, generated="r" in generated)
        self.columns = Factor(condition, hidden, blocks[1], rank, generated="c" in generated)

    def forward(self, condition_BC: Tensor) -> Tensor:
        return torch.sigmoid(self.rows(condition_BC) @ self.columns(condition_BC).mT)


class WholeWeighting(nn.Module):
    """The matrix sigmoid(g), an entry for each weight; [B, D + N] -> [B, N, M]."""

    def __init__(self, condition: int, hidden: int, blocks: tuple[int, int]) -> None:
        super().__init__()
        self.blocks, self.generator = blocks, mlp(condition, [hidden], blocks[0] * blocks[1])

    def forward(self, condition_BC: Tensor) -> Tensor:
        a_BNM: Tensor = torch.sigmoid(self.generator(condition_BC)).unflatten(1, self.blocks)
        return a_BNM


def weighed(linear: nn.Linear, h_BN: Tensor, a_Bnm: Tensor) -> Tensor:
    """(W * repeat(A)) h + b of each row, [B, M], without W * A."""
    (rows, n, m), inputs, neurons = a_Bnm.shape, linear.in_features, linear.out_features
    if n * neurons <= m * inputs:
        w_nNM = linear.weight.view(neurons, n, inputs // n).permute(1, 2, 0)
        of_blocks = torch.bmm(h_BN.view(rows, n, inputs // n).transpose(0, 1), w_nNM)  # [n, B, M]
        summed: Tensor = (of_blocks.unflatten(2, (m, neurons // m)) * a_Bnm.transpose(0, 1).unsqueeze(3)).sum(dim=0)
        return summed.flatten(1) + linear.bias
    h_mBN = (h_BN.view(rows, n, inputs // n) * a_Bnm.permute(2, 0, 1).unsqueeze(3)).flatten(2)
    w_mNM = linear.weight.view(m, neurons // m, inputs).mT
    return torch.bmm(h_mBN, w_mNM).transpose(0, 1).flatten(1) + linear.bias


def weighed_wholly(linear: nn.Linear, h_BN: Tensor, a_BNM: Tensor) -> Tensor:
    """(W * A) h + b of each row, [B, M]."""
    return torch.bmm(h_BN.unsqueeze(1), linear.weight.T * a_BNM).squeeze(1) + linear.bias


class MIDPG(ConditionedBackbone):
    @dataclass(frozen=True, kw_only=True)
    class Settings(ScenarioSettings):
        """The authors' values are not public: all defaults are ours."""

        variant: str = "r"  # non, rc, r, c
        reading: str = "2.2.3"  # the section that says what r and c share
        rows: int = 4  # n, from the second layer on
        input_rows: int = 0  # n of the first layer; 0 makes each embedding a block
        columns: int = 4  # m
        rank: int = 2  # k
        generator: int = 16  # hidden width of what generates a factor
        mir: float = 0.01  # weight of telling x_s and its own A_s from others; 0 for both is DPG
        mir_shuffled: float = 0.01  # weight of telling x_s and another row's A_s from its own
        discriminator: int = 32  # hidden width

        def __post_init__(self) -> None:
            super().__post_init__()
            for name, allowed in (("variant", VARIANTS), ("reading", READINGS)):
                if getattr(self, name) not in allowed:
                    raise SettingError(f"{name}={getattr(self, name)}: is not one of {', '.join(allowed)}")
            for name in ("rows", "columns", "rank", "generator", "discriminator"):
                if getattr(self, name) < 1:
                    raise SettingError(f"{name}={getattr(self, name)}: must be at least 1")
            for name in ("input_rows", "mir", "mir_shuffled"):
                if getattr(self, name) < 0:
                    raise SettingError(f"{name}={getattr(self, name)}: must be at least 0")
            if self.variant != "non":
                for number, width in enumerate(self.hidden, 1):
                    _divides("columns", self.columns, width, f"neurons of layer {number}")
                for number, width in enumerate(self.hidden[:-1], 2):
                    _divides("rows", self.rows, width, f"inputs of layer {number}")

        @property
        def generated(self) -> str:
            """Which factors are generated, in the words of section 2.2.3."""
            swapped = self.reading == "3.5.1" and len(self.variant) == 1
            return {"r": "c", "c": "r"}[self.variant] if swapped else self.variant

    def __init__(self, schema: Schema, settings: Settings, sockets: Sockets = Sockets()) -> None:
        super().__init__(schema, settings, sockets)
        self.mir, self.mir_shuffled = settings.mir, settings.mir_shuffled
        widths, self.whole = [self.inputs, *settings.hidden], settings.variant == "non"
        first = settings.input_rows or self.embeddings
        if not self.whole:
            _divides("input_rows", first, self.inputs, "inputs of layer 1")
        blocks = [(rows, settings.columns) for rows in (first, *(settings.rows for _ in settings.hidden[1:]))]
        self.layers, self.weightings, numbers = nn.ModuleList(), nn.ModuleList(), 0
        for inputs, neurons, small in zip(widths, settings.hidden, blocks, strict=False):
            self.layers.append(nn.Linear(inputs, neurons))
            condition, hidden = settings.width + inputs, settings.generator
            if self.whole:
                self.weightings.append(WholeWeighting(condition, hidden, (inputs, neurons)))
                numbers += inputs * neurons
            else:
                self.weightings.append(FactoredWeighting(condition, hidden, small, settings.rank, settings.generated))
                numbers += small[0] * small[1]
        self.discriminator = None
        if settings.mir or settings.mir_shuffled:
            self.discriminator = Discriminator(settings.width, numbers, settings.discriminator)

    def forward(self, batch: Batch, plugged: Plugged = EMPTY) -> Tensor:
        return self.weighted(batch, plugged)[0]

    def with_auxiliary(self, batch: Batch, plugged: Plugged = EMPTY) -> tuple[Tensor, Tensor | None]:
        logit_B, x_BD, a_BA = self.weighted(batch, plugged)
        if self.discriminator is None:
            return logit_B, None
        own, shuffled = mutual_information_loss(self.discriminator, x_BD, a_BA)
        return logit_B, self.mir * own + self.mir_shuffled * shuffled

    def weighted(self, batch: Batch, plugged: Plugged = EMPTY) -> tuple[Tensor, Tensor, Tensor]:
        """Logits, [B]; x_s, [B, D], and the matrices A_s of all layers, unrepeated, side by side, [B, A]."""
        x_BD, matrices = self.condition(batch), list[Tensor]()
        layers = [
            partial(self._layer, linear, weighting, x_BD, matrices)
            for linear, weighting in zip(self.layers, self.weightings, strict=True)
        ]
        hidden_BH = self.through(self.embedded(batch, plugged).flatten(1), layers, plugged)
        return self.last(hidden_BH).squeeze(1), x_BD, torch.cat([a.flatten(1) for a in matrices], dim=1)

    def _layer(
        self, linear: nn.Module, weighting: nn.Module, x_BD: Tensor, matrices: list[Tensor], h_BN: Tensor
    ) -> Tensor:
        assert isinstance(linear, nn.Linear)
        a_Bnm = weighting(torch.cat([x_BD, h_BN], dim=1))
        matrices.append(a_Bnm)
        return functional.relu((weighed_wholly if self.whole else weighed)(linear, h_BN, a_Bnm))


class DPG(MIDPG):
    """MI-DPG without its regularisation, which shows what that is worth."""

    @dataclass(frozen=True, kw_only=True)
    class Settings(MIDPG.Settings):
        mir: float = 0.0
        mir_shuffled: float = 0.0


def _divides(name: str, blocks: int, width: int, what: str) -> None:
    if width % blocks:
        raise SettingError(f"{name}={blocks}: must divide the {width} {what}; change {name} or hidden")
