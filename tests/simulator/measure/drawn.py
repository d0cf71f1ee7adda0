"""Rows as Hypothesis draws them: few scores, so that many tie, and few groups."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

Rows = list[tuple[int, int, int, int]]  # label, score, group, weight
rows = st.lists(
    st.tuples(st.integers(0, 1), st.integers(0, 6), st.integers(0, 5), st.integers(0, 3)), min_size=1, max_size=60
)
both_classes = rows.filter(lambda drawn: len({label for label, *_ in drawn}) == 2)


def columns(drawn: Rows) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    label, score, group, weight = np.array(drawn, dtype=np.int64).reshape(-1, 4).T
    return label.astype(np.int8), (score / 7).astype(np.float32), group, weight
