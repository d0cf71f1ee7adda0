"""What OpenAPI says of `POST /v1/score`: the fields of a log, by their kinds, and the answer."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

from simulator.serve.body import ARROW, JSON
from simulator.serve.request import MAX_CANDIDATES
from simulator.stream.asked import Reader
from simulator.stream.typed_values import LONGEST_LIST, LONGEST_TEXT

Described = dict[str, Any]
CATEGORY: Described = {
    "anyOf": [
        {"type": "string", "maxLength": LONGEST_TEXT},
        {"type": "integer"},
        {"type": "number"},
        {"type": "boolean"},
        {"type": "null"},
    ]
}
NUMBER: Described = {"anyOf": [{"type": "number"}, {"type": "string"}, {"type": "null"}]}
LIST: Described = {"anyOf": [{"type": "array", "items": CATEGORY, "maxItems": LONGEST_LIST}, {"type": "null"}]}
TIME: Described = {
    "anyOf": [{"type": "number", "minimum": 0}, {"type": "string"}],
    "description": "seconds since 1970, or a text such as 2026-01-31T12:00:00Z",
}


class Answer(BaseModel):
    """What is known of the candidates of one request."""

    scores: list[float]  # the click probability of each candidate, in their order
    model: str  # arm and seed
    version: int  # number of the period after which the model was stored
    period: int  # last one that it has learned
    knowledge: int | None  # last one in its knowledge base
    unknown_values: int  # values of the request that the model does not know


class Refusal(BaseModel):
    """What is wrong with a request, in one line that names the field."""

    error: str


def answer_of() -> dict[int | str, Described]:
    """The answers, by status."""
    refusals: dict[int | str, Described] = {status: {"model": Refusal} for status in (400, 401, 404, 413, 415, 422)}
    return {200: {"model": Answer}, **refusals}


def question_of(reader: Reader) -> Described:
    """The body and the parameter."""
    fields = fields_of(reader)
    some: Described = {"type": "object", "properties": fields, "additionalProperties": False}
    body: Described = {
        "type": "object",
        "required": ["candidates"],
        "additionalProperties": False,
        "properties": {
            "request": {**some, "description": "what all candidates share"},
            "candidates": {"type": "array", "minItems": 1, "maxItems": MAX_CANDIDATES, "items": some},
        },
    }
    version: Described = {"name": "version", "in": "query", "required": False, "schema": {"type": "integer"}}
    rows: Described = {"schema": {"type": "string", "format": "binary", "description": "an Arrow stream, a row each"}}
    return {
        "parameters": [version],
        "requestBody": {"required": True, "content": {JSON: {"schema": body}, ARROW: rows}},
    }


def fields_of(reader: Reader) -> Described:
    """The schema of each value that a request may give."""
    schema = reader.schema
    kinds: Described = dict.fromkeys(schema.names_of("category"), CATEGORY)
    kinds |= dict.fromkeys([*schema.names_of("list"), *reader.histories], LIST)
    kinds |= dict.fromkeys(schema.names_of("number"), NUMBER) | {reader.time: TIME}
    for name, vector in schema.vectors.items():
        entries = {"type": "array", "items": {"type": "number"}, "minItems": vector.length, "maxItems": vector.length}
        kinds[name] = {"anyOf": [entries, {"type": "null"}]}
    return {name: kinds[name] for name in reader.names}
