"""What retrieval adds to a request of 100 candidates beside what ROK adds, by the size of the pool.

python -m benchmarks.additions [ROWS ...]      of the pool: 100 thousand and 1 million unless told otherwise

RIM finds rows that match in most fields; DERT encodes and searches inverted lists of FAISS at recall 0.95. Both then
read what they found. ROK's addition is a backbone with it less the backbone alone. One thread; half of the fields are
the user's, so that all candidates have them alike.

Shapes: B candidates, K neighbours.
"""

from __future__ import annotations

import statistics
import sys
import time
from bisect import bisect_left
from collections.abc import Callable, Mapping
from dataclasses import replace

import faiss
import numpy as np
import torch

from benchmarks.retrieval import FIELDS, SCHEMA, SIZES, TARGET_RECALL, WIDTH, K, overlapping, pool_of, queries_of
from pkb.backbones import BACKBONES
from pkb.backbones.base import make_click_model
from pkb.batch import Batch
from pkb.rok import ROK
from retrieval.encoding import encode
from retrieval.faiss_kinds import DenseSettings, make
from retrieval.field_match import FieldMatchIndex
from retrieval.indexed_pool import neighbours
from retrieval.models import RETRIEVAL_MODELS
from retrieval.models.dert import DenseEncoder
from retrieval.pool import Pool

CANDIDATES, REPEATS, MOST_CELLS = 100, 30, 1024
POOLS = (100_000, 1_000_000)
Way = Callable[[], object]


def main() -> None:
    torch.set_num_threads(1)
    faiss.omp_set_num_threads(1)
    asked = request()
    with torch.inference_mode():
        added = rok(asked)
        say(f"ROK adds {1000 * added:.2f} ms to {CANDIDATES} candidates")
        for rows in [int(word) for word in sys.argv[1:]] or POOLS:
            pool = pool_of(rows)
            dert, recall = by_vectors(pool, asked)
            spent = medians({"RIM": by_fields(pool, asked), "DERT": dert})
            for name, seconds in spent.items():
                at = f", recall {recall:.3f}" if name == "DERT" else ""
                say(f"{name} finds in {rows:,} rows in {1000 * seconds:.2f} ms: {seconds / added:.1f} times ROK{at}")


def request() -> Batch:
    """One user's candidates, which are in no pool: every other field is the same in all of them."""
    rows = queries_of(CANDIDATES)
    ids_BF = rows.ids_BF.clone()
    ids_BF[:, ::2] = ids_BF[0, ::2]
    return replace(rows, ids_BF=ids_BF)


def rok(asked: Batch) -> float:
    """Seconds that a request takes longer by ROK, with RIM as teacher and weights as they are drawn."""
    torch.manual_seed(0)
    teacher = RETRIEVAL_MODELS["rim"]
    base = ROK(SCHEMA, ROK.Settings(), teacher(SCHEMA, teacher.Settings())).eval()
    alone, plugged = (
        make_click_model(BACKBONES["deepfm"], SCHEMA, None, parts, plug="fields+join").eval()
        for parts in ((), base.parts)
    )
    draw, ids = torch.Generator().manual_seed(0), 1 + FIELDS + int(SIZES.astype(int).sum())
    for network in (base, alone.backbone, plugged.backbone):
        network.grow(ids, draw)
    spent = medians({"alone": lambda: alone(asked), "with": lambda: plugged(asked, base.knowledge(asked))})
    return spent["with"] - spent["alone"]


def by_fields(pool: Pool, asked: Batch) -> Way:
    """RIM's search, and what it reads."""
    index, until = FieldMatchIndex(pool, SCHEMA.names), len(pool)

    def find() -> None:
        neighbours(pool, index.search(asked, K, until=until).rows_BK, until=until)

    return find


def by_vectors(pool: Pool, asked: Batch) -> tuple[Way, float]:
    """DERT's search of vectors that no partition separates well, and what it reads; its recall."""
    torch.manual_seed(0)
    encoder = DenseEncoder(SCHEMA, 16, (128,), WIDTH).eval()
    encoder.table.grow(int(asked.ids_BF.max()) + 1, torch.Generator().manual_seed(0))
    vectors = overlapping(len(pool) + CANDIDATES).numpy()
    held, asked_BD = vectors[:-CANDIDATES], vectors[-CANDIDATES:]
    truth_BK = make(held, "flat", DenseSettings()).search(asked_BD, K)[1]
    lists = make(held, "ivf_flat", DenseSettings())

    def recall(nprobe: int) -> float:
        lists.nprobe = nprobe
        found_BK = lists.search(asked_BD, K)[1]
        return float(np.mean([len(np.intersect1d(f, t)) / K for f, t in zip(found_BK, truth_BK, strict=True)]))

    lists.nprobe = 1 + bisect_left(range(1, MOST_CELLS), TARGET_RECALL, key=recall)
    reached, until = recall(lists.nprobe), len(pool)

    def find() -> None:
        encode(lambda rows: encoder(rows.ids_BF), asked, WIDTH)  # what it costs; the vectors searched with are others
        neighbours(pool, torch.from_numpy(lists.search(asked_BD, K)[1]), until=until)

    return find, reached


def medians(ways: Mapping[str, Way]) -> dict[str, float]:
    """Seconds of the processor that each takes, in turns after one of each."""

    def seconds(way: Way) -> float:
        since = time.process_time()
        way()
        return time.process_time() - since

    for way in ways.values():
        way()
    times = [{name: seconds(way) for name, way in ways.items()} for _ in range(REPEATS)]
    return {name: statistics.median(each[name] for each in times) for name in ways}


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
