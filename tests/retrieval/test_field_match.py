from __future__ import annotations

import pickle
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pkb.batch import MISSING, Batch, Field, Schema
from pkb.errors import DataError
from retrieval import best_matches, compiled
from retrieval.field_match import LARGE, FieldMatchIndex
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


@given(size=st.integers(1, 90), pieces=st.integers(1, 90), k=st.integers(1, 30), seed=st.integers(0, 1000))
def test_it_finds_the_same_in_one_segment_and_in_many(size: int, pieces: int, k: int, seed: int) -> None:
    whole = make_pool([size], seed=seed)
    rows = whole.segments[0].rows
    bounds = [size * piece // pieces for piece in range(pieces + 1)]
    pool = make_pool([])
    for piece, (first, last) in enumerate(pairwise(bounds)):
        part = rows.select(slice(first, last))
        part = replace(part, ts=torch.full((last - first,), piece), row_id=torch.arange(last - first).neg())
        pool.append(part, start=piece, end=piece + 1)
    asked = make_rows(8, start=10**6, seed=seed + 1, missing=0.3)
    in_one, in_many = (FieldMatchIndex(p, ALL).search(asked, k, until=10**6) for p in (whole, pool))
    assert torch.equal(in_one.rows_BK, in_many.rows_BK)
    assert torch.equal(in_one.scores_BK, in_many.scores_BK)


@pytest.mark.parametrize("k", [1, 10, 300])
def test_it_finds_what_a_brute_force_scorer_finds_in_long_lists(k: int) -> None:
    check_against_brute_force([6000, 9000], ALL, k, 2, seed=1)


@pytest.mark.parametrize("fields", [3, 31, 62, 70])
def test_it_finds_the_same_by_few_fields_and_by_more_than_a_mark_has_room_for(fields: int) -> None:
    """Ids differ from each other in their high bits too, of which a mark knows nothing."""
    schema = Schema(fields=tuple(Field(name=f"f{f}", role="context") for f in range(fields)), user="f0", item="f1")
    draw = torch.Generator().manual_seed(fields)
    ids = (1 + 64 * torch.randint(12, (300, fields), generator=draw)).to(torch.int32)
    times = torch.arange(300)
    rows = Batch(row_id=times, ids_BF=ids, label=torch.zeros(300), ts=times)
    pool = Pool(schema)
    pool.append(rows, start=0, end=300)
    asked = replace(rows.select(slice(0, 20)), ids_BF=ids[:20].roll(fields // 2, dims=1), ts=None)
    found = FieldMatchIndex(pool, schema.names).search(asked, 12, until=300)
    for b, query in enumerate(asked.ids_BF.tolist()):
        expected = brute_force(pool, query, list(range(fields)), 12, 300)
        assert found.rows_BK[b, : len(expected)].tolist() == [row for row, _ in expected]


def test_a_query_without_any_value_finds_nobody() -> None:
    asked = make_rows(5, start=10**6, missing=1.1)
    found = FieldMatchIndex(make_pool([80, 60]), ALL).search(asked, 7, until=10**6)
    assert (found.rows_BK == NOBODY).all()
    assert found.scores_BK.isneginf().all()


def test_threads_find_what_one_finds() -> None:
    index, asked = FieldMatchIndex(make_pool([300, 200]), ALL), make_rows(LARGE + 7, start=10**6, seed=3)
    before = torch.get_num_threads()
    found = []
    try:
        for threads in (1, 3):
            torch.set_num_threads(threads)
            found.append(index.search(asked, 10, until=10**6))
    finally:
        torch.set_num_threads(before)
    assert torch.equal(found[0].rows_BK, found[1].rows_BK)
    assert torch.equal(found[0].scores_BK, found[1].scores_BK)


def read_only(loaded: object) -> object:
    """A pickled object's arrays as they come from an object store: in place, and not to be written."""
    buffers: list[pickle.PickleBuffer] = []
    pickled = pickle.dumps(loaded, protocol=5, buffer_callback=buffers.append)
    return pickle.loads(pickled, buffers=[bytes(buffer.raw()) for buffer in buffers])  # noqa: S301


def test_an_index_from_an_object_store_is_searched_without_compiling_anew() -> None:
    index, asked = FieldMatchIndex(make_pool([90, 50]), ALL), make_rows(6, start=10**6, seed=3)
    here = index.search(asked, 10, until=10**6)
    there = read_only(index.without_rows())
    assert isinstance(there, FieldMatchIndex)
    assert torch.equal(there.search(asked, 10, until=10**6).rows_BK, here.rows_BK)
    assert len(best_matches._search.signatures) == 1


def test_where_no_folder_can_be_written_it_compiles_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[bool] = []

    def njit(*, nogil: bool, cache: bool = False) -> Callable[[object], object]:
        tried.append(cache)
        if cache:
            raise RuntimeError("cannot cache function: no locator available")
        return lambda function: function

    monkeypatch.setattr(compiled, "njit", njit)
    assert compiled.compiled(len) is len
    assert tried == [True, False]


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
