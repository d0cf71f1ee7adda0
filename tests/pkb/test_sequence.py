from __future__ import annotations

import torch

from pkb.embedding import EmbeddingTable
from pkb.sequence import Similarity, masked_softmax, read_past, state_after, weighted_sum
from tests.pkb.plain_fields import plain


def table() -> EmbeddingTable:
    made = EmbeddingTable(plain(2), 3, scale=1.0)
    made.grow(10, torch.Generator().manual_seed(0))
    return made.eval()


def test_a_past_is_read_from_the_rows_of_its_field() -> None:
    vectors = table()
    past = read_past(vectors, torch.tensor([[4, 99, 0], [0, 0, 0]], dtype=torch.int32), 1, torch.zeros(2, 3))
    new_to_column_1 = vectors.weight[2]
    torch.testing.assert_close(
        past.behaviours_BHD[0], torch.stack([vectors.weight[4], new_to_column_1, torch.zeros(3)])
    )
    assert past.present_BH.tolist() == [[True, True, False], [False, False, False]]
    assert past.length_B.tolist() == [2, 0]


def test_a_gap_inside_a_history_counts_to_its_length() -> None:
    past = read_past(table(), torch.tensor([[4, 0, 5, 0]], dtype=torch.int32), 0, torch.zeros(1, 3))
    assert past.length_B.tolist() == [3]
    assert past.present_BH.tolist() == [[True, False, True, False]]


def test_a_history_without_columns_is_one_of_padding() -> None:
    past = read_past(table(), torch.empty(2, 0, dtype=torch.int32), 0, torch.zeros(2, 3))
    assert past.behaviours_BHD.shape == (2, 1, 3)
    assert not past.present_BH.any()


def test_masked_softmax_is_a_softmax_over_what_is_present() -> None:
    scores, present = torch.tensor([[1.0, 2.0, 9.0], [3.0, 4.0, 5.0]]), torch.tensor([[1, 1, 0], [0, 0, 0]]).bool()
    weights = masked_softmax(scores, present)
    torch.testing.assert_close(weights[0, :2], torch.tensor([1.0, 2.0]).softmax(dim=0))
    assert weights[0, 2] == 0
    assert weights[1].tolist() == [0, 0, 0]


def test_masked_softmax_of_nothing_has_finite_gradients() -> None:
    scores = torch.randn(1, 3, requires_grad=True)
    masked_softmax(scores, torch.zeros(1, 3, dtype=torch.bool)).sum().backward()
    assert scores.grad is not None
    assert scores.grad.isfinite().all()


def test_the_state_after_so_many_steps() -> None:
    states = torch.arange(12.0).reshape(2, 3, 2)
    assert state_after(states, torch.tensor([2, 0])).tolist() == [[2.0, 3.0], [0.0, 0.0]]


def test_a_weighted_sum() -> None:
    weights, values = torch.rand(4, 3), torch.rand(4, 3, 2)
    torch.testing.assert_close(weighted_sum(weights, values), (weights[:, :, None] * values).sum(dim=1))


def test_similarity_compares_each_entry_with_its_rows_target() -> None:
    similarity = Similarity(2, (5,))
    a, b = torch.randn(3, 4, 2), torch.randn(3, 2)
    alone = similarity.score(torch.cat([a[1, 2], b[1], a[1, 2] - b[1], a[1, 2] * b[1]]))
    torch.testing.assert_close(similarity(a, b)[1, 2], alone.squeeze(0))
