"""The server, as an ASGI application: it runs in a replica of Ray Serve, under uvicorn alone, or in a test.

POST /v1/score     a request with raw values (`serve.body`) -> scores, by the present version or `?version=N`
GET  /v1/versions  those that are held, and how each came to be
GET  /healthz      200 once a version is loaded, warm and checked, else 503
GET  /metrics      `serve.watched`
GET  /docs         OpenAPI, with the fields of this log
"""

from __future__ import annotations

import json
from http import HTTPStatus
from typing import Any

import numpy as np
import pyarrow as pa
from fastapi import FastAPI
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from pkb.errors import DataError
from simulator.serve.body import ARROW, JSON, columns_of
from simulator.serve.documented import answer_of, question_of
from simulator.serve.guard import Guard
from simulator.serve.loading import Stopwatch
from simulator.serve.request import RequestError, read_body
from simulator.serve.versions import Version, Versions
from simulator.serve.watched import Watched

TEXT = "text/plain; version=0.0.4; charset=utf-8"  # of Prometheus


def make_app(versions: Versions, token: str | None = None) -> FastAPI:
    """The application that serves the versions of one contender."""
    source, reader = versions.source, versions.reader
    app = FastAPI(title=f"{source.key} of {source.run.name}", version="1", redoc_url=None)
    watched = Watched(versions)

    async def score(request: Request) -> Response:
        watch = Stopwatch()
        try:
            body, kind = await read_body(request), _kind(request)
            version = _wanted(request, versions)
            columns, rows = columns_of(body, kind, reader)
            watch.lap("parse")
            asked = reader.read(columns, rows, version.known)
            watch.lap("vocabulary")
            scores = version.scorer.score(asked.rows, watch)
        except (RequestError, DataError) as error:
            status = error.status if isinstance(error, RequestError) else HTTPStatus.UNPROCESSABLE_ENTITY
            watched.failed(str(int(status)))
            return _json({"error": str(error)}, status)
        except ClientDisconnect:
            watched.failed("disconnected")
            return Response(status_code=HTTPStatus.BAD_REQUEST)
        except Exception:
            watched.failed("500")
            raise
        watched.answered(watch.seconds, rows, asked.values, asked.unknown)
        about = {
            "model": source.key,
            "version": version.number,
            "period": version.period,
            "knowledge": version.knowledge,
            "unknown_values": asked.unknown,
        }
        if request.headers.get("accept") == ARROW:
            return Response(_as_arrow(scores, about), media_type=ARROW)
        return _json({"scores": scores.tolist(), **about})

    async def health() -> Response:
        version = versions.current
        if version is None:
            return _json({"status": "no version is ready yet"}, HTTPStatus.SERVICE_UNAVAILABLE)
        return _json({"status": "ready", "model": source.key, "version": version.number, "period": version.period})

    async def metrics() -> Response:
        return Response(watched.text(), media_type=TEXT)

    async def held() -> Response:
        return _json({"versions": [_told(version) for version in versions.held], "told": versions.told})

    app.add_api_route(
        "/v1/score", score, methods=["POST"], responses=answer_of(), openapi_extra=question_of(reader), name="score"
    )
    app.add_api_route("/v1/versions", held, methods=["GET"])
    app.add_api_route("/healthz", health, methods=["GET"])
    app.add_api_route("/metrics", metrics, methods=["GET"])
    app.add_middleware(Guard, token=token)
    return app


def _kind(request: Request) -> str:
    """The content type; RequestError if it is none that is read here."""
    packed = request.headers.get("content-encoding", "identity")
    if packed.lower() != "identity":
        raise RequestError("Content-Encoding: must be identity; send the body as it is", _MEDIA)
    kind = request.headers.get("content-type", JSON).partition(";")[0].strip().lower()
    if kind not in (JSON, ARROW):
        raise RequestError(f"Content-Type: must be {JSON} or {ARROW}", _MEDIA)
    return kind


_MEDIA = HTTPStatus.UNSUPPORTED_MEDIA_TYPE


def _wanted(request: Request, versions: Versions) -> Version:
    """The version asked for, else the present one; one request knows one version."""
    number = request.query_params.get("version")
    if number is None:
        if versions.current is None:
            raise RequestError("no version is ready yet; ask again later", HTTPStatus.SERVICE_UNAVAILABLE)
        return versions.current
    found = versions.numbered(int(number)) if number.isascii() and number.isdecimal() and len(number) < 10 else None
    if found is None:
        held = ", ".join(str(version.number) for version in versions.held) or "none"
        raise RequestError(f"version={number[:20]!r}: is not held; there are {held}", HTTPStatus.NOT_FOUND)
    return found


def _told(version: Version) -> dict[str, Any]:
    return {
        "version": version.number,
        "period": version.period,
        "knowledge": version.knowledge,
        "known_values": version.known,
        "load_seconds": round(version.load_seconds, 3),
        "check_seconds": round(version.check_seconds, 3),
        "gap_seconds": round(version.since - version.committed, 3),
        "rows_checked": version.rows,
        "largest_difference": version.difference,
    }


def _as_arrow(scores: np.ndarray, about: dict[str, Any]) -> bytes:
    """A stream of one column, `scores`; what else an answer says is the schema's metadata."""
    table = pa.table({"scores": scores}).replace_schema_metadata({k: json.dumps(v) for k, v in about.items()})
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as stream:
        stream.write_table(table)
    written: bytes = sink.getvalue().to_pybytes()
    return written


def _json(content: dict[str, Any], status: HTTPStatus = HTTPStatus.OK) -> Response:
    return Response(json.dumps(content, allow_nan=False), status, media_type=JSON)
