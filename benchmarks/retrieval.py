"""How fast old impressions are found, beside search engines from the package index, and what an index weighs.

`pip install '.[comparison]'` brings bm25s (with its numba backend) and tantivy. Queries are not in the pool.

Shapes: B queries, K neighbours.
"""

from __future__ import annotations

import gc
import statistics
from bisect import bisect_left
from collections.abc import Callable
from dataclasses import replace

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


def retrieval(repeats: int = 9) -> list[Figure]:
    return [*rivals(repeats), *growth(repeats), *dense(repeats), *bounded(repeats)]


Scores = Callable[[np.ndarray], np.ndarray]  # of the best K documents, [B, K], for the values of B queries
Scorer = Callable[[np.ndarray], Scores]  # for documents, one a row


def rivals(repeats: int) -> list[Figure]:
    """One query, and 256 at once, on a million rows, in turns with bm25s and tantivy."""
    pool, queries = pool_of(MILLION), queries_of(BATCH)
    index = FieldMatchIndex(pool, SCHEMA.names)
    documents = torch.cat([segment.rows.ids_BF for segment in pool.segments]).numpy()
    found_BK = index.search(queries, K, until=MILLION).scores_BK.numpy()
    figures = []
    for name, scores_of in (("bm25s", bm25s_scores), ("tantivy", tantivy_scores)):
        ask = scores_of(documents)
        agreement = agrees(found_BK, ask(queries.ids_BF.numpy()))
        for size, suffix in ((1, ""), (BATCH, f"_batch{BATCH}")):
            parts = [queries.select(slice(i, i + size)) for i in range(0, BATCH, size)][:50]
            values = [part.ids_BF.numpy() for part in parts]

            def ours(parts: list[Batch] = parts) -> None:
                for part in parts:
                    index.search(part, K, until=MILLION)

            def theirs(values: list[np.ndarray] = values, ask: Scores = ask) -> None:
                for part in values:
                    ask(part)

            ours()
            theirs()
            asks = size * len(parts)
            pairs = [(seconds(ours) / asks, seconds(theirs) / asks) for _ in range(repeats)]
            mine, other = (1e3 * statistics.median(column) for column in zip(*pairs, strict=True))
            figures.append(
                Figure(
                    name=f"field_match_vs_{name}{suffix}",
                    value=mine,
                    unit="ms a query",
                    against=f"{name}'s {other:.2f}, {agreement}",
                    ratio=statistics.median(t / o for o, t in pairs),
                    repeats=repeats,
                )
            )
    return figures


def agrees(ours_BK: np.ndarray, theirs_BK: np.ndarray) -> str:
    """How many of the queries have the same scores, up to the one constant by which BM25's are larger."""
    factor = np.median(theirs_BK / ours_BK)
    same_B = np.isclose(theirs_BK, factor * ours_BK, rtol=1e-4).all(axis=1)
    return f"same scores for {same_B.mean():.1%} of the queries"


def bm25s_scores(documents: np.ndarray) -> Scores:
    import bm25s

    engine = bm25s.BM25(method="lucene", backend="numba")
    vocabulary = {str(i): i for i in range(int(documents.max()) + 1)}
    engine.index((documents.tolist(), vocabulary), show_progress=False)

    def ask(queries: np.ndarray) -> np.ndarray:
        tokens = [[str(i) for i in row] for row in queries.tolist()]
        threads = 0 if len(tokens) == 1 else torch.get_num_threads()
        return np.asarray(engine.retrieve(tokens, k=K, show_progress=False, n_threads=threads).scores)

    return ask


def tantivy_scores(documents: np.ndarray) -> Scores:
    import tantivy

    index = tantivy.Index(tantivy.SchemaBuilder().add_text_field("line", tokenizer_name="whitespace").build())
    writer = index.writer(heap_size=500_000_000)
    for row in documents.tolist():
        writer.add_document(tantivy.Document(line=" ".join(map(str, row))))
    writer.commit()
    writer.wait_merging_threads()
    index.reload()
    searcher = index.searcher()

    def ask(queries: np.ndarray) -> np.ndarray:
        lines = [index.parse_query(" ".join(map(str, row)), ["line"]) for row in queries.tolist()]
        return np.array([[score for score, _ in searcher.search(line, K).hits] for line in lines])

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


def overlapping(number: int) -> torch.Tensor:
    """Vectors that no partition separates well: each is drawn about a centre, with noise twice as long as the centre.

    Noise and centres lie in 16 of the 64 directions, as embeddings do; only a fifth of the noise's length is elsewhere.
    """
    draw = torch.Generator().manual_seed(0)
    centres = torch.nn.functional.normalize(torch.randn(2_000, 16, generator=draw))
    spread = torch.nn.functional.normalize(torch.randn(number, 16, generator=draw)) * 2
    plane, _ = torch.linalg.qr(torch.randn(WIDTH, 16, generator=draw))
    inside = (centres[torch.randint(len(centres), (number,), generator=draw)] + spread) @ plane.T
    return torch.nn.functional.normalize(inside + torch.randn(number, WIDTH, generator=draw) * 0.4 / WIDTH**0.5)


def dense(repeats: int) -> list[Figure]:
    """FAISS's inverted lists at a recall of 0.95, beside a flat index of the same million vectors."""
    vectors = overlapping(MILLION + BATCH)
    pool = Pool(SCHEMA)
    pool.append(drawn(MILLION, seed=0), start=0, end=MILLION)
    queries = drawn(BATCH, seed=1, first=MILLION)

    def encode(rows: Batch) -> torch.Tensor:
        return vectors[rows.row_id]

    flat = DenseIndex(pool, encode, WIDTH, DenseSettings(kind="flat"))
    truth = flat.search(queries, K, until=MILLION).rows_BK.numpy()

    def lists(nprobe: int) -> DenseIndex:
        return DenseIndex(pool, encode, WIDTH, DenseSettings(kind="ivf_flat", nprobe=nprobe))

    def recall(index: DenseIndex) -> float:
        found = index.search(queries, K, until=MILLION).rows_BK.numpy()
        return float(np.mean([len(np.intersect1d(f, t)) / K for f, t in zip(found, truth, strict=True)]))

    nprobe = 1 + bisect_left(range(1, 257), TARGET_RECALL, key=lambda nprobe: recall(lists(nprobe)))
    fast = lists(nprobe)
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
            against=f"flat, at recall {recall(fast):.3f} with nprobe {nprobe}",
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

    bounded_search()
    unbounded_search()
    repeats *= 10  # a search takes but 25 ms
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
