"""How many bytes a contender keeps."""

from __future__ import annotations

from pkb.backbones.scenario.table import ScenarioTable
from pkb.parameters import nbytes, tables_of, weight_bytes
from simulator.contender.centered import Centered
from simulator.contender.contender import Contender
from simulator.record.costs import ScenarioCosts


def memory_bytes(contender: Contender) -> dict[str, int]:
    """Count what must be kept to go on, by part: model, optimiser, knowledge base, its center if any, policy."""
    base = contender.base
    moments = contender.model_optimiser.nbytes() + (0 if base is None else contender.base_optimiser.nbytes())
    return {
        "model": nbytes(contender.model),
        "policy": contender.policy.nbytes(),
        "knowledge": 0 if base is None else nbytes(base),
        "optimiser": moments,
        **({"center": contender.source.nbytes} if isinstance(contender.source, Centered) else {}),
    }


def knowledge_bytes(contender: Contender) -> int:
    """Count the base's float32 weights without the parts that serve compression alone; 0 without a base."""
    if contender.base is None:
        return 0
    return weight_bytes(contender.base) - sum(weight_bytes(part) for part in contender.base.compression_only())


def of_scenario(contender: Contender) -> ScenarioCosts | None:
    """Count what one more scenario adds to the click model."""
    if contender.schema.scenario is None:
        return None
    tables = tables_of(contender.model).values()
    own = [table for table in tables if isinstance(table, ScenarioTable)]
    return ScenarioCosts(
        scenarios=max((table.size for table in own), default=0),
        parameters=sum(table.width for table in tables if table.of_ids or table.of_weights),
        bytes=sum(table.row_bytes for table in tables),
    )
