"""Do contenders serve what they predicted offline? Probabilities served over HTTP against the stored ones.

Shapes: B rows.
"""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import Iterator
from typing import Any

import aiohttp
import numpy as np
import torch

from pkb.batch import Batch
from pkb.errors import RunError
from simulator.loadtest.target import Target
from simulator.serve.request import MAX_BODY_BYTES
from simulator.serve.settings import ServeSettings
from simulator.serve.stored import TOLERANCE, Stored
from simulator.serve.traffic import Asked, asked_again
from simulator.stream.features import OF_LIST
from simulator.stream.log import Log
from simulator.stream.settings import StreamSettings


async def largest_difference(
    session: aiohttp.ClientSession,
    target: Target,
    rows: Batch,
    stored: Stored,
    log: Log,
    stream: StreamSettings,
    settings: ServeSettings,
) -> tuple[int, float | None, float]:
    """Compare: (rows, largest |served - stored|, share of rows beyond `TOLERANCE`); None if one is not finite.

    About `serve.check_rows` rows, spread over the period, in requests of `serve.candidates`.
    RunError if the target does not answer.
    """
    row_id, probability = stored
    rows = rows.select(torch.from_numpy(np.isin(rows.row_id.numpy(), row_id)))
    rows, requests = asked_again(rows, log, stream, size=settings.candidates, most=settings.check_rows)
    whole = any(feature.kind in OF_LIST for feature in stream.derived)
    served: list[float] = []
    for body in (body for asked in requests for body in bodies_of(asked, whole=whole)):
        answer = await _ask(session, target, body, settings.timeout_s)
        served += answer["scores"]
    expected = probability[np.searchsorted(row_id, rows.row_id.numpy())]
    differences = np.abs(np.array(served) - expected)
    largest = float(differences.max())
    return len(rows), largest if math.isfinite(largest) else None, float((~(differences <= TOLERANCE)).mean())


def bodies_of(asked: Asked, *, whole: bool = False) -> Iterator[bytes]:
    """Yield the body of a request, or of several in its place where histories make it larger than a server takes.

    One that must stay `whole` is sent as it is.
    """
    body = json.dumps({"candidates": [dict(zip(asked, row, strict=True)) for row in zip(*asked.values(), strict=True)]})
    number = len(next(iter(asked.values())))
    if len(body) <= MAX_BODY_BYTES or number == 1 or whole:
        yield body.encode()
        return
    for part in (slice(number // 2), slice(number // 2, None)):
        yield from bodies_of({name: values[part] for name, values in asked.items()})


async def _ask(session: aiohttp.ClientSession, target: Target, body: bytes, timeout_s: float) -> dict[str, Any]:
    try:
        async with asyncio.timeout(timeout_s), session.post(target.url, data=body) as response:
            text = await response.text()
    except (TimeoutError, aiohttp.ClientError) as error:
        raise RunError(f"{target.url}: does not answer: {type(error).__name__} {error}") from None
    if response.status != 200:
        raise RunError(f"{target.url}: answered {response.status} to a row of the log: {text[:200]}")
    answer: dict[str, Any] = json.loads(text)
    return answer
