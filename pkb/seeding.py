"""Where every random draw comes from: the run's seed and the names of what draws."""

from __future__ import annotations

import hashlib

import torch


def derived_seed(seed: int, *names: str | int) -> int:
    """A 63-bit seed that depends on the run's seed and on `names`, and on nothing else."""
    text = "/".join(str(part) for part in (seed, *names))
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") >> 1


def generator(seed: int, *names: str | int) -> torch.Generator:
    return torch.Generator().manual_seed(derived_seed(seed, *names))
