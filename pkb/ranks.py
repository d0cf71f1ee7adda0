"""The processes that train together: which rows each takes, and how gradients add up.

Each rank takes its share of every minibatch and weights its loss by that share, so the sum of the
ranks' gradients is the gradient of the whole minibatch.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor, nn

from pkb.batch import Batch
from pkb.embedding import RowGradient, sum_by_row


@dataclass(frozen=True)
class Ranks:
    """This process among `world` that run in step."""

    rank: int = 0
    world: int = 1

    @classmethod
    def of_process_group(cls) -> Ranks:
        return cls(dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else cls()

    @property
    def first(self) -> bool:
        return self.rank == 0

    def bounds(self, rows: int) -> tuple[int, int]:
        """Give this rank's share [start, stop) of `rows` rows: disjoint, complete, equal but for one row."""
        return rows * self.rank // self.world, rows * (self.rank + 1) // self.world

    def share(self, batch: Batch) -> Batch:
        if self.world == 1:
            return batch
        return batch.select(slice(*self.bounds(len(batch))))

    def sum(self, values: Tensor) -> Tensor:
        """Elementwise sum over the ranks, in place."""
        if self.world > 1:
            dist.all_reduce(values)
        return values

    def wait(self) -> None:
        """Return once every rank has come here."""
        if self.world > 1:
            dist.barrier()

    def broadcast(self, values: Tensor) -> Tensor:
        """The first rank's values, written into everybody's."""
        if self.world > 1:
            dist.broadcast(values, src=0)
        return values

    def sum_gradients(self, dense: Iterable[nn.Parameter], loss: Tensor) -> Tensor:
        """Sum dense gradients over the ranks, in one message with the loss, whose sum is returned."""
        if self.world == 1:
            return loss
        dense = list(dense)
        gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in dense]
        present = loss.new_tensor([float(p.grad is not None) for p in dense])
        buffer = self.sum(torch.cat([loss.reshape(1), present, *(g.reshape(-1) for g in gradients)]))
        present, sums = buffer[1 : 1 + len(dense)], buffer[1 + len(dense) :].split([g.numel() for g in gradients])
        for parameter, somewhere, summed in zip(dense, present.tolist(), sums, strict=True):
            # What has no gradient on any rank must stay without one: Adam's momentum would move it.
            parameter.grad = summed.view_as(parameter) if somewhere else None
        return buffer[0]

    def sum_rows(self, gradient: RowGradient | None, width: int) -> RowGradient | None:
        """Sum the gradients of a table's rows over the ranks, in rank order; None where no rank has any."""
        if self.world == 1:
            return gradient
        rows, values = gradient or (torch.empty(0, dtype=torch.long), torch.empty(0, width))
        counts = [int(count) for count in self._gather(torch.tensor([len(rows)]), [1] * self.world)]
        return sum_by_row(torch.cat(self._gather(rows, counts)), torch.cat(self._gather(values, counts)))

    def _gather(self, mine: Tensor, counts: list[int]) -> list[Tensor]:
        """Every rank's tensor of `counts[rank]` rows; padded on the way, as messages are of one size."""
        padded = mine.new_zeros(max(counts), *mine.shape[1:])
        padded[: len(mine)] = mine
        received = [torch.empty_like(padded) for _ in counts]
        dist.all_gather(received, padded)
        return [part[:count] for part, count in zip(received, counts, strict=True)]
