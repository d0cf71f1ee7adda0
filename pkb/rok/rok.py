"""ROK: Retrieval-Oriented Knowledge for Click-Through Rate Prediction (Liu et al., 2024).

    x -> f, embeddings of half the teacher's width -> g, an MLP -> z, which imitates the teacher's r_t      (eq. 3)
    L = (1 - alpha) L_imit + alpha L_contra                                                                 (eq. 8)

Compression makes two passes over old rows: the teacher learns to predict their clicks with the rows retrieved
for them, then z learns r_t of the teacher, which is frozen by then. The knowledge of an impression is z; of each
of its fields, f. Neither needs retrieval.

Shapes: B rows, F fields, K neighbours, A vectors of an aggregate, D the teacher's embedding width,
E = D / 2 width of f, X = A D, R rows for which a neighbour was found.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from pkb.batch import Batch, Neighbours, Schema
from pkb.embedding import EmbeddingTable
from pkb.errors import SettingError
from pkb.knowledge import Knowledge, KnowledgeBase, Part, evaluating
from pkb.layers import mlp
from pkb.rok.teacher import Teacher
from pkb.space import Between


class ROK(KnowledgeBase):
    """A network that says what a retrieval model would have read, without the retrieval."""

    taught: ClassVar[bool] = True
    compresses = "found"
    stages: ClassVar[tuple[str, ...]] = ("teacher", "imitation")
    remedies: ClassVar[dict[str, str]] = {
        "knowledge_rank": "give imitation more weight (knowledge.rok.alpha nearer to 0)",
    }
    retriever: str

    @dataclass(frozen=True, kw_only=True)
    class Settings:
        """The authors' code is not public: "ours" has no source.

        L_imit grows with the square of the teacher's embeddings and L_contra does not, so the alpha above which z
        collapses depends on the teacher. With neighbours drawn at random, which is the worst case, imitation was
        as good as without a contrast up to alpha = 0.3, 0.03 and 0.01 for r_t of standard deviation 0.6, 0.1 and
        0.02, and collapsed at three times as much. `health` tells whether it did.
        """

        teacher: str = "rim"  # the retrieval model whose reading is imitated (section 4.1)
        alpha: Annotated[float, Between(1e-3, 0.3, log=True)] = 0.01  # weight of the contrast in eq. 8; ours
        hidden: tuple[int, ...] = (256, 256)  # hidden widths of g; ours
        projector: int = 64  # width of the one hidden layer of h, a bottleneck as SimSiam's; ours
        positive: str = "nearest"  # neighbour to agree with: nearest, random (section 5.5.1)
        update: str = "fixed"  # what learns on with the backbone: fixed, encoder (g), both (f and g) (figure 5)

        def __post_init__(self) -> None:
            if not 0 <= self.alpha <= 1:
                raise SettingError(f"alpha={self.alpha}: must lie between 0 and 1")
            if min((self.projector, *self.hidden)) < 1:
                raise SettingError(f"hidden={self.hidden}, projector={self.projector}: must be at least 1")
            for name, allowed in (("positive", ("nearest", "random")), ("update", ("fixed", "encoder", "both"))):
                if getattr(self, name) not in allowed:
                    raise SettingError(f"{name}={getattr(self, name)}: is not one of {', '.join(allowed)}")

    def __init__(self, schema: Schema, settings: Settings, teacher: Teacher) -> None:
        vectors, width = teacher.aggregated_vectors, teacher.embedding_width
        feature_width, names = (width + 1) // 2, schema.names
        self.aggregate = Part(name="aggregate", vectors=vectors, width=width, fields=names)
        features = Part(name="features", vectors=len(names), width=feature_width, fields=names, of_fields=True)
        super().__init__(schema, [self.aggregate, features])
        self.settings, self.teacher = settings, teacher
        assert teacher.retriever is not None, f"{type(teacher).__name__} reads no neighbours"
        self.retriever = teacher.retriever
        fields, reading = len(schema.fields), vectors * width
        self.table = EmbeddingTable(schema.fields, feature_width)  # f
        self.encoder = mlp(fields * feature_width, settings.hidden, reading)  # g
        self.projector = mlp(reading, [settings.projector], reading)  # h

    @classmethod
    def learns_on_with(cls, settings: Settings) -> bool:
        return settings.update != "fixed"

    def grow(self, size: int, generator: torch.Generator) -> None:
        self.table.grow(size, generator)
        self.teacher.grow(size, generator)

    def compression_only(self) -> list[nn.Module]:
        return [self.teacher, self.projector]

    def learns_on(self) -> nn.ModuleList:
        parts: dict[str, list[nn.Module]] = {"fixed": [], "encoder": [self.encoder], "both": [self.table, self.encoder]}
        return nn.ModuleList(parts[self.settings.update])

    def _knowledge(self, batch: Batch) -> Knowledge:
        return self._reconstructed(self.table(batch))

    def knowledge_with_gradient(self, batch: Batch) -> Knowledge:
        if self.settings.update == "fixed":
            return self.knowledge(batch)
        with evaluating(self):
            features_BFE = self.table(batch)
            read_BFE = features_BFE.detach() if self.settings.update == "encoder" else features_BFE
            return self.standardised(self._reconstructed(read_BFE))

    def _reconstructed(self, features_BFE: Tensor) -> Knowledge:
        """z = g(f(x)) beside f(x)."""
        z_BAD = self.encoder(features_BFE.flatten(1)).unflatten(1, (self.aggregate.vectors, self.aggregate.width))
        return {"aggregate": z_BAD, "features": features_BFE}

    def compression_losses(self, batch: Batch, stage: str) -> dict[str, Tensor]:
        return self._teacher_losses(batch) if stage == "teacher" else self._imitation_losses(batch)

    def _teacher_losses(self, batch: Batch) -> dict[str, Tensor]:
        logits_B, auxiliary = self.teacher.with_auxiliary(batch)
        cross_entropy = functional.binary_cross_entropy_with_logits(logits_B, batch.label)
        if auxiliary is None:
            return {"total": cross_entropy, "cross_entropy": cross_entropy}
        return {"total": cross_entropy + auxiliary, "cross_entropy": cross_entropy, "auxiliary": auxiliary}

    def _imitation_losses(self, batch: Batch) -> dict[str, Tensor]:
        """Eq. 8 and its parts; a row for which nothing was found has no contrast, and counts as zero in its mean."""
        alpha = self.settings.alpha
        z_BX = self._z(self.table(batch))
        imitation = functional.mse_loss(z_BX, self._r(batch))
        rows_R, neighbour_RF = choose_neighbours(batch.neighbours[self.retriever], self.settings.positive)
        zx_RX, zs_RX = z_BX[rows_R], self._z(self.table.look_up(neighbour_RF))
        contrast_R = contrastive_loss(self.projector(zx_RX), zs_RX, self.projector(zs_RX), zx_RX)
        contrast = contrast_R.sum() / len(batch)
        return {
            "total": (1 - alpha) * imitation + alpha * contrast,
            "imitation": imitation,
            "contrast": contrast,
        }

    def _z(self, features_BFE: Tensor) -> Tensor:
        """[B, X]; of a row, or of a neighbour, of which ids are all that is known."""
        z_BX: Tensor = self.encoder(features_BFE.flatten(1))
        return z_BX

    @torch.no_grad()
    def _r(self, batch: Batch) -> Tensor:
        """[B, X], of the teacher as it predicts."""
        with evaluating(self.teacher):
            return self.teacher.aggregated(batch).flatten(1)

    @torch.no_grad()
    def health(self, batch: Batch) -> dict[str, float]:
        """Whether z collapsed, and how much of r_t it says.

        knowledge_std     of normalised z over rows, mean over X: 1 / sqrt(X) where it fills its space, 0 collapsed
        knowledge_rank    effective number of dimensions in which z varies, at most X
        imitation_r2      share of the variance of r_t that z explains; missing where r_t is the same in all rows
        """
        with evaluating(self):
            z_BX, r_BX = self._z(self.table(batch)).double(), self._r(batch).double()
        figures = {"knowledge_std": spread(z_BX), "knowledge_rank": effective_rank(z_BX)}
        total = (r_BX - r_BX.mean(dim=0)).square().sum()
        if total > 0:
            figures["imitation_r2"] = float(1 - (z_BX - r_BX).square().sum() / total)
        return figures


def choose_neighbours(near: Neighbours, positive: str) -> tuple[Tensor, Tensor]:
    """The R rows for which something was found, and ids [R, F] of one neighbour of each (section 4.3.2)."""
    rows_R = near.present_BK.any(dim=1).nonzero().squeeze(1)
    place_R = torch.zeros_like(rows_R)  # neighbours come best first
    if positive == "random":
        found_R = near.present_BK[rows_R].sum(dim=1)
        drawn_R = (torch.rand(len(rows_R), device=rows_R.device) * found_R).long()
        place_R = torch.minimum(drawn_R, found_R - 1)  # the product can round up to the number found
    return rows_R, near.ids_BKF[rows_R, place_R]


def contrastive_loss(px_RX: Tensor, zs_RX: Tensor, ps_RX: Tensor, zx_RX: Tensor) -> Tensor:
    """-(D(p^x, z^s) + D(p^s, z^x)) / 2 of each row, D the cosine, without gradient to either z (eq. 6, 7); [R]."""
    return -0.5 * (
        functional.cosine_similarity(px_RX, zs_RX.detach(), dim=1)
        + functional.cosine_similarity(ps_RX, zx_RX.detach(), dim=1)
    )


def spread(z_BX: Tensor) -> float:
    """Standard deviation over rows of z / |z|, mean over X (SimSiam, section 4.1)."""
    return float(functional.normalize(z_BX, dim=1).std(dim=0, correction=0).mean())


def effective_rank(z_BX: Tensor) -> float:
    """exp of the entropy of the normalised singular values of z - mean z (Roy and Vetterli 2007); 1 without any."""
    centred_BX = z_BX - z_BX.mean(dim=0)
    singular_X = torch.linalg.eigvalsh(centred_BX.T @ centred_BX).clamp(min=0).sqrt()  # cheaper than of all B rows
    share_X = singular_X / singular_X.sum().clamp(min=torch.finfo(z_BX.dtype).tiny)
    return float(torch.special.entr(share_X).sum().exp())
