"""Lists of categories as fields: their values one after the other, so that padding costs nothing.

The first value of each list stands among the ids of its row; here are the others.

Shapes: B rows, C columns of categories and lists, M of lists, L length of a list, E values behind the first ones, D
width.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from pkb.batch import MISSING, Batch, Field


class ListReader(nn.Module):
    """Takes the lists of a batch apart."""

    def __init__(self, lists: Mapping[int, Field]) -> None:
        """The fields that are lists, by column; they stand side by side."""
        super().__init__()
        self.names = [field.name for field in lists.values()]
        self.place = slice(min(lists, default=0), max(lists, default=-1) + 1)
        self.columns_M: Tensor
        self.is_mean_M: Tensor
        self.register_buffer("columns_M", torch.tensor(list(lists), dtype=torch.int64), persistent=False)
        is_mean = [field.pooling == "mean" for field in lists.values()]
        self.register_buffer("is_mean_M", torch.tensor(is_mean, dtype=torch.bool), persistent=False)

    def forward(self, batch: Batch) -> Further:
        """The values behind the first of each list, list after list and in each row after row."""
        behind = [batch.lists[name][:, 1:] for name in self.names]
        there = [ids_BL != MISSING for ids_BL in behind]
        places = [there_BL.nonzero(as_tuple=True) for there_BL in there]  # row and position of each
        found = [ids_BL[place] for ids_BL, place in zip(behind, places, strict=True)]
        place_E = torch.cat([row * len(self.names) + number for number, (row, _) in enumerate(places)])
        count_BM = torch.stack([there_BL.sum(dim=1) for there_BL in there], dim=1)
        in_all_BM = count_BM + (batch.ids_BF[:, self.place] != MISSING)
        return Further(
            ids_E=torch.cat(found),
            columns_E=self.columns_M[place_E % len(self.names)],
            place_E=place_E,
            divisor_BM=torch.where(self.is_mean_M, in_all_BM.clamp(min=1), 1),
        )


@dataclass(frozen=True, kw_only=True)
class Further:
    """What stands in the lists of a batch behind their first values."""

    ids_E: Tensor
    columns_E: Tensor
    place_E: Tensor  # of the list of each, among all lists of the first row, of the second, ...
    divisor_BM: Tensor  # of the sum of all, the first included: their number, or 1 where the sum is what is read

    def pooled(self, first_BCD: Tensor, further_ED: Tensor) -> Tensor:
        """The last M of the C columns, which hold what was read of first values, become mean or sum of all values."""
        rows, m = self.divisor_BM.shape
        sums_SD = further_ED.new_zeros(rows * m, further_ED.shape[1]).index_add(0, self.place_E, further_ED)
        sums_BMD = sums_SD.unflatten(0, (rows, m))
        single_BVD, of_lists_BMD = first_BCD.split([first_BCD.shape[1] - m, m], dim=1)
        pooled_BMD = (of_lists_BMD + sums_BMD) / self.divisor_BM.unsqueeze(2)
        return torch.cat([single_BVD, pooled_BMD], dim=1)
