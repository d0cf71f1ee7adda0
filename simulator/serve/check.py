"""Do contenders serve what they predicted offline? Served probabilities against the stored ones.

Shapes: B rows.
"""

from __future__ import annotations

import asyncio
import json
import math
from typing import Any

import aiohttp
import numpy as np
import torch

from pkb.batch import Batch, Schema
from pkb.errors import RunError
from simulator.serve.deploy import Endpoint
from simulator.serve.settings import ServeSettings
from simulator.serve.stored import TOLERANCE, Stored
from simulator.serve.traffic import evenly_spaced, requests_for


async def largest_difference(
    session: aiohttp.ClientSession,
    endpoint: Endpoint,
    holdout: Batch,
    stored: Stored,
    schema: Schema,
    settings: ServeSettings,
) -> tuple[int, float | None, float]:
    """Compare: (rows, largest |served - stored|, share of rows beyond `TOLERANCE`); None if one is not finite.

    At most `serve.check_rows` rows, spread over the period, in requests of `serve.candidates`.
    RunError if the endpoint does not answer.
    """
    row_id, probability = stored
    rows = holdout.select(torch.from_numpy(np.isin(holdout.row_id.numpy(), row_id)))
    rows = rows.select(evenly_spaced(len(rows), settings.check_rows))
    served: list[float] = []
    for body in requests_for(rows, schema, size=settings.candidates):
        answer = await _ask(session, endpoint, body, settings.timeout_s)
        served += answer["probabilities"]
    expected = probability[np.searchsorted(row_id, rows.row_id.numpy())]
    differences = np.abs(np.array(served) - expected)
    largest = float(differences.max())
    return len(rows), largest if math.isfinite(largest) else None, float((differences > TOLERANCE).mean())


async def _ask(session: aiohttp.ClientSession, endpoint: Endpoint, body: bytes, timeout_s: float) -> dict[str, Any]:
    try:
        async with asyncio.timeout(timeout_s), session.post(endpoint.url, data=body) as response:
            text = await response.text()
    except (TimeoutError, aiohttp.ClientError) as error:
        raise RunError(f"{endpoint.url}: does not answer: {type(error).__name__} {error}") from None
    if response.status != 200:
        raise RunError(f"{endpoint.url}: answered {response.status} to a row of the log: {text[:200]}")
    answer: dict[str, Any] = json.loads(text)
    return answer
