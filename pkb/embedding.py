"""One embedding table for all fields, updated only where a batch touched it.

A step costs the same at one million and at ten million rows: the gradient is sparse, and the
optimiser visits only the touched rows. The table grows between periods, in amortised constant
time per new row.

Shapes: B rows, F fields, N table rows, D width.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.nn import functional

from pkb.batch import MISSING


class EmbeddingTable(nn.Module):
    """Vectors for global ids; ids at or above `size` read the row of their field for new values.

    So that those rows are learnt, in training a value that came with the latest growth reads its field's
    row for new values instead of its own with probability `new_value_rate`.

    `weight` is [capacity, D], of which the first `size` rows are in use.
    `second_moment` is [capacity], the row-wise Adagrad state, beside the weights so that both grow together.
    """

    def __init__(self, fields: int, width: int, *, scale: float = 0.01, new_value_rate: float = 0.1) -> None:
        super().__init__()
        self.fields, self.width, self.scale, self.new_value_rate = fields, width, scale, new_value_rate
        self.size = self.size_before = 0  # now, and before the latest growth
        self.weight = nn.Parameter(torch.empty(0, width))
        self.register_buffer("second_moment", torch.empty(0))
        self.second_moment: Tensor

    def grow(self, size: int, generator: torch.Generator) -> None:
        """Make room for ids below `size`; new rows are drawn from N(0, scale^2), the missing row is zero."""
        size = max(size, 1 + self.fields)
        new = size - self.size
        self.size_before = max(self.size, 1 + self.fields)
        if new <= 0:
            return
        if size > self.weight.shape[0]:
            capacity = max(size, self.weight.shape[0] * 3 // 2)
            weight = self.weight.new_zeros(capacity, self.width)
            weight[: self.size] = self.weight.data[: self.size]
            moment = self.second_moment.new_zeros(capacity)
            moment[: self.size] = self.second_moment[: self.size]
            self.weight, self.second_moment = nn.Parameter(weight), moment
        fresh = torch.randn(new, self.width, generator=generator) * self.scale
        self.weight.data[self.size : size] = fresh.to(self.weight.device)
        self.weight.data[MISSING] = 0
        self.size = size

    def known(self, ids: Tensor, columns: Tensor) -> Tensor:
        """`ids` with those new to this table replaced by `1 + column`, the new-value row of their field."""
        new = ids >= self.size
        if self.training and self.new_value_rate:
            new = new | ((ids >= self.size_before) & (torch.rand(ids.shape, device=ids.device) < self.new_value_rate))
        return torch.where(new, (columns + 1).to(ids.dtype), ids)

    def forward(self, ids_BF: Tensor) -> Tensor:
        """[B, F] global ids, one column per field -> [B, F, D]."""
        columns = torch.arange(self.fields, device=ids_BF.device)
        # padding_idx keeps the missing row out of the gradient, so it stays zero
        return functional.embedding(self.known(ids_BF, columns), self.weight, padding_idx=MISSING, sparse=True)

    def rows_in_use(self) -> dict[str, Tensor]:
        """What a checkpoint keeps: the rows in use, without the spare capacity."""
        return {"weight": self.weight.data[: self.size], "second_moment": self.second_moment[: self.size]}

    def restore(self, rows: dict[str, Tensor]) -> None:
        """Inverse of `rows_in_use`."""
        self.size = rows["weight"].shape[0]
        self.weight = nn.Parameter(rows["weight"].clone())
        self.second_moment = rows["second_moment"].clone()


class RowwiseAdagrad:
    """Adagrad with one accumulator a row, applied to the rows a batch touched.

    G_i += mean_d(g_id^2);  w_i -= lr * g_i / (sqrt(G_i) + eps)
    (Duchi et al. 2011, with the row-wise accumulator that large recommender tables use.)
    """

    def __init__(self, tables: Iterable[EmbeddingTable], lr: float, eps: float = 1e-8) -> None:
        self.tables, self.lr, self.eps = list(tables), lr, eps

    def zero_grad(self) -> None:
        for table in self.tables:
            table.weight.grad = None

    @torch.no_grad()
    def step(self) -> None:
        for table in self.tables:
            if table.weight.grad is None:
                continue
            gradient = table.weight.grad.coalesce()
            rows, values = gradient.indices()[0], gradient.values()
            moment = table.second_moment[rows] + values.square().mean(dim=1)
            table.second_moment[rows] = moment
            table.weight.index_add_(0, rows, values / (moment.sqrt() + self.eps).unsqueeze(1), alpha=-self.lr)
