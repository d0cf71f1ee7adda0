"""The processes that train together: who reads which rows, and how gradients add up.

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
from pkb.embedding import summed_by_row


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
        """This rank's share [start, stop) of `rows` rows: disjoint, complete, equal but for one row."""
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

    def broadcast(self, values: Tensor) -> Tensor:
        """The first rank's values, written into everybody's."""
        if self.world > 1:
            dist.broadcast(values, src=0)
        return values

    def sum_gradients(self, dense: Iterable[nn.Parameter], sparse: Iterable[nn.Parameter], loss: Tensor) -> Tensor:
        """Gradients become their sum over the ranks; one message for all dense ones and the loss, which is returned."""
        if self.world == 1:
            return loss
        dense = list(dense)
        gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in dense]
        present = torch.tensor([float(p.grad is not None) for p in dense])
        buffer = self.sum(torch.cat([loss.reshape(1), present, *(g.reshape(-1) for g in gradients)]))
        present, sums = buffer[1 : 1 + len(dense)], buffer[1 + len(dense) :].split([g.numel() for g in gradients])
        for parameter, somewhere, summed in zip(dense, present.tolist(), sums, strict=True):
            # What has no gradient on any rank must stay without one: Adam's momentum would move it.
            parameter.grad = summed.view_as(parameter) if somewhere else None
        for parameter in sparse:
            parameter.grad = self._sum_sparse(parameter)
        return buffer[0]

    def _sum_sparse(self, table: nn.Parameter) -> Tensor:
        """The ranks' sparse gradients one behind the other, in rank order; the optimiser adds them up."""
        rows, values = torch.empty(0, dtype=torch.long), table.new_empty(0, table.shape[1])
        if table.grad is not None:
            rows, values = summed_by_row(table.grad)
        sizes = self._gather(torch.tensor([len(rows)]), [1] * self.world)
        counts = [int(size) for size in sizes]
        indices = torch.cat(self._gather(rows, counts)).unsqueeze(0)
        return torch.sparse_coo_tensor(
            indices, torch.cat(self._gather(values, counts)), table.shape, check_invariants=False
        )

    def _gather(self, mine: Tensor, counts: list[int]) -> list[Tensor]:
        """Every rank's tensor of `counts[rank]` rows; padded on the way, as messages are of one size."""
        padded = mine.new_zeros(max(counts), *mine.shape[1:])
        padded[: len(mine)] = mine
        received = [torch.empty_like(padded) for _ in counts]
        dist.all_gather(received, padded)
        return [part[:count] for part, count in zip(received, counts, strict=True)]
