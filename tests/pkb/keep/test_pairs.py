"""The pair-wise loss against a loop over every pair of rows."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pkb.batch import MISSING
from pkb.keep.pairs import pairwise_loss, triplets

ROWS = st.lists(st.tuples(st.integers(MISSING, 4), st.booleans(), st.floats(-4, 4, width=32)), max_size=24)


@given(ROWS)
def test_loss_and_triplets_are_those_of_a_loop_over_all_pairs_of_rows(rows: list[tuple[int, bool, float]]) -> None:
    user_B = torch.tensor([user for user, _, _ in rows], dtype=torch.int32)
    label_B = torch.tensor([float(label) for _, label, _ in rows])
    logit_B = torch.tensor([logit for _, _, logit in rows])
    pairs = [
        (i, j)
        for i, (user, has, _) in enumerate(rows)
        for j, (other, other_has, _) in enumerate(rows)
        if user == other != MISSING and has and not other_has
    ]
    i_T, j_T = triplets(user_B, label_B)
    assert sorted(zip(i_T.tolist(), j_T.tolist(), strict=True)) == pairs
    expected = sum(math.log1p(math.exp(rows[j][2] - rows[i][2])) for i, j in pairs)
    assert pairwise_loss(logit_B, user_B, label_B).item() == pytest.approx(expected, rel=1e-5, abs=1e-6)


def test_a_user_without_both_labels_moves_nothing() -> None:
    user_B, label_B = torch.tensor([7, 7, 8, 8, 9]), torch.tensor([1.0, 1, 0, 0, 1])
    logit_B = torch.zeros(5, requires_grad=True)
    pairwise_loss(logit_B, user_B, label_B).backward()
    assert logit_B.grad is not None
    assert not logit_B.grad.any()
