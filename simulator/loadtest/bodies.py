"""Requests made of a log's own rows, in its raw values.

    {"request": {"user_id": "u123", "hour": "7"}, "candidates": [{"item_id": "i31", "price": 9.5}, ...]}

A request is that of one row: its user, context and histories, and its time where `serve` needs it. Its candidates are
the items of other rows.

Shapes: S requests, C candidates of each.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pkb.batch import Batch
from simulator.stream.log import Log
from simulator.stream.raw_values import asked_values
from simulator.stream.settings import StreamSettings

MOST_BODIES = 2000  # requests that differ; a longer load begins again with the first


def write_bodies(rows: Batch, log: Log, stream: StreamSettings, *, candidates: int, file: Path) -> int:
    """Write one request a line, evenly spaced over `rows`, which are in the order of time; returns how many.

    Its candidates are the items of its row and of those that follow, which in a log with requests are first those that
    were shown together. Behind the last row comes the first.
    """
    starts = _starts(rows)
    starts = starts[torch.linspace(0, len(starts) - 1, min(len(starts), MOST_BODIES), dtype=torch.float64).long()]
    offered_SC = (starts[:, None] + torch.arange(candidates)) % len(rows)
    number = 0
    with file.open("wb") as out:
        for body in bodies(rows, log, stream, starts, offered_SC):
            out.write(body + b"\n")
            number += 1
    return number


def _starts(rows: Batch) -> Tensor:
    """Rows at which a request begins; every row where the log has no requests."""
    if rows.request is None:
        return torch.arange(len(rows))
    first = torch.ones(len(rows), dtype=torch.bool)
    first[1:] = rows.request[1:] != rows.request[:-1]
    return first.nonzero().squeeze(1)


def bodies(rows: Batch, log: Log, stream: StreamSettings, asking_S: Tensor, offered_SC: Tensor) -> Iterator[bytes]:
    """Yield the requests of these rows with the items of those; errors as those of `raw_values`."""
    wanted, place_SX = torch.cat([asking_S[:, None], offered_SC], dim=1).unique(return_inverse=True)
    values = asked_values(rows.select(wanted), log, stream)
    own = [name for name in log.schema.of_item if name in values]
    items: list[dict[str, Any]] = [{name: values[name][place] for name in own} for place in range(len(wanted))]
    texts = np.array([_compact(item) for item in items], dtype=object)  # each is asked for many times
    shared = [name for name in values if name not in own]
    for asking, *offered in place_SX.tolist():
        request = _compact({name: values[name][asking] for name in shared})
        yield f'{{"request":{request},"candidates":[{",".join(texts[offered])}]}}'.encode()


def _compact(value: object) -> str:
    return json.dumps(value, separators=(",", ":"), allow_nan=False)
