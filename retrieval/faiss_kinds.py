"""FAISS indexes: which kind for how many vectors, how it is made, and how much of the truth it finds.

Similarity is the inner product. On a GPU where faiss-gpu is installed, except HNSW, which FAISS has on CPUs alone.

Shapes: N vectors, Q queries, D width, K neighbours.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

import faiss
import numpy as np
from numpy.typing import NDArray

from pkb.errors import SettingError

Kind = Literal["flat", "ivf_flat", "ivf_pq", "hnsw"]
Vectors = NDArray[np.float32]

FLAT_UNTIL = 50_000  # vectors; measured 11.7 ms a query for a million, so half a millisecond here, and exact
POINTS_PER_CELL = 39  # fewer are too few to place a k-means centroid, FAISS warns
PQ_CENTROIDS = 256  # of each subspace: 8 bits a code
PQ_PARTS = (1, 2, 3, 4, 8, 12, 16, 20, 24, 28, 32, 40, 48, 56, 64, 96)  # bytes of a code that FAISS takes on GPUs
HNSW_LINKS = 32


@dataclass(frozen=True, kw_only=True)
class DenseSettings:
    """How dense indexes are made and searched."""

    kind: Kind | None = None  # None: by the number of vectors
    vector_bytes: int = 2 * 2**30  # above it vectors of one period are stored as product codes
    nprobe: int = 16  # cells read for a query, of IVF
    ef_search: int = 64  # candidates kept while searching, of HNSW
    recall_k: int = 10  # recall at each build is measured at so many neighbours ...
    recall_queries: int = 100  # ... of so many of the vectors

    def __post_init__(self) -> None:
        if self.kind not in (None, "flat", "ivf_flat", "ivf_pq", "hnsw"):
            raise SettingError(f"kind={self.kind}: is not one of flat, ivf_flat, ivf_pq, hnsw")
        for name in ("vector_bytes", "nprobe", "ef_search", "recall_k", "recall_queries"):
            if getattr(self, name) < 1:
                raise SettingError(f"{name}={getattr(self, name)}: must be at least 1")


@dataclass(frozen=True, kw_only=True)
class Choice:
    """A kind of index and why it was taken."""

    kind: Kind
    reason: str


def choose(vectors: int, width: int, settings: DenseSettings) -> Choice:
    """The kind for so many vectors.

    HNSW is never taken by itself: it answers fastest (0.09 ms a query among a million), but took 69 s to build them
    where IVF took 2.5 s, and a stream builds anew in every period. Ask for it by name where a pool is built once.
    """
    if settings.kind == "flat":
        return Choice(kind="flat", reason="the settings ask for it")
    if settings.kind == "ivf_pq" and vectors < POINTS_PER_CELL * PQ_CENTROIDS:
        return Choice(kind="flat", reason=f"{vectors} vectors are too few to train product codes on")
    if settings.kind == "ivf_flat" and vectors < POINTS_PER_CELL:
        return Choice(kind="flat", reason=f"{vectors} vectors are too few to train cells on")
    if settings.kind is not None:
        return Choice(kind=settings.kind, reason="the settings ask for it")
    if vectors <= FLAT_UNTIL:
        return Choice(kind="flat", reason=f"reading all of at most {FLAT_UNTIL} vectors is fast, and exact")
    stored = 4 * width * vectors
    if stored > settings.vector_bytes:
        return Choice(kind="ivf_pq", reason=f"the vectors take {stored} bytes, more than {settings.vector_bytes}")
    return Choice(kind="ivf_flat", reason=f"more than {FLAT_UNTIL} vectors; cells are built fast and read in part")


def cells(vectors: int) -> int:
    """About the square root of N, as a power of two, and few enough for each cell's centroid to be placed."""
    return max(1, min(1 << round(math.log2(vectors) / 2), vectors // POINTS_PER_CELL))


def subspaces(width: int) -> int:
    """The most parts of at least four numbers into which a vector divides; one byte each."""
    return max(parts for parts in PQ_PARTS if width % parts == 0 and (width // parts >= 4 or parts == 1))


def make(vectors_ND: Vectors, kind: Kind, settings: DenseSettings) -> Any:
    """An index of this kind that holds the vectors as 0, 1, ...; a FAISS object."""
    width = vectors_ND.shape[1]
    index: Any
    if kind == "flat":
        index = faiss.IndexFlatIP(width)
    elif kind == "hnsw":
        index = faiss.IndexHNSWFlat(width, HNSW_LINKS, faiss.METRIC_INNER_PRODUCT)
        index.hnsw.efSearch = settings.ef_search
    else:
        coarse, number = faiss.IndexFlatIP(width), cells(len(vectors_ND))
        if kind == "ivf_flat":
            index = faiss.IndexIVFFlat(coarse, width, number, faiss.METRIC_INNER_PRODUCT)
        else:
            index = faiss.IndexIVFPQ(coarse, width, number, subspaces(width), 8, faiss.METRIC_INNER_PRODUCT)
        index.nprobe = settings.nprobe
    if kind != "hnsw":
        index = on_gpu(index)
    index.train(vectors_ND)
    index.add(vectors_ND)
    return index


def on_gpu(index: Any) -> Any:
    """The index on the first GPU, or as it is where FAISS knows of none."""
    return faiss.index_cpu_to_gpu(_gpu_resources(), 0, index) if faiss.get_num_gpus() else index


@cache
def _gpu_resources() -> Any:
    """Shared by all indexes, since each of these keeps scratch memory on the GPU."""
    return faiss.StandardGpuResources()


def on_cpu(index: Any) -> Any:
    """The index in main memory, as it can be written to a file."""
    return faiss.index_gpu_to_cpu(index) if faiss.get_num_gpus() and hasattr(index, "getDevice") else index


def memory(index: Any, kind: Kind) -> int:
    """Bytes of the stored vectors or codes, with what finds them; reckoned, since FAISS does not tell."""
    width, vectors = int(index.d), int(index.ntotal)
    if kind == "flat":
        return 4 * width * vectors
    if kind == "hnsw":
        links = 4 * (2 * HNSW_LINKS + 1)  # on the lowest level; about one vector in 32 stands on the next one up
        return (4 * width + links) * vectors
    code = 4 * width if kind == "ivf_flat" else subspaces(width)
    return (code + 8) * vectors + 4 * width * int(index.nlist)


def recall(index: Any, vectors_ND: Vectors, k: int, queries: int) -> float | None:
    """The share of a vector's true K neighbours that the index finds, on evenly spaced vectors of its own.

    A vector is no neighbour of itself: finding it would say little. None where there is no other vector.
    """
    k = min(k, len(vectors_ND) - 1)
    if k < 1:
        return None
    asked = np.unique(np.linspace(0, len(vectors_ND) - 1, queries).round().astype(np.int64))
    query_QD = vectors_ND[asked]
    _, true_QK = faiss.knn(query_QD, vectors_ND, k + 1, metric=faiss.METRIC_INNER_PRODUCT)
    _, found_QK = index.search(query_QD, k + 1)
    shares = []
    for own, true, found in zip(asked, true_QK, found_QK, strict=True):
        others = true[true != own][:k]
        shares.append(np.isin(others, found[found != own][:k]).mean())
    return float(np.mean(shares))
