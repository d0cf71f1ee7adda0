"""Bodies of requests, bounded in size, and what is said of one that cannot be answered."""

from __future__ import annotations

from http import HTTPStatus

from starlette.requests import Request

from pkb.errors import DataError

MAX_BODY_BYTES = 4 * 2**20  # Ray Serve itself sets no limit
MAX_CANDIDATES = 1000


class RequestError(DataError):
    """A request that cannot be answered; `status` is the HTTP status that says so."""

    def __init__(self, message: str, status: HTTPStatus = HTTPStatus.UNPROCESSABLE_ENTITY) -> None:
        super().__init__(message)
        self.status = status


async def read_body(request: Request) -> bytes:
    """The whole body, unless it is too large: then the rest is not even read."""
    length = request.headers.get("content-length", "")
    if length.isdecimal():
        _refuse_large(int(length[:20]))
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        _refuse_large(len(body))
    return bytes(body)


def _refuse_large(size: int) -> None:
    if size > MAX_BODY_BYTES:
        raise RequestError(
            f"the body is larger than {MAX_BODY_BYTES} bytes; send fewer candidates",
            HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        )
