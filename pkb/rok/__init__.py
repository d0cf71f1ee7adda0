"""ROK: what a retrieval model reads from old rows, learnt into a model that searches nothing (Liu et al., 2024)."""

from pkb.rok.rok import ROK
from pkb.rok.teacher import Teacher

__all__ = ["ROK", "Teacher"]
