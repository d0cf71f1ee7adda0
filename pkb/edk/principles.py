"""The two principles that regularise EDK's compression (eq. 12 to 17), as losses to minimise.

    l_reg = alpha * essential + compression + beta * disentangled                          (eq. 13)

Mutual informations are summed over patterns in the paper; here they are averaged, so that alpha and beta
mean the same at any number of patterns.

Shapes: B rows, K patterns, d width, X = F d the width of an embedded input, J draws per row.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from pkb.layers import mlp


def draw_partners(label_B: Tensor, draws: int, *, opposite: bool) -> Tensor:
    """Rows drawn uniformly, with replacement, among those of the same (or opposite) label, [J, B].

    Where the batch holds no such row the draw is some row of the other label: the caller must not use it.
    """
    clicked_B = label_B > 0.5
    order = torch.argsort(clicked_B.int(), stable=True)  # rows without a click, then rows with one
    clicks = clicked_B.sum()
    others = len(label_B) - clicks
    wanted_B = clicked_B ^ opposite
    first_B = torch.where(wanted_B, others, 0)
    size_B = torch.where(wanted_B, clicks, others)
    offset_JB = (torch.rand(draws, len(label_B), device=label_B.device) * size_B).long()
    # a float32 uniform times a size can round up to the size itself
    position_JB = first_B + torch.minimum(offset_JB, (size_B - 1).clamp(min=0))
    return order[position_JB.clamp(max=len(label_B) - 1)]


class Essential(nn.Module):
    """I(s_j; y), as the discriminator tells inputs of the same label from those of the opposite one (eq. 14).

    maximise  log D(s_j, c+) + log(1 - D(s_j, c-)),   D(s, c) = sigmoid(s^T W c + b)

    c+ and c- are embedded inputs of random rows of the batch with the same and the opposite label. The paper
    prints (1 - log D) for log(1 - D); the bilinear D is that of the authors' related code. One draw serves all K.
    """

    def __init__(self, width: int, input_width: int, draws: int) -> None:
        super().__init__()
        self.draws = draws
        self.project = nn.Linear(input_width, width, bias=False)
        nn.init.xavier_uniform_(self.project.weight)
        self.bias = nn.Parameter(torch.zeros(()))

    def forward(self, knowledge_BKd: Tensor, inputs_BX: Tensor, label_B: Tensor) -> Tensor:
        """Zero where the batch holds one label only: there is no marginal to tell the joint from."""
        projected_Bd = self.project(inputs_BX)

        def logits(opposite: bool) -> Tensor:
            partners_JB = draw_partners(label_B, self.draws, opposite=opposite)
            return torch.einsum("bkd,jbd->jbk", knowledge_BKd, projected_Bd[partners_JB]) + self.bias

        joint, marginal = functional.logsigmoid(logits(False)), functional.logsigmoid(-logits(True))
        both_labels = (label_B > 0.5).any() & (label_B < 0.5).any()
        return -(joint + marginal).mean() * both_labels


def gaussian_nll(y_BD: Tensor, mean_BD: Tensor, log_variance_BD: Tensor) -> Tensor:
    """-log N(y; mean, variance) without its constant, summed over D, averaged over B."""
    square_BD = (y_BD - mean_BD).square()
    return 0.5 * (square_BD * (-log_variance_BD).exp() + log_variance_BD).sum(dim=1).mean()


def vclub(y_BD: Tensor, mean_BD: Tensor, log_variance_BD: Tensor) -> Tensor:
    """Contrastive log-ratio upper bound of I(x; y) with q(y|x) = N(mean, variance) (eq. 3; Cheng et al. 2020).

    E_i[log q(y_i|x_i)] - E_i E_j[log q(y_j|x_i)], in nats. The mean over j of (y_j - mean_i)^2 is
    var(y) + (mean(y) - mean_i)^2, so that all B^2 pairs cost O(B).
    """
    center_D = y_BD.mean(dim=0)
    spread_D = (y_BD - center_D).square().mean(dim=0)
    over_pairs_BD = spread_D + (center_D - mean_BD).square()
    matched_BD = (y_BD - mean_BD).square()
    return 0.5 * ((over_pairs_BD - matched_BD) * (-log_variance_BD).exp()).sum(dim=1).mean()


class Compression(nn.Module):
    """I(X; c) from above, by vCLUB (eq. 15, which says lower bound where [4] gives an upper one).

    q(c|X) is a diagonal Gaussian, its mean and log-variance small MLPs; tanh keeps the variance within
    [1/e, e], which bounds the precision that both losses are multiplied with.
    """

    def __init__(self, input_width: int, width: int, hidden: int) -> None:
        super().__init__()
        self.mean = mlp(input_width, [hidden], width)
        self.log_variance = nn.Sequential(mlp(input_width, [hidden], width), nn.Tanh())

    def forward(self, inputs_BX: Tensor, summary_Bd: Tensor) -> tuple[Tensor, Tensor]:
        """The bound, which moves c alone, and the loss that fits q, which moves q alone.

        X is data, so its embedding is detached: moving it would spoil the estimate, not the information in c.
        """
        inputs_BX = inputs_BX.detach()
        mean_Bd, log_variance_Bd = self.mean(inputs_BX), self.log_variance(inputs_BX)
        bound = vclub(summary_Bd, mean_Bd.detach(), log_variance_Bd.detach())
        return bound, gaussian_nll(summary_Bd.detach(), mean_Bd, log_variance_Bd)


class Disentanglement(nn.Module):
    """sum_{i != j} I(s_i; s_j), as a contrast between the patterns of one row (eq. 16 and 17).

    -log( exp(cos(z_i, z'_i) / t) / sum_{j != i} exp(cos(z_i, z'_j) / t) ),   z = MLP(Norm(Dropout(s)))

    z and z' are two draws of the dropout. The paper's bare product may be negative under the logarithm;
    exp, cosine and temperature t are the usual contrast. Norm is a layer norm without parameters.
    """

    def __init__(self, width: int, hidden: int, *, dropout: float, temperature: float) -> None:
        super().__init__()
        self.temperature = temperature
        self.view = nn.Sequential(
            nn.Dropout(dropout), nn.LayerNorm(width, elementwise_affine=False), mlp(width, [hidden], width)
        )

    def forward(self, knowledge_BKd: Tensor) -> Tensor:
        """Mean over rows and patterns; zero for K = 1, which has nothing to disentangle."""
        one_BKd = functional.normalize(self.view(knowledge_BKd), dim=2)
        other_BKd = functional.normalize(self.view(knowledge_BKd), dim=2)
        similarity_BKK = one_BKd @ other_BKd.transpose(1, 2) / self.temperature
        if similarity_BKK.shape[1] == 1:
            return similarity_BKK.sum() * 0
        same_BK = similarity_BKK.diagonal(dim1=1, dim2=2)
        itself_KK = torch.eye(similarity_BKK.shape[1], dtype=torch.bool, device=similarity_BKK.device)
        others_BK = similarity_BKK.masked_fill(itself_KK, float("-inf")).logsumexp(dim=2)
        return (others_BK - same_BK).mean()
