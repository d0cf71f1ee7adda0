"""Requests made of the log's own rows: those of a load test, and those that ask again for stored predictions.

Shapes: B rows.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from pkb.batch import Batch, Schema
from pkb.seeding import derived_seed
from simulator.serve.request import MAX_BODY_BYTES, encode_request
from simulator.stream.features import OF_LIST
from simulator.stream.settings import StreamSettings


def sampled_requests(rows: Batch, schema: Schema, *, number: int, candidates: int, seed: int) -> list[bytes]:
    """Draw the bodies of `number` requests, each for the user of one row and the items of `candidates` rows.

    Rows are drawn with replacement; the seed decides them all.
    """
    rng = np.random.default_rng(derived_seed(seed, "requests"))
    of_item = [f.name for f in schema.fields if f.role == "item" or f.name == schema.item]
    of_user = [name for name in schema.names if name not in of_item]
    bodies = []
    for _ in range(number):
        user = rng.integers(len(rows))
        drawn = rows.select(torch.from_numpy(np.append(user, rng.integers(len(rows), size=candidates))))
        values = _values(drawn, schema)
        shared: dict[str, Any] = {name: values[name][0] for name in of_user}
        shared |= {name: _unpadded(history[0].numpy()) for name, history in drawn.histories.items()}
        bodies.append(encode_request(shared, {name: values[name][1:] for name in of_item}))
    return bodies


def requests_for(rows: Batch, schema: Schema, *, size: int) -> Iterator[bytes]:
    """Yield bodies of requests that together ask for every row, every field per candidate.

    At most `size` rows at a time, and fewer where their histories make a body larger than a server takes.
    """
    for part in rows.minibatches(size):
        columns: dict[str, Any] = dict(_values(part, schema))
        for name, history in part.histories.items():
            columns[name] = [_unpadded(row) for row in history.numpy()]
        body = encode_request({}, columns)
        if len(body) > MAX_BODY_BYTES and len(part) > 1:
            yield from requests_for(part, schema, size=(len(part) + 1) // 2)
        else:
            yield body


def in_requests(rows: Batch, stream: StreamSettings, *, size: int, most: int) -> list[NDArray[np.int64]]:
    """The places of about `most` rows, spread over all, in requests: `size` each, or the log's own lists.

    Where a feature tells a row's place among those shown with it, a list must be asked for as a whole.
    """
    if rows.request is None or not any(feature.kind in OF_LIST for feature in stream.derived):
        places = evenly_spaced(len(rows), most).numpy()
        return np.split(places, range(size, len(places), size))
    order = np.argsort(rows.request.numpy(), kind="stable")
    _, starts = np.unique(rows.request.numpy()[order], return_index=True)
    lists = np.split(order, starts[1:])
    wanted = max(1, most * len(lists) // len(rows))
    return [lists[place] for place in evenly_spaced(len(lists), wanted).tolist()]


def _values(rows: Batch, schema: Schema) -> dict[str, list[Any]]:
    """Of each field, the rows' values as requests hold them: ids, lists, numbers, vectors, null for a missing one."""
    values: dict[str, list[Any]] = dict(zip(schema.names, rows.ids_BF.T.tolist(), strict=True))
    values |= {name: [_unpadded(row) for row in ids.numpy()] for name, ids in rows.lists.items()}
    if rows.numbers_BN is not None:
        for name, numbers in zip(schema.names_of("number"), rows.numbers_BN.T.tolist(), strict=True):
            values[name] = [None if math.isnan(number) else number for number in numbers]
    for name, vectors in rows.vectors.items():
        values[name] = [None if math.isnan(entries[0]) else entries for entries in vectors.tolist()]
    return values


def evenly_spaced(rows: int, most: int) -> torch.Tensor:
    """Choose at most `most` of `rows` rows, spread over all of them: their indices."""
    return torch.linspace(0, rows - 1, min(rows, most), dtype=torch.float64).round().long()


def _unpadded(history: np.ndarray) -> list[int]:
    """Up to the last entry that is not MISSING, which is 0."""
    kept: list[int] = np.trim_zeros(history, "b").tolist()
    return kept
