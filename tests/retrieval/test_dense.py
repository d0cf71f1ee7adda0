from __future__ import annotations

from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import Tensor

from pkb.batch import Batch
from pkb.errors import CheckpointError, DataError, SettingError
from retrieval.dense import DenseIndex
from retrieval.faiss_kinds import DenseSettings, Kind, cells, choose, make, recall, subspaces
from retrieval.pool import Pool
from tests.retrieval.encoders import WIDTH, encoder
from tests.retrieval.worlds import DAY, make_pool, make_rows

LATE = 10**6
KINDS: tuple[Kind, ...] = get_args(Kind)


def dense(pool: Pool, stored: Path | None = None, *, kind: Kind | None = None) -> DenseIndex:
    return DenseIndex(pool, encoder, WIDTH, DenseSettings(kind=kind), stored=stored)


@settings(max_examples=40)
@given(seed=st.integers(0, 200), k=st.integers(1, 80), periods=st.integers(0, 3))
def test_a_flat_index_finds_the_largest_inner_products_before_the_bound(seed: int, k: int, periods: int) -> None:
    pool = make_pool([60, 0, 50], seed=seed)
    queries = make_rows(6, start=LATE, seed=seed + 1)
    found = dense(pool).search(queries, k, until=periods * DAY)
    seen = pool.rows_of(periods)
    scores_BN = encoder(queries) @ encoder(pool.take(torch.arange(seen))).T
    best = scores_BN.sort(dim=1, descending=True).values[:, :k].double()
    torch.testing.assert_close(found.scores_BK[:, : best.shape[1]], best, rtol=1e-4, atol=1e-5)
    found_scores = scores_BN.double().gather(1, found.rows_BK[:, : best.shape[1]])
    torch.testing.assert_close(found_scores, best, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("vectors", "settings", "kind", "reason"),
    [
        (50_000, DenseSettings(), "flat", "fast, and exact"),
        (50_001, DenseSettings(), "ivf_flat", "more than 50000 vectors"),
        (50_001, DenseSettings(vector_bytes=10**6), "ivf_pq", "12800256 bytes, more than 1000000"),
        (50_001, DenseSettings(kind="hnsw"), "hnsw", "the settings ask for it"),
        (50_001, DenseSettings(kind="flat"), "flat", "the settings ask for it"),
        (38, DenseSettings(kind="ivf_flat"), "flat", "38 vectors are too few"),
        (9_983, DenseSettings(kind="ivf_pq"), "flat", "9983 vectors are too few"),
    ],
)
def test_the_kind_follows_from_the_number_of_vectors(
    vectors: int, settings: DenseSettings, kind: Kind, reason: str
) -> None:
    choice = choose(vectors, 64, settings)
    assert choice.kind == kind
    assert reason in choice.reason


def test_a_million_vectors_stand_in_1024_cells_and_a_few_in_one() -> None:
    assert [cells(n) for n in (1, 39, 1_000_000)] == [1, 1, 1024]
    assert all(cells(n) * 39 <= max(n, 39) for n in range(1, 20_000, 37))


@pytest.mark.parametrize(("width", "parts"), [(64, 16), (28, 4), (20, 4), (16, 4), (10, 2), (7, 1), (3, 1)])
def test_product_codes_divide_a_vector_evenly(width: int, parts: int) -> None:
    assert subspaces(width) == parts


def clustered(number: int, width: int) -> NDArray[np.float32]:
    draw = np.random.default_rng(0)
    centres = draw.normal(size=(64, width))
    vectors = centres[draw.integers(64, size=number)] + 0.3 * draw.normal(size=(number, width))
    unit: NDArray[np.float32] = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    return unit


@pytest.mark.parametrize(("kind", "least"), [("flat", 1.0), ("ivf_flat", 0.95), ("hnsw", 0.95), ("ivf_pq", 0.2)])
def test_recall_tells_what_an_index_misses(kind: Kind, least: float) -> None:
    vectors_ND = clustered(10_000, 16)
    found = recall(make(vectors_ND, kind, DenseSettings()), vectors_ND, k=10, queries=100)
    assert found is not None
    assert least <= found <= 1
    assert (found == 1) >= (kind == "flat")
    if kind == "ivf_pq":
        assert found < 0.95  # codes lose something, and recall must say so


def test_recall_is_undefined_where_a_row_has_no_neighbour() -> None:
    vectors_ND = clustered(1, 8)
    assert recall(make(vectors_ND, "flat", DenseSettings()), vectors_ND, k=10, queries=100) is None


def test_each_build_is_reported_with_kind_reason_recall_and_bytes() -> None:
    builds = dense(make_pool([60, 0, 50])).builds
    assert [(b.start, b.end, b.rows, b.kind) for b in builds] == [
        (0, DAY, 60, "flat"),
        (DAY, 2 * DAY, 0, "flat"),
        (2 * DAY, 3 * DAY, 50, "flat"),
    ]
    assert [b.recall for b in builds] == [1.0, None, 1.0]
    assert [b.bytes for b in builds] == [60 * WIDTH * 4, 0, 50 * WIDTH * 4]


@pytest.mark.parametrize("kind", KINDS)
def test_a_stored_index_finds_the_same_and_takes_in_later_periods(tmp_path: Path, kind: Kind) -> None:
    pool = make_pool([300, 0, 200])
    built = dense(pool, kind=kind)
    built.save(tmp_path / "index")
    pool.append(make_rows(100, start=3 * DAY), start=3 * DAY, end=4 * DAY)
    loaded = dense(pool, tmp_path / "index", kind=kind)
    queries = make_rows(10, start=LATE, seed=1)
    assert loaded.builds[:3] == built.builds
    assert loaded.built_until == 4 * DAY
    expected = built.search(queries, 5, until=3 * DAY)
    found = loaded.search(queries, 5, until=3 * DAY)
    assert torch.equal(found.rows_BK, expected.rows_BK)
    assert torch.equal(found.scores_BK, expected.scores_BK)


def test_a_damaged_file_is_refused_before_faiss_reads_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pool = make_pool([60])
    dense(pool).save(tmp_path / "index")
    file = tmp_path / "index" / "0.faiss"
    content = bytearray(file.read_bytes())
    content[30] ^= 1
    file.write_bytes(content)
    monkeypatch.delattr("faiss.deserialize_index")
    with pytest.raises(CheckpointError, match=r"0\.faiss: its hash is not the manifest's"):
        dense(pool, tmp_path / "index")


def test_a_missing_file_or_manifest_is_named(tmp_path: Path) -> None:
    pool = make_pool([60])
    dense(pool).save(tmp_path / "index")
    (tmp_path / "index" / "0.faiss").unlink()
    with pytest.raises(CheckpointError, match=r"0\.faiss: cannot be read"):
        dense(pool, tmp_path / "index")
    (tmp_path / "index" / "manifest.json").write_text('{"parts": [{}]}')
    with pytest.raises(CheckpointError, match=r"manifest\.json: cannot be read"):
        dense(pool, tmp_path / "index")


def test_an_index_of_other_rows_or_another_width_is_refused(tmp_path: Path) -> None:
    dense(make_pool([60])).save(tmp_path / "index")
    with pytest.raises(CheckpointError, match=r"its period \[0, 100\) is not number 0 of this pool"):
        dense(make_pool([60], seed=1), tmp_path / "index")
    with pytest.raises(CheckpointError, match="60 vectors of 16 numbers for period 0, not 60 of 8"):
        DenseIndex(make_pool([60]), lambda rows: encoder(rows)[:, :8], 8, DenseSettings(), stored=tmp_path / "index")


def test_an_index_is_not_written_over_another(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="exists already"):
        dense(make_pool([60])).save(tmp_path)


def not_finite(rows: Batch) -> Tensor:
    return torch.full((len(rows), WIDTH), torch.nan)


def test_vectors_of_the_wrong_width_or_not_finite_are_refused() -> None:
    with pytest.raises(DataError, match=r"vectors of \(16,\), not of \(9,\)"):
        DenseIndex(make_pool([5]), encoder, 9, DenseSettings())
    with pytest.raises(DataError, match="not finite"):
        DenseIndex(make_pool([5]), not_finite, WIDTH, DenseSettings())


def test_settings_that_cannot_be_are_named() -> None:
    with pytest.raises(SettingError, match="nprobe=0"):
        DenseSettings(nprobe=0)
