from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pkb.batch import MISSING
from pkb.embedding import EmbeddingTable, sum_by_row
from tests.pkb.plain_fields import plain


def table(size: int = 10, *, fields: int = 2, width: int = 4) -> EmbeddingTable:
    made = EmbeddingTable(plain(fields), width, new_value_rate=0)
    made.grow(size, torch.Generator().manual_seed(0))
    return made


def step(t: EmbeddingTable, learning_rate: float) -> None:
    gradient = t.gradient()
    assert gradient is not None
    t.apply_gradient(*gradient, learning_rate)
    t.clear_gradient()


def test_an_id_beyond_the_table_reads_the_new_value_row_of_its_field() -> None:
    t = table()
    vectors = t.look_up(torch.tensor([[10, 99], [3, 4]]))
    assert torch.equal(vectors[0, 0], t.weight[1])
    assert torch.equal(vectors[0, 1], t.weight[2])
    assert torch.equal(vectors[1, 0], t.weight[3])


def test_a_missing_value_reads_zero_and_stays_zero_when_trained() -> None:
    t = table()
    for _ in range(3):
        (t.look_up(torch.tensor([[MISSING, 5]])) - 1).square().sum().backward()
        step(t, 0.1)
    assert torch.equal(t.weight[MISSING], torch.zeros(4))
    assert t.weight[5].abs().sum() > 0.1


def test_only_touched_rows_change() -> None:
    t = table(100)
    before = t.weight.detach().clone()
    t.look_up(torch.tensor([[7, 42], [7, 9]])).square().sum().backward()
    step(t, 0.1)
    changed = (t.weight != before).any(dim=1).nonzero().squeeze(1).tolist()
    assert changed == [7, 9, 42]


def test_rowwise_adagrad_follows_its_formula_with_repeated_ids() -> None:
    t = table()
    start = t.weight.detach().clone()
    for _ in range(2):
        t.look_up(torch.tensor([[5, 6], [5, 6]])).sum().backward()  # gradient 2 in each of 4 entries of rows 5 and 6
        step(t, 0.5)
    first = start[5] - 0.5 * 2 / (1 + 16**0.5)
    second = first - 0.5 * 2 / (1 + 32**0.5)
    torch.testing.assert_close(t.weight[5].detach(), second)


@given(st.lists(st.integers(3, 200), min_size=1, max_size=8))
def test_growing_keeps_rows_and_optimiser_state(sizes: list[int]) -> None:
    t, draw = EmbeddingTable(plain(2), 3), torch.Generator().manual_seed(1)
    kept = torch.empty(0, 3)
    for size in sizes:
        t.grow(size, draw)
        assert t.size == max([3, *sizes[: sizes.index(size) + 1], kept.shape[0], size])
        assert torch.equal(t.weight[: len(kept)], kept)
        assert not t.weight[t.size :].any()
        t.second_moment[t.size - 1] = t.size
        kept = t.weight.detach()[: t.size].clone()
    assert t.second_moment[t.size - 1] == t.size


def test_a_restored_table_is_the_saved_one() -> None:
    saved, restored = table(10), EmbeddingTable(plain(2), 4)
    saved.second_moment[4] = 2.0
    restored.restore(saved.rows_in_use())
    assert restored.size == 10
    assert torch.equal(restored.weight, saved.weight[:10])
    assert restored.second_moment[4] == 2.0


def test_where_nothing_was_known_training_shows_some_values_the_row_for_new_ones() -> None:
    t, draw = EmbeddingTable(plain(1), 2, new_value_rate=0.3), torch.Generator().manual_seed(0)
    t.grow(20, draw)
    torch.manual_seed(0)
    ids = torch.arange(2, 20).repeat(2000).unsqueeze(1)
    replaced = (t.known(ids, torch.arange(1)) == 1).view(2000, 18).double().mean(dim=0)
    assert (replaced - 0.3).abs().max() < 0.05
    assert torch.equal(t.known(torch.zeros_like(ids), torch.arange(1)), torch.zeros_like(ids)), "missing stays missing"
    t.eval()
    assert torch.equal(t.known(ids, torch.arange(1)), ids)


@pytest.mark.parametrize("known", [0, 15])
def test_in_training_new_values_read_their_own_row_and_that_for_new_ones(known: int) -> None:
    """Or those are new that came after the ids that others have known, as for a model that starts afresh."""
    t, draw = EmbeddingTable(plain(2), 3), torch.Generator().manual_seed(0)
    if not known:
        t.grow(15, draw)
    t.grow(20, draw, known)
    ids = torch.tensor([[14, 15], [MISSING, 19], [25, 3]])  # 25 is beyond the table
    own = t.weight[ids.clamp(max=19)].detach()
    own[2, 0] = t.weight[1]  # what is unknown reads the row for new values of its field
    new = torch.tensor([[0, 1], [0, 1], [0, 0]]).unsqueeze(-1) * t.weight[2]
    torch.testing.assert_close(t.look_up(ids), own + new)
    torch.testing.assert_close(t.eval().look_up(ids), own)


def test_the_row_for_new_values_learns_what_all_of_them_have_in_common() -> None:
    t, draw = EmbeddingTable(plain(1), 2), torch.Generator().manual_seed(0)
    t.grow(10, draw)
    t.grow(20, draw)
    t.look_up(torch.tensor([[9], [10], [11]])).sum().backward()
    gradient = t.gradient()
    assert gradient is not None
    rows, values = gradient
    assert rows.tolist() == [1, 9, 10, 11]
    assert values[:, 0].tolist() == [2.0, 1.0, 1.0, 1.0]


def renewed(table: EmbeddingTable, ids: list[int], now: int, keep: int = 2) -> EmbeddingTable:
    table.renew(torch.tensor(ids, dtype=torch.int32), now=now, keep=keep, generator=torch.Generator().manual_seed(now))
    return table


def stored(table: EmbeddingTable, identity: int) -> torch.Tensor:
    """What an id of field 0 reads."""
    return table.eval().look_up(torch.tensor(identity, dtype=torch.int32), 0).detach()


def test_an_id_unseen_for_so_many_periods_reads_the_row_for_new_values_and_starts_anew_when_it_returns() -> None:
    table = renewed(EmbeddingTable(plain(2), 3), [10, 11], now=0)
    own, other = stored(table, 10), stored(table, 11)
    assert not torch.equal(own, other)
    renewed(table, [10], now=1)
    assert torch.equal(stored(table, 11), other)  # unseen for one period only
    renewed(table, [10], now=2)
    assert torch.equal(stored(table, 11), table.weight[1])
    assert torch.equal(stored(table, 10), own)
    renewed(table, [10, 11], now=3)
    assert not torch.equal(stored(table, 11), other)
    assert not torch.equal(stored(table, 11), table.weight[1])


def test_with_eviction_a_table_stays_as_large_as_what_was_seen_lately() -> None:
    table = EmbeddingTable(plain(1), 4)
    sizes = []
    for now in range(50):
        renewed(table, list(range(2 + 100 * now, 2 + 100 * (now + 1))), now=now, keep=3)
        sizes.append((table.size, table.weight.shape[0]))
    assert {size for size, _ in sizes[3:]} == {2 + 300}
    assert len({capacity for _, capacity in sizes[5:]}) == 1


def test_an_evicted_id_leaves_neither_weights_nor_optimiser_state_to_its_successor() -> None:
    table = renewed(EmbeddingTable(plain(1), 2), [2, 3], now=0, keep=1)
    table.second_moment[2:4] = torch.tensor([5.0, 7.0])
    renewed(table, [3, 9], now=1, keep=1)
    assert table.owners is not None
    row_of = dict(zip(table.owners.ids.tolist(), range(table.size), strict=True))
    assert table.second_moment[row_of[3]] == 7
    assert table.second_moment[row_of[9]] == 0


def test_a_table_that_evicts_goes_on_from_its_stored_rows() -> None:
    one = renewed(EmbeddingTable(plain(1), 2), [4, 9, 2], now=0)
    two = EmbeddingTable(plain(1), 2)
    two.restore(one.rows_in_use())
    for table in (one, two):
        renewed(table, [9, 30], now=5)
    assert torch.equal(stored(one, 9), stored(two, 9))
    assert torch.equal(stored(one, 30), stored(two, 30))


@pytest.mark.parametrize("entries", [0, 1, 5000])
def test_gradients_of_a_row_add_up_as_coalescing_adds_them(entries: int) -> None:
    draw = torch.Generator().manual_seed(0)
    rows = (700 ** torch.rand(entries, generator=draw)).long()
    values = torch.randn(entries, 16, generator=draw)
    gradient = torch.sparse_coo_tensor(rows.unsqueeze(0), values, (1000, 16), check_invariants=True)
    touched, summed = sum_by_row(rows, values)
    expected = gradient.coalesce()
    assert torch.equal(touched, expected.indices()[0])
    torch.testing.assert_close(summed, expected.values(), rtol=1e-6, atol=1e-5)
