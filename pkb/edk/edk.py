"""EDK: Extracting Essential and Disentangled Knowledge for Recommendation Enhancement (Du et al.).

    X -> extractor -> K masked patterns -> encoder -> s_1 .. s_K -> aggregate -> c          (eq. 11)
    l = l_ce(c) + lambda_1 l_reg + lambda_2 l_0                                             (eq. 32)

The knowledge of an impression is s_1 .. s_K (eq. 30). Masks are sampled while compressing and
deterministic in evaluation mode.

Shapes: B rows, F fields, K patterns, d width, X = F d.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from pkb.batch import Batch, Schema
from pkb.edk.encoder import Encoder
from pkb.edk.extractor import Extractor, HardConcrete
from pkb.edk.principles import Compression, Disentanglement, Essential
from pkb.embedding import EmbeddingTable
from pkb.errors import SettingError
from pkb.knowledge import Knowledge, KnowledgeBase, Part
from pkb.layers import mlp
from pkb.space import Between


class EDK(KnowledgeBase):
    """Parametric knowledge base under the essential and the disentangled principle."""

    estimators: ClassVar[tuple[str, ...]] = ("estimator",)

    @dataclass(frozen=True, kw_only=True)
    class Settings:
        """What the paper leaves open is marked with where its default comes from.

        "related code" is the authors' public DisCo and DisenTab; "ours" has no source.

        lambda1 weighs nats of I(X; c) against nats of cross entropy. A click model gains some 0.01 to 0.1 of
        the latter, so at related code's 0.2 the compression wins and c forgets the label, on a synthetic world
        of 17 fields; at 0.02 both principles are met and the cross entropy falls as fast as without them.
        """

        patterns: int = 20  # K, knowledge vectors of an impression (section 5.1.4)
        width: int = 8  # d, of embeddings and knowledge vectors (5.1.4: 8 on Eleme, 16 on AD)
        depth: int = 3  # self-attention layers of the encoder (5.1.4)
        heads: int = 3  # attention heads of encoder (5.1.4) and extractor (ours), each of width d (ours)
        hidden: int = 32  # width of the one hidden layer in each MLP; ours
        alpha: float = 1.0  # weight of the essential information in eq. 13; ours
        beta: float = 3.0  # weight of disentanglement in eq. 13 (eq. 23 calls its temperature beta, too); ours
        lambda1: Annotated[float, Between(1e-3, 0.3, log=True)] = 0.02  # weight of both principles in eq. 32; ours
        lambda2: float = 1e-3  # weight of the L0 penalty in eq. 32; L0-SIGN's
        draws: int = 1  # of c+ and of c- for each row, eq. 14; related code
        dropout: float = 0.1  # of the views in eq. 17; related code
        contrast_temperature: float = 0.5  # of the cosines in eq. 16; ours
        mask_temperature: float = 2 / 3  # beta of eq. 23; Louizos et al. 2018
        mask_low: float = -0.1  # gamma of eq. 24; Louizos et al. 2018
        mask_high: float = 1.1  # delta of eq. 24; Louizos et al. 2018
        weight_decay: float = 1e-5  # of Adam; searched from 1e-5 to 5e-4 (5.1.4), related code has 1e-5
        estimator_learning_rate: float = 1e-3  # of vCLUB's q; related code

        def __post_init__(self) -> None:
            for name in ("patterns", "width", "depth", "heads", "hidden", "draws"):
                if getattr(self, name) < 1:
                    raise SettingError(f"{name}={getattr(self, name)}: must be at least 1")
            for name in ("contrast_temperature", "mask_temperature"):
                if getattr(self, name) <= 0:
                    raise SettingError(f"{name}={getattr(self, name)}: must be above 0")
            if not 0 <= self.dropout < 1:
                raise SettingError(f"dropout={self.dropout}: must be at least 0 and below 1")
            if not self.mask_low < 0 < 1 < self.mask_high:
                raise SettingError(
                    f"mask_low={self.mask_low}, mask_high={self.mask_high}: must reach below 0 and above 1"
                )

    def __init__(self, schema: Schema, settings: Settings) -> None:
        part = Part(name="patterns", vectors=settings.patterns, width=settings.width, fields=schema.names)
        super().__init__(schema, [part])
        self.settings = settings
        width, hidden = settings.width, settings.hidden
        input_width = len(schema.fields) * width
        # Phi_1 (extraction) and Phi_2 (memory) side by side: one lookup and one sparse update serve both
        self.table = EmbeddingTable(schema.fields, 2 * width)
        self.extractor = Extractor(width, settings.patterns, settings.heads)
        self.mask = HardConcrete(temperature=settings.mask_temperature, low=settings.mask_low, high=settings.mask_high)
        self.encoder = Encoder(width, depth=settings.depth, heads=settings.heads, hidden=hidden)
        self.summary = mlp(width, [hidden], width)
        self.head = nn.Linear(width, 1)
        self.essential = Essential(width, input_width, settings.draws)
        self.compression = Compression(input_width, width, hidden)
        self.disentanglement = Disentanglement(
            width, hidden, dropout=settings.dropout, temperature=settings.contrast_temperature
        )

    def grow(self, size: int, generator: torch.Generator) -> None:
        self.table.grow(size, generator)

    def parameter_groups(self, learning_rate: float) -> list[dict[str, Any]]:
        """The base, and vCLUB's estimator with a learning rate of its own; the table is not among them."""
        estimator = list(self.compression.parameters())
        apart = {id(parameter) for parameter in (*estimator, *self.table.parameters())}
        base = [parameter for parameter in self.parameters() if id(parameter) not in apart]
        return [
            {"params": base, "lr": learning_rate, "weight_decay": self.settings.weight_decay},
            {"params": estimator, "lr": self.settings.estimator_learning_rate, "weight_decay": 0.0},
        ]

    def _compress(self, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
        """log(alpha) of the masks [B, K, F], Phi_2 of the input [B, F, d], and knowledge [B, K, d]."""
        extraction_BFd, memory_BFd = self.table(batch).chunk(2, dim=2)
        log_alpha_BKF = self.extractor(extraction_BFd)
        if self.training:
            masks_BKF = self.mask.sample(log_alpha_BKF, torch.rand_like(log_alpha_BKF))
        else:
            masks_BKF = self.mask.deterministic(log_alpha_BKF)
        return log_alpha_BKF, memory_BFd, self.encoder(memory_BFd, masks_BKF)

    def _knowledge(self, batch: Batch) -> Knowledge:
        return {"patterns": self._compress(batch)[2]}

    def compression_only(self) -> list[nn.Module]:
        return [self.summary, self.head, self.essential, self.compression, self.disentanglement]

    def compression_losses(self, batch: Batch, stage: str) -> dict[str, Tensor]:
        """Eq. 32 and its parts. `total` adds the estimator's loss, which shares no gradient with the rest.

        A negative bound on an information says only that the estimator lags behind: it counts as zero,
        so the base gains nothing from running away from it.
        """
        settings = self.settings
        log_alpha_BKF, memory_BFd, knowledge_BKd = self._compress(batch)
        inputs_BX = memory_BFd.flatten(1)
        summary_Bd = self.summary(knowledge_BKd.mean(dim=1))
        logit_B = self.head(summary_Bd).squeeze(1)

        cross_entropy = functional.binary_cross_entropy_with_logits(logit_B, batch.label)
        essential = self.essential(knowledge_BKd, inputs_BX, batch.label)
        compression, estimator = self.compression(inputs_BX, summary_Bd)
        disentangled = self.disentanglement(knowledge_BKd)
        l0 = self.mask.probability_nonzero(log_alpha_BKF).mean()
        regularisation = settings.alpha * essential + compression.clamp(min=0) + settings.beta * disentangled
        main = cross_entropy + settings.lambda1 * regularisation + settings.lambda2 * l0
        return {
            "total": main + estimator,
            "cross_entropy": cross_entropy,
            "essential": essential,
            "compression": compression,
            "disentangled": disentangled,
            "l0": l0,
            "estimator": estimator,
        }
