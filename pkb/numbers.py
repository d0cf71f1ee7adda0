"""Numbers as fields: their bins, which are ids like any other, and the vector of a number between two bins.

A number has knots k_1 < .. < k_T, quantiles of its values in the log's first period. Bin j holds [k_j, k_j+1), the
last one all from k_T on, the first one also what is below k_1. A field's ids follow each other:

    first       missing
    first + j   bin j

so that whoever reads ids alone, such as a search, reads a number by its bin. Its vector, from the rows E of a table:

    linear       (1 - t) E[j] + t E[j + 1],   t = (x - k_j) / (k_j+1 - k_j), at least 0 and at most 1
    buckets      E[j]
    standardise  (1 - t) E[1] + t E[2],   t likewise from 3 deviations below the mean to as many above it

`linear` is the piecewise-linear encoding of Gorishniy et al. 2022 ("On Embeddings for Numerical Features in Tabular
Deep Learning", eq. 1) with a linear layer behind it, written by what that layer says at each knot. `standardise` is
the same with two knots: the clipped standard score times a learned vector, plus another.

Shapes: B rows, N fields that are numbers, R ids that are no categorical values.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from pkb.errors import DataError

ENCODINGS = ("linear", "buckets", "standardise")
DEVIATIONS = 3.0  # on each side of the mean, beyond which a standard score is clipped


@dataclass(frozen=True, kw_only=True)
class Number:
    """What a schema knows of a field that is a number; all of it is told by the rows of one period."""

    encoding: str = "linear"  # one of ENCODINGS
    knots: tuple[float, ...] = ()  # ascending, each of 32 bits; none where no value has ever been there
    mean: float = 0.0
    deviation: float = 0.0

    def __post_init__(self) -> None:
        if self.encoding not in ENCODINGS:
            raise DataError(f"encoding {self.encoding!r} is none of {', '.join(ENCODINGS)}")
        if any(one >= other for one, other in zip(self.knots, self.knots[1:], strict=False)):
            raise DataError("the knots of a number do not ascend")

    @property
    def ids(self) -> int:
        """How many it has: one for each bin, and that of the missing value."""
        return 1 + len(self.knots)

    def bins(self, values: Tensor) -> Tensor:
        """The bin of each value, from 1 on; 0 for NaN, which is a missing one; float32 -> int32."""
        knots = torch.tensor(self.knots, dtype=torch.float32)
        passed = torch.searchsorted(knots, values.contiguous(), right=True, out_int32=True)
        return torch.where(values.isnan(), 0, passed.clamp(min=min(1, len(self.knots))))


def ids_of(numbers: Sequence[Number], values_BN: Tensor, fields: int) -> Tensor:
    """The ids of numbers, the last of so many fields, [B, N] int32."""
    firsts = _firsts(numbers, fields)
    columns = zip(numbers, firsts, values_BN.unbind(dim=1), strict=True)
    return torch.stack([first + number.bins(values_B) for number, first, values_B in columns], dim=1)


def _firsts(numbers: Sequence[Number], fields: int) -> list[int]:
    """The id of each number's missing value; those of the rows for new values stand before them."""
    return [1 + fields + sum(number.ids for number in numbers[:column]) for column in range(len(numbers))]


class NumberReader(nn.Module):
    """Says where in a table a number is read, by what stands beside each id in four short lists."""

    def __init__(self, numbers: Sequence[Number], fields: int) -> None:
        super().__init__()
        self.columns = len(numbers)
        self.reserved = 1 + fields + sum(number.ids for number in numbers)
        lower_R = torch.arange(self.reserved, dtype=torch.int32)
        upper_R = lower_R.clone()
        start_R, per_unit_R = torch.zeros(self.reserved), torch.zeros(self.reserved)
        for number, first in zip(numbers, _firsts(numbers, fields), strict=True):
            bins = slice(first + 1, first + number.ids)
            knots = torch.tensor(number.knots, dtype=torch.float32)
            if number.encoding == "linear":
                start_R[bins] = knots
                upper_R[first + 1 : bins.stop - 1] += 1
                per_unit_R[first + 1 : bins.stop - 1] = 1 / knots.diff()
            elif number.encoding == "standardise" and len(knots) > 1 and number.deviation > 0:
                lower_R[bins], upper_R[bins] = first + 1, first + 2
                start_R[bins] = number.mean - DEVIATIONS * number.deviation
                per_unit_R[bins] = 1 / (2 * DEVIATIONS * number.deviation)
        self.between = bool(per_unit_R.any())  # whether any number is read between two rows
        self.lower_R: Tensor
        self.upper_R: Tensor
        self.start_R: Tensor
        self.per_unit_R: Tensor
        self.register_buffer("lower_R", lower_R, persistent=False)  # the schema tells them
        self.register_buffer("upper_R", upper_R, persistent=False)
        self.register_buffer("start_R", start_R, persistent=False)
        self.register_buffer("per_unit_R", per_unit_R, persistent=False)

    def forward(self, ids_BN: Tensor, numbers_BN: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The two rows between which each number stands, and the share t of the upper one; each [B, N]."""
        ids_BN = ids_BN.long()
        share_BN = ((numbers_BN - self.start_R[ids_BN]) * self.per_unit_R[ids_BN]).nan_to_num(0.0).clamp(0, 1)
        return self.lower_R[ids_BN], self.upper_R[ids_BN], share_BN
