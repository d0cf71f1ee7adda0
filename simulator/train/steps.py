"""Optimiser steps of one module: Adam for dense parameters, row-wise Adagrad for embedding tables."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from pkb.embedding import EmbeddingTable, RowwiseAdagrad
from pkb.errors import RunError
from simulator.train.ranks import Ranks


class DivergedError(RunError):
    """A loss is not finite; the step was not taken."""


def tables_of(module: nn.Module) -> dict[str, EmbeddingTable]:
    """The embedding tables inside `module`, by their path in it."""
    return {name: m for name, m in module.named_modules() if isinstance(m, EmbeddingTable)}


def dense_parameters(module: nn.Module) -> list[nn.Parameter]:
    tables = {id(t.weight) for t in tables_of(module).values()}
    return [p for p in module.parameters() if id(p) not in tables]


def uses_bfloat16(precision: str) -> bool:
    """Whether dense layers train in bfloat16: `auto` does where the processor multiplies in it."""
    return precision == "bfloat16" or (precision == "auto" and torch.cpu._is_avx512_bf16_supported())


def nbytes(module: nn.Module) -> int:
    """Bytes of a module's parameters and buffers, of its tables the rows in use with their optimiser state."""
    tables = tables_of(module).values()
    apart = {id(t) for table in tables for t in (table.weight, table.second_moment)}
    dense = [t for t in (*module.parameters(), *module.buffers()) if id(t) not in apart]
    rows = [t for table in tables for t in table.rows_in_use().values()]
    return sum(t.numel() * t.element_size() for t in (*dense, *rows))


class Steps:
    """Takes the steps of one module on this rank, in step with the others."""

    def __init__(
        self, module: nn.Module, groups: list[dict[str, Any]], embedding_learning_rate: float, ranks: Ranks
    ) -> None:
        self.module, self.ranks = module, ranks
        self.dense = [p for group in groups for p in group["params"]]
        self.adam = torch.optim.Adam(groups, fused=True)
        self.adagrad = RowwiseAdagrad(tables_of(module).values(), embedding_learning_rate)

    def nbytes(self) -> int:
        """Bytes of Adam's moments; Adagrad's stand in the tables."""
        moments = [t for state in self.adam.state.values() for t in state.values()]
        return sum(t.numel() * t.element_size() for t in moments)

    def step(self, loss: Tensor | None) -> float:
        """One step on this rank's part of a minibatch's loss (None: no row of it is here).

        Returns the loss over all ranks; DivergedError, before any weight has changed, if it is not finite.
        """
        self.adam.zero_grad()
        self.adagrad.zero_grad()
        part = torch.zeros(())
        if loss is not None:
            loss.backward()
            part = loss.detach()
        weights = [table.weight for table in self.adagrad.tables]
        total = self.ranks.sum_gradients(self.dense, weights, part).item()
        if not math.isfinite(total):
            raise DivergedError(f"loss was {total}")
        self.adam.step()
        self.adagrad.step()
        return total
