"""A module's parameters by kind: embedding tables, which have an optimiser of their own, and dense ones."""

from __future__ import annotations

from torch import Tensor, nn

from pkb.embedding import EmbeddingTable


def tables_of(module: nn.Module) -> dict[str, EmbeddingTable]:
    """List the embedding tables inside `module`, by their path in it."""
    return {name: m for name, m in module.named_modules() if isinstance(m, EmbeddingTable)}


def dense_parameters(module: nn.Module) -> list[nn.Parameter]:
    """List the parameters outside embedding tables, in the module's order."""
    inside = {id(p) for table in tables_of(module).values() for p in table.parameters()}
    return [p for p in module.parameters() if id(p) not in inside]


def dense_state(module: nn.Module) -> dict[str, Tensor]:
    """Name parameters and buffers outside the embedding tables, detached."""
    inside = tuple(f"{name}." for name in tables_of(module))
    return {k: v for k, v in module.state_dict().items() if not k.startswith(inside)} if inside else module.state_dict()


def nbytes(module: nn.Module) -> int:
    """Count the bytes of parameters and buffers; of tables, those of the rows in use with their optimiser state."""
    tables = tables_of(module).values()
    inside = {id(t) for table in tables for t in (*table.parameters(), *table.buffers())}
    dense = [t for t in (*module.parameters(), *module.buffers()) if id(t) not in inside]
    rows = [t for table in tables for t in table.rows_in_use().values()]
    return sum(t.numel() * t.element_size() for t in (*dense, *rows))


def weight_bytes(module: nn.Module) -> int:
    """Count the bytes of the float32 weights alone; of tables, those of the rows in use."""
    tables = sum(t.size * t.width for t in tables_of(module).values())
    return 4 * (tables + sum(p.numel() for p in dense_parameters(module)))
