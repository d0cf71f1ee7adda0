from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pkb.batch import MISSING, Batch, Field, Schema
from pkb.errors import DataError
from retrieval.field_match import FieldMatchIndex
from retrieval.idf import idf
from retrieval.pool import NOBODY, Pool
from tests.retrieval.worlds import DAY, SCHEMA, brute_force, make_pool, make_rows

ALL = tuple(SCHEMA.names)


def check_against_brute_force(
    sizes: list[int], fields: tuple[str, ...], k: int, periods: int, seed: int, queries: int = 8
) -> None:
    pool = make_pool(sizes, seed=seed)
    index = FieldMatchIndex(pool, fields)
    asked = make_rows(queries, start=10**6, seed=seed + 1, missing=0.3)
    found = index.search(asked, k, until=periods * DAY)
    columns = [SCHEMA.names.index(f) for f in fields]
    for b, query in enumerate(asked.ids_BF.tolist()):
        expected = brute_force(pool, query, columns, k, periods * DAY)
        missing = [NOBODY] * (k - len(expected))
        assert found.rows_BK[b].tolist() == [row for row, _ in expected] + missing
        assert found.scores_BK[b, : len(expected)].tolist() == pytest.approx([score for _, score in expected])
        assert found.scores_BK[b, len(expected) :].isneginf().all()


@given(
    sizes=st.lists(st.integers(0, 40), max_size=4),
    fields=st.lists(st.sampled_from(ALL), min_size=1, unique=True).map(tuple),
    k=st.integers(1, 60),
    periods=st.integers(0, 5),
    seed=st.integers(0, 1000),
)
def test_it_finds_what_a_brute_force_scorer_finds(
    sizes: list[int], fields: tuple[str, ...], k: int, periods: int, seed: int
) -> None:
    check_against_brute_force(sizes, fields, k, periods, seed)


@given(at_once=st.integers(1, 20), faster=st.integers(1, 3), k=st.integers(1, 30), seed=st.integers(0, 1000))
def test_it_finds_the_same_however_few_rows_it_reads_at_once(at_once: int, faster: int, k: int, seed: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("retrieval.field_match.AT_ONCE", at_once)
        patch.setattr("retrieval.field_match.FASTER", faster)
        patch.setattr("retrieval.field_match.QUERIES_AT_ONCE", 3)
        check_against_brute_force([60, 0, 90], ALL, k, 3, seed, queries=4)


@pytest.mark.parametrize("k", [1, 10, 300])
def test_it_finds_the_same_where_lists_are_too_long_to_be_read_at_once(k: int) -> None:
    check_against_brute_force([6000, 9000], ALL, k, 2, seed=1)


def row(ids: list[int], ts: int) -> Batch:
    return Batch(
        row_id=torch.zeros(1, dtype=torch.int64),
        ids_BF=torch.tensor([ids], dtype=torch.int32),
        label=torch.zeros(1),
        ts=torch.tensor([ts]),
        further_labels={"buy": torch.zeros(1)},
    )


def test_a_missing_value_matches_nothing_not_even_a_missing_value() -> None:
    pool = make_pool([0])
    for ids in ([MISSING, 20, MISSING, MISSING], [MISSING, 21, MISSING, MISSING]):
        start = (pool.built_until or 0) + DAY
        pool.append(row(ids, start), start=start, end=start + DAY)
    found = FieldMatchIndex(pool, ALL).search(row([MISSING, 20, MISSING, MISSING], 10**6), 5, until=10**6)
    assert found.rows_BK.tolist() == [[0, NOBODY, NOBODY, NOBODY, NOBODY]]


def test_rows_after_the_bound_count_neither_as_rows_nor_in_the_idf() -> None:
    early, late = make_pool([50]), make_pool([50, 80])
    asked = make_rows(10, start=10**6, seed=9)
    before = FieldMatchIndex(early, ALL).search(asked, 5, until=DAY)
    after = FieldMatchIndex(late, ALL).search(asked, 5, until=DAY)
    assert torch.equal(before.rows_BK, after.rows_BK)
    assert torch.equal(before.scores_BK, after.scores_BK)


def test_idfs_add_up_to_the_same_number_in_any_order() -> None:
    draw = np.random.default_rng(0)
    weights = idf(draw.integers(1, 10**7, size=64), 10**7)
    sums = {float(draw.permutation(weights).cumsum()[-1]) for _ in range(200)}
    assert len(sums) == 1
    assert weights.min() > 0


def test_an_unknown_query_field_is_named_with_the_known_ones() -> None:
    with pytest.raises(DataError, match="field 'colour' is not among the fields user, item, category, hour"):
        FieldMatchIndex(make_pool([3]), ["colour"])


def test_ten_million_rows_of_ten_fields_fit_into_four_gibibytes() -> None:
    """Reckoned from the bytes a row of a smaller pool: five fields of few values, five whose values are half new."""
    rows, draw = 50_000, torch.Generator().manual_seed(0)
    schema = Schema(fields=tuple(Field(name=f"f{f}", role="context") for f in range(10)), user="f0", item="f1")
    few = torch.randint(11, 1000, (rows, 5), generator=draw)
    many = torch.randint(1000, 1000 + rows // 2, (rows, 5), generator=draw)
    pool = Pool(schema)
    ids = torch.cat([few, many], dim=1).to(torch.int32)
    times = torch.arange(rows)
    pool.append(Batch(row_id=times, ids_BF=ids, label=torch.zeros(rows), ts=times), start=0, end=rows)
    index = FieldMatchIndex(pool, schema.names)
    room_to_grow = 1.5 * ids.nbytes
    assert 10_000_000 / rows * (pool.bytes + index.bytes + room_to_grow) < 4 * 2**30
