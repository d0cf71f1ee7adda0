"""What stands for K_ui where knowledge is kept in a cache, which cannot hold all pairs (KEEP, section 5.2, eq. 6).

    decomposition   K_ui ~ K^_u * K^_i, two towers: the user with the histories, and the item         N_u + N_i entries
    degeneration    K_ui ~ K^_uc, the extractor with the category in the place of all of the item       N_uc entries

Each task has MLPs of its own, as wide as the extractor's, on the embeddings of the extractor. They learn

    by labels       eq. 3 once more, by a head of their own: the paper's way as far as its words go ("replace the
                    current knowledge extraction model"), for it gives no loss
    by distilling   the squared distance to K_ui, over all rows, in which these networks alone move

Shapes: B rows, I fields of the item, U width of the user's embedding, D of the others, H width of K_ui.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import ClassVar

import torch
from torch import Tensor, nn

from pkb.layers import dense, mlp
from pkb.sequence import Past, TargetAttention, mean_behaviour

USER, ITEM, PRODUCT, CATEGORY = "user_hat_", "item_hat_", "product_", "category_"  # begin the names of a task's parts


@dataclass(frozen=True, kw_only=True)
class Read:
    """A batch as KEEP's networks read it."""

    user_BU: Tensor
    item_BID: Tensor
    pasts: list[Past]  # of each history, about the item's field that it holds

    def detached(self) -> Read:
        """The same without a gradient to the embeddings."""
        pasts = [replace(past, behaviours_BHD=past.behaviours_BHD.detach()) for past in self.pasts]
        return Read(user_BU=self.user_BU.detach(), item_BID=self.item_BID.detach(), pasts=pasts)


@dataclass(frozen=True, kw_only=True)
class Shapes:
    """What the networks' shapes follow from."""

    user: int  # U
    other: int  # D
    items: int  # I
    category: int  # place of the category among the I
    histories: int
    hidden: tuple[int, ...]  # of each MLP; the last is H
    attention: tuple[int, ...]  # of DIN's activation units
    heads: bool  # whether labels are learned


class Approximation(nn.Module):
    """Stands for K_ui of every task."""

    stands: ClassVar[str]  # begins the name of the part that does

    def __init__(self, shapes: Shapes, tasks: Sequence[str]) -> None:
        super().__init__()
        self.tasks = tuple(tasks)
        self.heads = nn.ModuleList(nn.Linear(shapes.hidden[-1], 1) for _ in tasks if shapes.heads)

    @abstractmethod
    def forward(self, read: Read) -> dict[str, Tensor]:
        """Compute its parts by their names, [B, H] each."""


class Decomposed(Approximation):
    stands = PRODUCT

    def __init__(self, shapes: Shapes, tasks: Sequence[str]) -> None:
        super().__init__(shapes, tasks)
        *hidden, last = shapes.hidden
        of_user, of_item = shapes.user + shapes.histories * shapes.other, shapes.items * shapes.other
        self.users = nn.ModuleList(mlp(of_user, hidden, last) for _ in tasks)
        self.items = nn.ModuleList(mlp(of_item, hidden, last) for _ in tasks)

    def forward(self, read: Read) -> dict[str, Tensor]:
        user_BX = torch.cat([read.user_BU, *(mean_behaviour(past) for past in read.pasts)], dim=1)
        parts: dict[str, Tensor] = {}
        for task, user, item in zip(self.tasks, self.users, self.items, strict=True):
            user_BH, item_BH = user(user_BX), item(read.item_BID.flatten(1))
            parts |= {USER + task: user_BH, ITEM + task: item_BH, PRODUCT + task: user_BH * item_BH}
        return parts


class Degenerate(Approximation):
    stands = CATEGORY

    def __init__(self, shapes: Shapes, tasks: Sequence[str]) -> None:
        super().__init__(shapes, tasks)
        self.category = shapes.category
        self.interests = nn.ModuleList(TargetAttention(shapes.other, shapes.attention) for _ in range(shapes.histories))
        inputs = shapes.user + (1 + shapes.histories) * shapes.other
        self.towers = nn.ModuleList(tower([inputs, *shapes.hidden]) for _ in tasks)

    def forward(self, read: Read) -> dict[str, Tensor]:
        category_BD = read.item_BID[:, self.category]
        asked = zip(self.interests, read.pasts, strict=True)
        interests = (interest(replace(past, target_BD=category_BD))[0] for interest, past in asked)
        inputs_BX = torch.cat([read.user_BU, category_BD, *interests], dim=1)
        return {CATEGORY + task: of_task(inputs_BX) for task, of_task in zip(self.tasks, self.towers, strict=True)}


def tower(widths: Sequence[int]) -> nn.Sequential:
    """Dense layers, of which the last one's output is K_ui or stands for it; [C, X] -> [C, H]."""
    return nn.Sequential(*(dense(width, following) for width, following in pairwise(widths)))
