"""Pools and queries for the tests of retrieval, and the plainest scorer there is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from math import fsum, log

import torch

from pkb.batch import MISSING, Batch, Field, Schema
from retrieval.pool import Pool

SCHEMA = Schema(
    fields=(
        Field(name="user", role="user"),
        Field(name="item", role="item"),
        Field(name="category", role="item"),
        Field(name="hour", role="context"),
    ),
    user="user",
    item="item",
    labels=("click", "buy"),
)
SIZES = (12, 30, 5, 3)  # values of each field
DAY = 100  # seconds; a period of the pools here


def make_rows(number: int, *, start: int = 0, seed: int = 0, first_id: int = 0, missing: float = 0.1) -> Batch:
    """Rows within `[start, start + DAY)`, in no order, with repeated times and missing values."""
    draw = torch.Generator().manual_seed(seed)
    firsts = torch.tensor([5, 5 + SIZES[0], 5 + sum(SIZES[:2]), 5 + sum(SIZES[:3])])
    # The product of two uniform draws prefers small numbers: some values are common and most are rare.
    draws = torch.rand(number, 4, generator=draw) * torch.rand(number, 4, generator=draw)
    ids = firsts + (draws * torch.tensor(SIZES)).long()
    ids[torch.rand(number, 4, generator=draw) < missing] = MISSING
    return Batch(
        row_id=first_id + torch.randperm(number, generator=draw),
        ids_BF=ids.to(torch.int32),
        label=torch.randint(2, (number,), generator=draw).float(),
        ts=start + torch.randint(0, DAY // 10, (number,), generator=draw) * 10,
        further_labels={"buy": torch.randint(2, (number,), generator=draw).float()},
    )


def make_pool(sizes: Sequence[int], *, seed: int = 0) -> Pool:
    """A pool with one period of `DAY` seconds for each of `sizes`."""
    pool = Pool(SCHEMA)
    for period, size in enumerate(sizes):
        rows = make_rows(size, start=period * DAY, seed=100 * seed + period, first_id=len(pool))
        pool.append(rows, start=period * DAY, end=(period + 1) * DAY)
    return pool


def pool_rows(pool: Pool, until: int) -> list[tuple[int, int, int, list[int], float]]:
    """(pool row, time, row id, ids, label) of each row in a segment that ends by `until`."""
    seen = [s for s in pool.segments if s.end <= until]
    listed = []
    for segment in seen:
        rows = segment.rows
        assert rows.ts is not None
        columns = zip(rows.ts.tolist(), rows.row_id.tolist(), rows.ids_BF.tolist(), rows.label.tolist(), strict=True)
        listed += [(segment.first_row + i, *row) for i, row in enumerate(columns)]
    return listed


def brute_force(pool: Pool, query: list[int], fields: list[int], k: int, until: int) -> list[tuple[int, float]]:
    """(pool row, score) of the best `k`, by score, then the newer time, then the smaller row id."""
    rows = pool_rows(pool, until)
    holding = Counter((f, ids[f]) for _, _, _, ids, _ in rows for f in fields)
    weight = {
        f: log(1 + (len(rows) - holding[f, query[f]] + 0.5) / (holding[f, query[f]] + 0.5))
        for f in fields
        if query[f] != MISSING
    }
    scored = []
    for row, ts, row_id, ids, _ in rows:
        shared = [weight[f] for f in weight if ids[f] == query[f]]
        if shared:
            # Rounded once, so that equal weights add up to the same number in any order, and such rows tie.
            scored.append((-fsum(shared), -ts, row_id, row))
    return [(row, -score) for score, _, _, row in sorted(scored)[:k]]
