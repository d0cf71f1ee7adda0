"""Requests made of the log's own rows: those of a run's own measurement, and those that ask for stored predictions.

Shapes: B rows, S requests, C candidates of each.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from pkb.batch import Batch
from pkb.seeding import derived_seed
from simulator.loadtest.bodies import bodies
from simulator.stream.features import OF_LIST
from simulator.stream.log import Log
from simulator.stream.raw_values import asked_values
from simulator.stream.settings import StreamSettings

Asked = dict[str, list[Any]]  # of each field of a request, the raw value of each candidate


def sampled_requests(
    rows: Batch, log: Log, stream: StreamSettings, *, number: int, candidates: int, seed: int
) -> list[bytes]:
    """Draw the bodies of `number` requests, each for the user of one row and the items of `candidates` rows.

    Rows are drawn with replacement; the seed decides them all.
    """
    rng = np.random.default_rng(derived_seed(seed, "requests"))
    asking_S, offered_SC = rng.integers(len(rows), size=number), rng.integers(len(rows), size=(number, candidates))
    return list(bodies(rows, log, stream, torch.from_numpy(asking_S), torch.from_numpy(offered_SC)))


def asked_again(rows: Batch, log: Log, stream: StreamSettings, *, size: int, most: int) -> tuple[Batch, list[Asked]]:
    """About `most` of the rows, spread over all, and requests that ask for them in this order, nothing shared.

    `size` rows a request, or the log's own lists (`in_requests`).
    """
    places = in_requests(rows, stream, size=size, most=most)
    rows = rows.select(torch.from_numpy(np.concatenate(places)))
    values, ends = asked_values(rows, log, stream), np.cumsum([len(some) for some in places]).tolist()
    parts = zip([0, *ends], ends, strict=False)
    return rows, [{name: held[start:end] for name, held in values.items()} for start, end in parts]


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


def evenly_spaced(rows: int, most: int) -> torch.Tensor:
    """Choose at most `most` of `rows` rows, spread over all of them: their indices."""
    return torch.linspace(0, rows - 1, min(rows, most), dtype=torch.float64).round().long()
