"""KEEP's pair-wise loss: a user's rows with a label must score above the same user's rows without it (eq. 2).

Shapes: B rows, P of them with the label, N without, T triplets (u, i, j).
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from pkb.batch import MISSING


def triplets(user_B: Tensor, label_B: Tensor) -> tuple[Tensor, Tensor]:
    """The rows i and j, each [T], of every pair of one user's rows of which i has the label and j has not.

    A row whose user is missing is in no pair. The time is that of sorting the rows, and of writing the pairs down.
    """
    known_B = user_B != MISSING
    with_P = (known_B & (label_B > 0)).nonzero().squeeze(1)
    without_N = (known_B & (label_B <= 0)).nonzero().squeeze(1)
    without_N = without_N[user_B[without_N].argsort(stable=True)]
    user_N, user_P = user_B[without_N].contiguous(), user_B[with_P].contiguous()
    first_P = torch.searchsorted(user_N, user_P)
    number_P = torch.searchsorted(user_N, user_P, right=True) - first_P
    before_P = number_P.cumsum(0) - number_P  # pairs of the rows before each
    i_T = with_P.repeat_interleave(number_P)
    place_T = torch.arange(len(i_T), device=i_T.device) + (first_P - before_P).repeat_interleave(number_P)
    return i_T, without_N[place_T]


def pairwise_loss(logit_B: Tensor, user_B: Tensor, label_B: Tensor) -> Tensor:
    """sum over triplets of log(1 + exp(-(s_ui - s_uj))) (eq. 2), scalar; zero without any."""
    i_T, j_T = triplets(user_B, label_B)
    return functional.softplus(logit_B[j_T] - logit_B[i_T]).sum()
