"""How many bytes a contender keeps."""

from __future__ import annotations

from pkb.parameters import nbytes, weight_bytes
from simulator.contender.contender import Contender


def memory_bytes(contender: Contender) -> dict[str, int]:
    """Count what must be kept to go on, by part: model, optimiser, knowledge base, policy."""
    base = contender.base
    moments = contender.model_optimiser.nbytes() + (0 if base is None else contender.base_optimiser.nbytes())
    return {
        "model": nbytes(contender.model),
        "policy": contender.policy.nbytes(),
        "knowledge": 0 if base is None else nbytes(base),
        "optimiser": moments,
    }


def knowledge_bytes(contender: Contender) -> int:
    """Count the base's float32 weights without the parts that serve compression alone; 0 without a base."""
    if contender.base is None:
        return 0
    return weight_bytes(contender.base) - sum(weight_bytes(part) for part in contender.base.compression_only())
