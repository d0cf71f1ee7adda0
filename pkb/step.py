"""One training step, for click models and knowledge bases alike, alone or in step with other processes.

    optimiser = Optimiser(model)
    for batch in rows.minibatches(1024):
        optimiser.step(click_loss(model, batch), len(batch))

Adam moves dense parameters, row-wise Adagrad the rows of embedding tables that a minibatch touched. Rows that are
weights of layers, as a scenario's own are, move as dense parameters do.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

from pkb.backbones.base import Backbone, ClickModel
from pkb.batch import Batch
from pkb.device import CPU, Device
from pkb.errors import RunError
from pkb.knowledge import Knowledge
from pkb.parameters import dense_parameters, tables_of
from pkb.ranks import Ranks

Addition = Callable[[Batch, Tensor], Tensor]  # what is added to the loss of a batch with these logits


class DivergedError(RunError):
    """A loss is not finite; the step was not taken."""


def click_loss(
    model: ClickModel,
    batch: Batch,
    knowledge: Knowledge | None = None,
    addition: Addition | None = None,
    *,
    device: Device = CPU,
) -> Tensor:
    """Compute the mean cross entropy of the batch's clicks, with the model's auxiliary loss and an addition to it.

    A row of weight w counts as w rows of the batch's number; the mean is over that number.
    """
    with device.autocast():
        logits, auxiliary = model.with_auxiliary(batch, knowledge)
    logits = logits.float()
    loss = binary_cross_entropy_with_logits(logits, batch.label, weight=batch.weight)
    if auxiliary is not None:
        loss = loss + auxiliary.float()
    if addition is not None:
        loss = loss + addition(batch, logits)
    return loss


class Optimiser:
    """Takes the steps of one module on this rank, in step with the others."""

    def __init__(
        self,
        module: nn.Module,
        groups: list[dict[str, Any]] | None = None,
        *,
        learning_rate: float = 1e-3,
        embedding_learning_rate: float = 0.1,
        ranks: Ranks = Ranks(),  # noqa: B008  frozen
    ) -> None:
        """Adam's parameter groups are `groups`, or all dense parameters at `learning_rate`."""
        self.groups = groups or [{"params": dense_parameters(module), "lr": learning_rate}]
        self.module, self.ranks, self.embedding_learning_rate = module, ranks, embedding_learning_rate
        self.dense = [p for group in self.groups for p in group["params"]]
        self.tables = list(tables_of(module).values())
        self.backbones = [m for m in module.modules() if isinstance(m, Backbone)]

    @cached_property
    def adam(self) -> torch.optim.Adam:
        """Made when first asked for: torch imports its compiler with it, seconds that a served model need not wait."""
        return torch.optim.Adam(self.groups, fused=True)

    def nbytes(self) -> int:
        """Count the bytes of Adam's moments; those of rows stand in the tables."""
        moments = [t for state in self.adam.state.values() for t in state.values()]
        return sum(t.numel() * t.element_size() for t in moments)

    def step(self, loss: Tensor | None, rows: int) -> float:
        """Take one step on this rank's part (None: no row of it is here) of a loss that is a mean over so many rows.

        Dense parameters follow the mean, as Adam's steps do not depend on its scale, and a row of a table the sum over
        the rows of the minibatch, so that what it learns of a value does not depend on how many others stand beside it.
        Returns the loss over all ranks; DivergedError, before any weight has changed, if it is not finite.
        """
        self.adam.zero_grad()
        for table in self.tables:
            table.clear_gradient()
        part = torch.zeros(())
        if loss is not None:
            loss.backward()
            part = loss.detach()
        total = self.ranks.sum_gradients(self.dense, part).item()
        gradients = [self.ranks.sum_rows(table.gradient(), table.width) for table in self.tables]
        if not math.isfinite(total):
            raise DivergedError(f"loss was {total}")
        self.adam.step()
        for table, gradient in zip(self.tables, gradients, strict=True):
            if gradient is not None:
                touched, values = gradient
                rate = self.adam.param_groups[0]["lr"] if table.of_weights else self.embedding_learning_rate
                table.apply_gradient(touched, values * rows, rate)
        for backbone in self.backbones:
            backbone.stepped()
        return total
