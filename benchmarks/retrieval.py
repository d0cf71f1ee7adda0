"""How fast old impressions are found, beside search engines from the package index, and what an index weighs.

`pip install '.[comparison]'` brings bm25s (with its numba backend) and tantivy. Queries are not in the pool.

Shapes: N pool rows, F fields.
"""

from __future__ import annotations

import gc
import statistics
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from benchmarks.figures import Figure, seconds
from pkb.batch import Batch, Field, Schema
from retrieval.dense import DenseIndex
from retrieval.faiss_kinds import DenseSettings
from retrieval.field_match import FieldMatchIndex
from retrieval.pool import Pool

FIELDS, K, BATCH, PERIODS = 10, 10, 256, 8
SIZES = np.geomspace(10, 1e6, FIELDS)  # distinct values of each field
SCHEMA = Schema(fields=tuple(Field(name=f"f{i}", role="item") for i in range(FIELDS)), user="f0", item="f1")
WIDTH, TARGET_RECALL = 64, 0.95
MILLION = 1_000_000


def drawn(rows: int, seed: int, first: int = 0) -> Batch:
    """Rows whose values follow a Zipf law in each field; times count the rows."""
    draw = np.random.default_rng(seed)
    starts = 1 + FIELDS + np.concatenate([[0], np.cumsum(SIZES.astype(int))[:-1]])
    values = (SIZES ** draw.random((rows, FIELDS)) - 1).astype(np.int64)  # density 1 / rank
    return Batch(
        row_id=torch.arange(first, first + rows),
        ids_BF=torch.from_numpy((starts + values).astype(np.int32)),
        label=torch.zeros(rows),
        ts=torch.arange(first, first + rows),
    )


def queries_of(rows: int) -> Batch:
    """Rows that are in no pool, without a time."""
    return replace(drawn(rows, seed=10**6), ts=None)


def pool_of(rows: int) -> Pool:
    pool = Pool(SCHEMA)
    for number in range(PERIODS):
        start, end = rows * number // PERIODS, rows * (number + 1) // PERIODS
        pool.append(drawn(end - start, seed=number, first=start), start=start, end=end)
    return pool


def retrieval(repeats: int = 5) -> list[Figure]:
    return [*rivals(repeats), *growth(repeats), *dense(repeats), *bounded(repeats)]


def rivals(repeats: int) -> list[Figure]:
    """One query, and 256 at once, on a million rows, in turns with bm25s and tantivy."""
    pool, queries = pool_of(MILLION), queries_of(BATCH)
    index = FieldMatchIndex(pool, SCHEMA.names)
    documents = torch.cat([segment.rows.ids_BF for segment in pool.segments]).numpy()
    asked = queries.ids_BF.numpy()
    engines: dict[str, Callable[[np.ndarray], Any]] = {"bm25s": bm25s_of(documents), "tantivy": tantivy_of(documents)}
    figures = []
    for name, ask in engines.items():
        for size, suffix in ((1, ""), (BATCH, f"_batch{BATCH}")):
            each = [slice(i, i + size) for i in range(0, BATCH, size)][:50]

            def ours(each: list[slice] = each) -> None:
                for part in each:
                    index.search(queries.select(part), K, until=MILLION)

            def theirs(each: list[slice] = each, ask: Callable[[np.ndarray], Any] = ask) -> None:
                for part in each:
                    ask(asked[part])

            ours(), theirs()
            asks = sum(len(range(*part.indices(BATCH))) for part in each)
            pairs = [(seconds(ours) / asks, seconds(theirs) / asks) for _ in range(repeats)]
            mine, other = (1e3 * statistics.median(column) for column in zip(*pairs, strict=True))
            figures.append(
                Figure(
                    name=f"field_match_vs_{name}{suffix}",
                    value=mine,
                    unit="ms a query",
                    against=f"{name}'s {other:.2f}",
                    ratio=statistics.median(t / o for o, t in pairs),
                    repeats=repeats,
                )
            )
    return figures


def bm25s_of(documents: np.ndarray) -> Callable[[np.ndarray], Any]:
    import bm25s

    engine = bm25s.BM25(method="lucene", backend="numba")
    vocabulary = {str(i): i for i in range(int(documents.max()) + 1)}
    engine.index((documents.tolist(), vocabulary), show_progress=False)

    def ask(queries: np.ndarray) -> Any:
        tokens = [[str(i) for i in row] for row in queries.tolist()]
        return engine.retrieve(tokens, k=K, show_progress=False, n_threads=0 if len(tokens) == 1 else 2)

    return ask


def tantivy_of(documents: np.ndarray) -> Callable[[np.ndarray], Any]:
    import tantivy

    index = tantivy.Index(tantivy.SchemaBuilder().add_text_field("line", tokenizer_name="whitespace").build())
    writer = index.writer(heap_size=500_000_000)
    for row in documents.tolist():
        writer.add_document(tantivy.Document(line=" ".join(map(str, row))))
    writer.commit()
    writer.wait_merging_threads()
    index.reload()
    searcher = index.searcher()

    def ask(queries: np.ndarray) -> Any:
        return [
            searcher.search(index.parse_query(" ".join(map(str, row)), ["line"]), K).hits for row in queries.tolist()
        ]

    return ask


def growth(repeats: int) -> list[Figure]:
    """Of pools of 100 thousand, 1 and 10 million rows: milliseconds a query, and bytes a row with the pool's own."""
    figures, queries = [], queries_of(BATCH)
    for rows, label in ((100_000, "100k"), (MILLION, "1m"), (10 * MILLION, "10m")):
        pool = pool_of(rows)
        index = FieldMatchIndex(pool, SCHEMA.names)

        def search(index: FieldMatchIndex = index, rows: int = rows) -> None:
            index.search(queries, K, until=rows)

        search()
        spent = statistics.median(seconds(search) for _ in range(repeats))
        figures.append(
            Figure(name=f"field_match_{label}", value=1e3 * spent / BATCH, unit="ms a query", repeats=repeats)
        )
        held = (pool.bytes + index.bytes) / rows
        figures.append(Figure(name=f"field_match_bytes_{label}", value=held, unit="bytes a pool row", repeats=1))
        del pool, index
        gc.collect()
    return figures


def dense(repeats: int) -> list[Figure]:
    """FAISS's inverted lists at a recall of 0.95, beside a flat index of the same million clustered vectors."""
    draw = torch.Generator().manual_seed(0)
    centres = torch.nn.functional.normalize(torch.randn(2_000, WIDTH, generator=draw))
    near = torch.randint(len(centres), (MILLION + BATCH,), generator=draw)
    noise = torch.randn(MILLION + BATCH, WIDTH, generator=draw) * 0.08
    vectors = torch.nn.functional.normalize(centres[near] + noise)
    pool = Pool(SCHEMA)
    pool.append(drawn(MILLION, seed=0), start=0, end=MILLION)
    queries = drawn(BATCH, seed=1, first=MILLION)

    def encode(rows: Batch) -> torch.Tensor:
        return vectors[rows.row_id]

    flat = DenseIndex(pool, encode, WIDTH, DenseSettings(kind="flat"))
    truth = flat.search(queries, K, until=MILLION).rows_BK.numpy()
    for nprobe in (1, 2, 4, 8, 16, 32, 64, 128):
        fast = DenseIndex(pool, encode, WIDTH, DenseSettings(kind="ivf_flat", nprobe=nprobe))
        found = fast.search(queries, K, until=MILLION).rows_BK.numpy()
        recall = float(np.mean([len(np.intersect1d(f, t)) / K for f, t in zip(found, truth, strict=True)]))
        if recall >= TARGET_RECALL:
            break
    pairs = [
        (
            seconds(lambda: fast.search(queries, K, until=MILLION)),
            seconds(lambda: flat.search(queries, K, until=MILLION)),
        )
        for _ in range(repeats)
    ]
    return [
        Figure(
            name="faiss_vs_flat",
            value=1e3 * statistics.median(f for f, _ in pairs) / BATCH,
            unit="ms a query",
            against=f"flat, at recall {recall:.3f} with nprobe {nprobe}",
            ratio=statistics.median(t / f for f, t in pairs),
            repeats=repeats,
        )
    ]


def bounded(repeats: int) -> list[Figure]:
    """A search among the older seven of eight periods, beside one in an index that holds those seven alone."""
    pool, queries = pool_of(MILLION), queries_of(BATCH)
    whole = FieldMatchIndex(pool, SCHEMA.names)
    older, until = Pool(SCHEMA), pool.segments[-1].start
    for segment in pool.segments[:-1]:
        older.append(segment.rows, start=segment.start, end=segment.end)
    alone = FieldMatchIndex(older, SCHEMA.names)

    def bounded_search() -> None:
        whole.search(queries, K, until=until)

    def unbounded_search() -> None:
        alone.search(queries, K, until=until)

    bounded_search(), unbounded_search()
    pairs = [(seconds(bounded_search), seconds(unbounded_search)) for _ in range(repeats)]
    return [
        Figure(
            name="time_bound_vs_unbounded",
            value=1e3 * statistics.median(b for b, _ in pairs) / BATCH,
            unit="ms a query",
            against="an index of the rows within the bound",
            ratio=statistics.median(u / b for b, u in pairs),
            repeats=repeats,
        )
    ]
