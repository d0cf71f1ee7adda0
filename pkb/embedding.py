"""One embedding table for all fields, updated only where a batch touched it.

A step costs the same at one million and at ten million rows: the gradient is sparse, and the
optimiser visits only the touched rows. The table grows between periods, in amortised constant
time per new row.

Shapes: B rows, F fields, of them V categories, M lists, N numbers and X vectors, C = V + M, E further values of lists,
W entries of vectors, D width.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from pkb.batch import MISSING, Batch, Field
from pkb.lists import ListReader
from pkb.numbers import NumberReader
from pkb.vectors import VectorReader


class EmbeddingTable(nn.Module):
    """Vectors for global ids; ids at or above `size` read the row of their field for new values.

    In training a value that came with the latest growth reads its own row plus its field's row for new values, so
    that this row learns what values have in common as long as they are new, and their own rows what they keep when
    they no longer are. Where nothing was known before, all values are new, and nothing tells the two apart: there a
    value reads its field's row for new values instead of its own with probability `new_value_rate`. (0: that row is
    never learned.)

    `forward` reads whole rows: of a list the mean or sum of its values' vectors, a number between the rows of two bins
    (`pkb.numbers`), a vector by a linear layer (`pkb.vectors`). Rows of bins and of vectors are there from the start,
    never new and never given up. `look_up` reads ids alone: the first value of a list, the bin of a number, whether a
    vector is there.

    Optimiser, checkpoint, budget and policies use `forward` and `look_up`, `gradient` and `apply_gradient`, `grow` and
    `renew`, `rows_in_use` and `restore`, and nothing else, so that a sharded table can stand in its place.

    `weight` is [capacity, D], of which the first `size` rows are in use.
    `second_moment` is [capacity], the row-wise Adagrad state, beside the weights so that both grow together.
    `owners` says whose row each is where rows are given up again (`renew`); without it, id and row are one.
    """

    of_ids: ClassVar[bool] = True  # whether every id that is made room for gets a row
    of_weights: ClassVar[bool] = False  # whether rows are weights of layers, which learn at the rate of these

    def __init__(
        self, fields: Sequence[Field], width: int, *, scale: float = 0.01, new_value_rate: float = 0.1
    ) -> None:
        super().__init__()
        self.fields, self.width, self.scale, self.new_value_rate = len(fields), width, scale, new_value_rate
        self.numbers = NumberReader([f.number for f in fields if f.number is not None], self.fields)
        self.vectors = VectorReader({f.name: f.vector for f in fields if f.vector is not None}, self.numbers.reserved)
        self.lists = ListReader({column: f for column, f in enumerate(fields) if f.kind == "list"})
        self.reserved = self.vectors.reserved  # ids below are those of no value that could be new
        self.size = self.size_before = 0  # now, and before the latest growth
        self.weight = nn.Parameter(torch.empty(0, width))
        self.register_buffer("second_moment", torch.empty(0))
        self.second_moment: Tensor
        self.owners: RowOwners | None = None

    def grow(self, size: int, generator: torch.Generator, known: int = 0) -> None:
        """Make room for ids below `size`; new rows are drawn from N(0, scale^2), the missing row is zero.

        Ids below `known` count as known before, though this table has no rows of them, as when a model starts afresh.
        """
        size = max(size, self.reserved)
        new = size - self.size
        self.size_before = max(self.size, known, self.reserved)
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

    def renew(self, ids: Tensor, *, now: int, keep: int, generator: torch.Generator) -> None:
        """Give a row to each of `ids`, seen in period `now`, and take theirs from ids unseen for `keep` periods.

        An id that comes back starts anew. The rows in use are bounded by the ids of `keep` periods.
        """
        if self.owners is None:
            self.grow(self.size, generator)
        owners = self.owners or RowOwners(torch.arange(self.size, dtype=torch.int32), now)
        rows = owners.rows_of(ids)
        owners.last_seen[rows[rows < len(owners)]] = now
        owners.last_seen[: self.reserved] = now  # these are never given up
        staying = (owners.last_seen > now - keep).nonzero().squeeze(1)
        self.weight.data[: len(staying)] = self.weight.data[staying]
        self.second_moment[: len(staying)] = self.second_moment[staying]
        fresh = ids[(rows >= len(owners)) & (ids >= self.reserved)]
        self.owners, self.size = owners.moved(staying, fresh, now), len(staying)
        self.grow(len(self.owners), generator)
        self.second_moment[len(staying) : self.size] = 0

    @property
    def end_of_ids(self) -> int:
        """No id that has a row is as large."""
        return self.size if self.owners is None else int(self.owners.ids.max()) + 1

    def rows_of(self, ids: Tensor) -> Tensor:
        """The row of each id, any shape; `size` or more for one that has none."""
        return ids if self.owners is None else self.owners.rows_of(ids)

    def known(self, ids: Tensor, columns: Tensor) -> Tensor:
        """Rows of `ids`; for one that is new to this table `1 + column`, the new-value row of its field."""
        rows = self.rows_of(ids)
        new = rows >= self.size
        if self.training and self.size_before == self.reserved and self.new_value_rate:
            new = new | ((rows >= self.reserved) & (torch.rand(rows.shape, device=rows.device) < self.new_value_rate))
        return torch.where(new, (columns + 1).to(rows.dtype), rows)

    def forward(self, batch: Batch) -> Tensor:
        """The vectors of whole rows, [B, F, D]."""
        n, x = self.numbers.columns, self.vectors.columns
        if not (self.numbers.between or x or self.lists.names):
            return self.look_up(batch.ids_BF)
        columns_C = torch.arange(self.fields - n - x, device=batch.ids_BF.device)
        ids_BC, ids_BN, ids_BX = batch.ids_BF.split([len(columns_C), n, x], dim=1)
        wanted = [self.known(ids_BC, columns_C)]
        if n:
            assert batch.numbers_BN is not None
            lower_BN, upper_BN, share_BN = self.numbers(ids_BN, batch.numbers_BN)
            wanted += [lower_BN, upper_BN]
        if x:
            wanted += [ids_BX, self.vectors.weights_W]
        if self.lists.names:
            further = self.lists(batch)
            wanted.append(self.known(further.ids_E, further.columns_E))
        read = self._read(torch.cat([rows.flatten() for rows in wanted]))  # in one go, which makes one gradient
        pieces = read.split([rows.numel() for rows in wanted])
        parts = iter([part.unflatten(0, rows.shape) for part, rows in zip(pieces, wanted, strict=True)])
        vectors_BCD, others = next(parts), []
        if n:
            others.append(torch.lerp(next(parts), next(parts), share_BN.unsqueeze(2)))
        if x:
            others.append(next(parts) + self.vectors(ids_BX, batch.vectors, next(parts)))
        if self.lists.names:
            vectors_BCD = further.pooled(vectors_BCD, next(parts))
        if self._adds_new:
            new_BC1 = (wanted[0] >= self.size_before).unsqueeze(2)
            if self.lists.names:
                new_BC1 = further.pooled(new_BC1.float(), (wanted[-1] >= self.size_before).float().unsqueeze(1))
            vectors_BCD = self._with_new(vectors_BCD, new_BC1, columns_C)
        return torch.cat([vectors_BCD, *others], dim=1)

    def look_up(self, ids: Tensor, columns: int | Tensor | None = None) -> Tensor:
        """Global ids of any shape with the column of their field, one for all or one each -> [..., D].

        Without columns the last dimension is that of all fields.
        """
        if columns is None:
            columns = torch.arange(self.fields, device=ids.device)
        columns = torch.as_tensor(columns, device=ids.device)
        rows = self.known(ids, columns)
        vectors = self._read(rows)
        return self._with_new(vectors, (rows >= self.size_before).unsqueeze(-1), columns) if self._adds_new else vectors

    @property
    def _adds_new(self) -> bool:
        """Whether new values read their field's row for new ones beside their own: in training, if others are known."""
        return bool(self.training and self.new_value_rate and self.reserved < self.size_before < self.size)

    def _with_new(self, vectors: Tensor, new: Tensor, columns: Tensor) -> Tensor:
        """What new values have in common beside the vectors of their own rows."""
        return vectors + new * functional.embedding(columns + 1, self.weight, sparse=True)

    def _read(self, rows: Tensor) -> Tensor:
        # padding_idx keeps the missing row out of the gradient, so it stays zero
        return functional.embedding(rows, self.weight, padding_idx=MISSING, sparse=True)

    def rows(self, rows: Tensor) -> Tensor:
        """Read rows of the table by their place, with a gradient; [U] -> [U, D]."""
        return functional.embedding(rows, self.weight, sparse=True)

    def clear_gradient(self) -> None:
        """Forget the gradient of the last backward pass."""
        self.weight.grad = None

    def gradient(self) -> RowGradient | None:
        """Give the rows that backward passes touched since it was cleared, with their gradients; None if none did."""
        if self.weight.grad is None:
            return None
        return sum_by_row(self.weight.grad._indices()[0], self.weight.grad._values())

    @torch.no_grad()
    def apply_gradient(self, rows: Tensor, values: Tensor, learning_rate: float) -> None:
        """Take a step of Adagrad with one accumulator a row, on these rows alone; `values` is used up.

        G_i += |g_i|^2;  w_i -= learning_rate * g_i / (1 + sqrt(G_i))

        with g_i the gradient of the loss summed over the minibatch: the rate of McMahan et al. 2013 ("Ad click
        prediction: a view from the trenches", section 3.1, beta = 1), with the row-wise accumulator of large tables.
        The 1 holds a value that has been seen a few times near where it began: without it the first step has the same
        length whatever is known, and a miss, of which there are many, counts as much as a click.
        """
        moment = self.second_moment[rows] + values.square().sum(dim=1)
        self.second_moment[rows] = moment
        self.weight[rows] -= values.mul_((learning_rate / (1 + moment.sqrt())).unsqueeze(1))

    @property
    def row_bytes(self) -> int:
        """Bytes of one row in use, with its optimiser state."""
        return 4 * (self.width + 1)

    def rows_in_use(self) -> dict[str, Tensor]:
        """Give what a checkpoint keeps: the rows in use with their state, without the spare capacity."""
        rows = {"weight": self.weight.data[: self.size], "second_moment": self.second_moment[: self.size]}
        if self.owners is not None:
            rows |= {"ids": self.owners.ids, "last_seen": self.owners.last_seen}
        return rows

    def restore(self, rows: dict[str, Tensor]) -> None:
        """Take back what `rows_in_use` gave."""
        self.size = rows["weight"].shape[0]
        self.weight = nn.Parameter(rows["weight"].to(self.weight.device, copy=True))
        self.second_moment = rows["second_moment"].to(self.weight.device, copy=True)
        self.owners = RowOwners(rows["ids"].clone(), rows["last_seen"].clone()) if "ids" in rows else None


class RowOwners:
    """Whose id each row of a table holds, and when that id was last seen; a look-up takes O(log rows)."""

    def __init__(self, ids: Tensor, last_seen: Tensor | int) -> None:
        self.ids = ids  # [rows] int32
        self.last_seen = last_seen if isinstance(last_seen, Tensor) else torch.full_like(ids, last_seen)
        self._sorted, self._row = ids.sort()

    def __len__(self) -> int:
        return len(self.ids)

    def rows_of(self, ids: Tensor) -> Tensor:
        """The row of each id, any shape; `len(self)` for one that has none."""
        place = torch.searchsorted(self._sorted, ids.contiguous()).clamp_(max=len(self) - 1)
        return torch.where(self._sorted[place] == ids, self._row[place], len(self))

    def moved(self, staying: Tensor, fresh: Tensor, now: int) -> RowOwners:
        """The owners of these rows move up, and `fresh` ids move in behind them."""
        seen = torch.cat([self.last_seen[staying], torch.full((len(fresh),), now, dtype=torch.int32)])
        return RowOwners(torch.cat([self.ids[staying], fresh.to(torch.int32)]), seen)


RowGradient = tuple[Tensor, Tensor]  # rows [U], ascending, and the gradient of each, [U, D]


def sum_by_row(rows: Tensor, values: Tensor) -> RowGradient:
    """Sum what each row got, [N] rows and [N, D] values, into its one gradient.

    What `coalesce` does row by row, on all threads: each row's entries are summed, in their order, as a bag.
    """
    rows, order = rows.sort(stable=True)
    rows, counts = rows.unique_consecutive(return_counts=True)
    return rows, functional.embedding_bag(order, values, counts.cumsum(0) - counts, mode="sum")
