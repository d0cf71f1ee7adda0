"""One contender behind HTTP: POST a request of `simulator.serve.request` to `/<arm>/<seed>`.

The answer is {"arm", "seed", "trained_through", "probabilities"}: one probability per candidate, each the
exact float32 value that the contender predicts. A request at fault gets a 4xx status and {"error": one line}.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from http import HTTPStatus
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from ray import serve
from ray.serve import Application
from starlette.requests import Request
from starlette.responses import Response

from pkb.batch import Batch, Schema
from simulator.serve.request import RequestError, parse_request, read_body

# A backlog waits inside the replica: what a full replica turns away, Serve's router offers again only after
# back-offs of up to a second, and throughput under overload collapses. Beyond both, Serve answers 503 at once.
MAX_ONGOING_REQUESTS = 128
MAX_QUEUED_REQUESTS = 32


class Servable(Protocol):
    """What is needed of a contender to serve it."""

    schema: Schema
    trained_through: int

    def predict(self, batch: Batch) -> np.ndarray:
        """Give click probabilities, [B] float32."""


Loader = Callable[[Path, str, int], Servable]  # (the run's folder, arm, seed)


class ContenderApp:
    """Answers requests for one contender; runs in a replica of Ray Serve."""

    def __init__(self, load: Loader, run: Path, arm: str, seed: int) -> None:
        torch.set_num_threads(1)  # a request's latency must not depend on how many cores are idle
        self.contender = load(run, arm, seed)
        self.who = {"arm": arm, "seed": seed, "trained_through": self.contender.trained_through}

    async def __call__(self, request: Request) -> Response:
        try:
            if request.url.path != request.scope["root_path"]:
                raise RequestError("nothing is served below this address", HTTPStatus.NOT_FOUND)
            if request.method != "POST":
                raise RequestError(f"{request.method} is not answered here; use POST", HTTPStatus.METHOD_NOT_ALLOWED)
            batch = parse_request(await read_body(request), self.contender.schema)
        except RequestError as error:
            return _json(error.status, {"error": str(error)})
        return _json(HTTPStatus.OK, {**self.who, "probabilities": self.contender.predict(batch).tolist()})


def _json(status: HTTPStatus, content: dict[str, Any]) -> Response:
    return Response(json.dumps(content, allow_nan=False), status, media_type="application/json")


def contender_app(load: Loader, run: Path, arm: str, seed: int, *, cpus: float) -> Application:
    """Make the Serve application of one contender: one replica that reserves `cpus` of a core."""
    return one_replica("contender", cpus)(ContenderApp).bind(load, run, arm, seed)


def one_replica(name: str, cpus: float) -> Callable[[Any], serve.Deployment]:
    """What makes a deployment of a class: one replica of it, which reserves so much of a core."""
    return serve.deployment(
        name=name,
        num_replicas=1,
        ray_actor_options={"num_cpus": cpus},
        max_ongoing_requests=MAX_ONGOING_REQUESTS,
        max_queued_requests=MAX_QUEUED_REQUESTS,
        max_constructor_retry_count=1,  # a damaged checkpoint does not heal
        graceful_shutdown_timeout_s=1.0,
        graceful_shutdown_wait_loop_s=0.1,
    )
