"""Requests with raw values: what is served of them is what the run has stored of these rows."""

from __future__ import annotations

import json
import shutil
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
import uvicorn

from pkb.batch import Batch
from pkb.errors import SettingError
from simulator.serve.asgi import make_app
from simulator.serve.body import ARROW
from simulator.serve.guard import VARIABLE, token_of_environment
from simulator.serve.request import MAX_BODY_BYTES, MAX_CANDIDATES
from simulator.serve.stored import TOLERANCE, stored_predictions
from simulator.serve.versions import Versions
from simulator.serve.watched import STAGES
from tests.simulator.serve.asgi_client import Answered, Client
from tests.simulator.serve.played_run import PlayedRun, played_run

DAYS = 3
SHARED = ("user", "time")
TOKEN = "a-secret-of-some-length"
Row = dict[str, Any]


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> PlayedRun:
    """Periods 0 to 2, of which the model of version 1 has predicted the last one before it was learned."""
    run = played_run(tmp_path_factory.mktemp("played"), days=DAYS, rows=1_200)
    for index in range(DAYS):
        run.commit(index)
    return run


@pytest.fixture(scope="module")
def versions(played: PlayedRun) -> Versions:
    versions = played.versions()
    versions.swap_to(1)
    return versions


@pytest.fixture
def client(versions: Versions) -> Iterator[Client]:
    with Client(make_app(versions)) as client:
        yield client


@pytest.fixture(scope="module")
def last(played: PlayedRun) -> Batch:
    return played.log.read(played.log.periods[-1], histories=True)


@pytest.fixture(scope="module")
def raw(played: PlayedRun, versions: Versions, last: Batch) -> list[Row]:
    return played.raw(last)


def test_a_thousand_rows_of_the_log_as_raw_requests_get_the_stored_probabilities(
    played: PlayedRun, client: Client, last: Batch, raw: list[Row]
) -> None:
    row_id, stored = stored_predictions(played.run, DAYS - 1, "deepfm", 0, through=1, holdout=False)
    assert len(row_id) >= 1_000
    assert last.request is not None
    served: dict[int, float] = {}
    unknown = 0
    for request in last.request.unique():
        places = (last.request == request).nonzero().squeeze(1).tolist()
        shared = {name: raw[places[0]][name] for name in SHARED}
        candidates = [{name: value for name, value in raw[place].items() if name not in SHARED} for place in places]
        answer = client.score({"request": shared, "candidates": candidates}).json
        assert (answer["model"], answer["version"], answer["period"], answer["knowledge"]) == ("deepfm-0", 1, 1, None)
        served |= dict(zip(last.row_id[places].tolist(), answer["scores"], strict=True))
        unknown += answer["unknown_values"]
    found = np.array([served[row] for row in row_id.tolist()])
    assert np.abs(found - stored).max() <= TOLERANCE
    assert len(np.unique(stored)) > 500
    assert unknown > 100  # items of the last day, of which the model knows nothing
    for kind in ("price", "text", "tags", "user", "seen"):
        assert 0 < sum(row[kind] in (None, []) for row in raw) < len(raw), kind


def test_what_all_candidates_share_may_stand_in_each_of_them(client: Client, raw: list[Row]) -> None:
    shared = ("user", "country", "time", "seen", "tags", "price", "text", "member")
    rows = [row | {name: raw[0][name] for name in shared} for row in raw[:20]]
    own = [{name: value for name, value in row.items() if name not in shared} for row in rows]
    once = client.score({"request": {name: raw[0][name] for name in shared}, "candidates": own}).json
    assert once["scores"] == pytest.approx(client.score({"candidates": rows}).json["scores"], abs=1e-7)
    assert len(set(once["scores"])) > 5


def as_arrow(rows: list[Row], **changed: Any) -> bytes:
    columns = {name: pa.array([row[name] for row in rows]) for name in rows[0]} | changed
    sink = pa.BufferOutputStream()
    table = pa.table(columns)
    with pa.ipc.new_stream(sink, table.schema) as stream:
        stream.write_table(table, max_chunksize=7)
    written: bytes = sink.getvalue().to_pybytes()
    return written


def test_an_arrow_stream_gets_the_scores_that_json_gets_and_may_be_answered_in_kind(
    client: Client, raw: list[Row]
) -> None:
    rows = raw[:40]
    expected = client.score({"candidates": rows}).json
    assert client.score(as_arrow(rows), content_type=ARROW).json == expected
    moments = pa.array([row["time"] * 1_000 + 999 for row in rows], pa.timestamp("ms", "Europe/Berlin"))
    items = pa.array([int(row["item"]) for row in rows])
    large = pa.array([row["country"] for row in rows], pa.large_string())
    tags = pa.array([row["tags"] for row in rows], pa.large_list(pa.large_string()))
    body = as_arrow(rows, time=moments, item=items, country=large, tags=tags)
    answer = client.score(body, content_type=ARROW, accept=ARROW)
    with pa.ipc.open_stream(answer.body) as stream:
        table = stream.read_all()
    assert table.column("scores").to_pylist() == expected["scores"]
    assert {k.decode(): json.loads(v) for k, v in table.schema.metadata.items()} == {
        name: value for name, value in expected.items() if name != "scores"
    }


def test_values_may_be_written_as_the_raw_files_write_them(client: Client, raw: list[Row]) -> None:
    row = next(row for row in raw if row["price"] and row["tags"] and row["seen"])
    [expected] = client.score({"candidates": [row]}).json["scores"]

    def same(**changed: Any) -> None:
        assert client.score({"candidates": [row | changed]}).json["scores"] == [expected], changed

    same(item=int(row["item"]))
    same(item=float(row["item"]))
    same(price=repr(row["price"]))
    same(tags=";".join(row["tags"]))
    same(tags=str(row["tags"]))
    same(tags=[*row["tags"], None, "-", "-1"])
    same(member=row["member"] == "true")
    same(time=f"{np.datetime64(row['time'], 's')}Z")
    same(time=row["time"] + 0.5)
    [missing] = client.score({"candidates": [row | {"price": None}]}).json["scores"]
    for price in ("-", "", -1, "-1.0", "nan"):
        assert client.score({"candidates": [row | {"price": price}]}).json["scores"] == [missing], price
    assert missing != expected


def test_an_unknown_value_reads_the_new_value_row_and_is_counted(client: Client, raw: list[Row]) -> None:
    row = next(row for row in raw if row["tags"] and row["user"])
    row = row | {"item": "1", "seen": []}
    known = client.score({"candidates": [row]}).json
    new = known["unknown_values"]  # the day of the week at least
    one, other = (client.score({"candidates": [row | {"item": name}]}).json for name in ("never", "nowhere"))
    assert one["scores"] == other["scores"] != known["scores"]
    assert one["unknown_values"] == other["unknown_values"] == new + 1
    assert client.score({"candidates": [row | {"seen": ["1", "no", "never"]}]}).json["unknown_values"] == new + 2


def valid(raw: list[Row]) -> Any:
    row = next(row for row in raw if row["tags"])
    return {"request": {"user": row["user"]}, "candidates": [{k: v for k, v in row.items() if k != "user"}] * 2}


def with_candidate(body: Any, **changed: Any) -> Any:
    return body | {"candidates": [body["candidates"][0], body["candidates"][1] | changed]}


@pytest.mark.parametrize(
    ("changed", "status", "said"),
    [
        ({"price": "cheap"}, 422, r"candidates[1].price: 'cheap' is not a finite number of 32 bits; give one, or null"),
        ({"price": float("nan")}, 422, "candidates[1].price: NaN is not a finite number"),
        ({"price": float("-inf")}, 422, "candidates[1].price: -Infinity is not a finite number"),
        ({"price": 1e39}, 422, "candidates[1].price: 1e+39 is not a finite number"),
        ({"price": 10**400}, 422, "candidates[1].price: 1000000000000000000000000000000000000000... is not"),
        ({"price": [1]}, 422, "candidates[1].price: a list is not a finite number"),
        ({"item": {"a": 1}}, 422, "candidates[1].item: an object is no value of a field; give one text"),
        ({"item": float("nan")}, 422, "candidates[1].item: NaN is no value"),
        ({"item": "\ud800"}, 422, r"candidates[1].item: '\ud800' is no text: it holds half a character"),
        ({"item": "x" * 5_000}, 422, "candidates[1].item: has 5,000 bytes; send a text of 4,096 at most"),
        ({"tags": 7}, 422, "candidates[1].tags: 7 is no list; give a list of values, or null"),
        ({"tags": ["a", {"b": 1}]}, 422, "candidates[1].tags[1]: an object is no value"),
        ({"tags": ["a"] * 1_001}, 422, "candidates[1].tags: has 1,001 values; send 1,000 at most"),
        ({"tags": "[a, 'b"}, 422, 'candidates[1].tags: "[a, \'b" is no list'),
        ({"text": [1, 2]}, 422, "candidates[1].text: a list is no vector; give a list of 3 numbers, or null"),
        ({"text": [1, 2, None]}, 422, "candidates[1].text: None is not a finite number"),
        ({"text": [1, 2, 1e39]}, 422, "candidates[1].text: 1e+39 is not a finite number"),
        ({"time": "yesterday"}, 422, "candidates[1].time: 'yesterday' is no time; give seconds since 1970, or a text"),
        ({"time": -1}, 422, "candidates[1].time: -1 is no time"),
        ({"time": 1e300}, 422, "candidates[1].time: 1e+300 is no time"),
        ({"more": 1}, 422, "candidates[0].'more': is missing, though other candidates have it"),
    ],
)
def test_what_is_wrong_is_told_by_its_place_and_what_was_wanted(
    client: Client, raw: list[Row], changed: Row, status: int, said: str
) -> None:
    answer = client.score(with_candidate(valid(raw), **changed))
    assert answer.status == status
    assert answer.json["error"].startswith(said)


@pytest.mark.parametrize(
    ("make", "status", "said"),
    [
        (lambda body: b"", 400, "the body is not JSON"),
        (lambda body: b"\xff\xfe{", 400, "the body is not UTF-8"),
        (lambda body: b"[" * 100_000, 400, "the body is not JSON"),
        (lambda body: b'{"candidates": [' + b'{"a":' * 90_000, 400, "the body is not JSON"),
        (lambda body: b" " * (MAX_BODY_BYTES + 1), 413, "the body is larger than"),
        (lambda body: [], 422, 'the body must be an object with the keys "request" and "candidates"'),
        (lambda body: body | {"more": 1}, 422, "the body must be an object"),
        (lambda body: body | {"request": []}, 422, "request: must be an object"),
        (lambda body: body | {"candidates": {}}, 422, "candidates: must be a list of objects"),
        (lambda body: body | {"candidates": []}, 422, "candidates: are 0; send 1 to 1,000"),
        (lambda body: body | {"candidates": [{}] * (MAX_CANDIDATES + 1)}, 422, "candidates: are 1,001"),
        (lambda body: body | {"candidates": [{}, 3]}, 422, "candidates[1]: is 3; give an object"),
        (lambda body: body | {"candidates": [{}]}, 422, "country: is missing; give it in request or in each"),
        (lambda body: body | {"request": {}}, 422, "user: is missing"),
        (
            lambda body: body | {"request": {"user": "a", "item": "b"}},
            422,
            "'item': stands in request and in",
        ),
        (lambda body: body | {"request": {"user": "a", "prize": 1}}, 422, "'prize': is no field; the fields are user,"),
        (lambda body: body | {"request": {"user": "a", "item_age": 1}}, 422, "'item_age': is no field"),
    ],
)
def test_a_body_that_is_none_is_told(client: Client, raw: list[Row], make: Any, status: int, said: str) -> None:
    answer = client.score(make(valid(raw)))
    assert answer.status == status, answer.body
    assert answer.json["error"].startswith(said)
    assert "\n" not in answer.json["error"]


def test_what_is_computed_of_the_time_needs_one(client: Client, raw: list[Row]) -> None:
    rows = [{name: value for name, value in row.items() if name != "time"} for row in raw[:2]]
    answer = client.score({"candidates": rows})
    assert answer.status == 422
    assert answer.json["error"].startswith("time: is missing; hour, day, item_age, pause")


def packed(rows: list[Row], columns: Any = None, **options: Any) -> bytes:
    sink = pa.BufferOutputStream()
    table = pa.table(columns or {"item": ["x" * 1_000_000]})
    with pa.ipc.new_stream(sink, table.schema, options=pa.ipc.IpcWriteOptions(**options)) as stream:
        stream.write_table(table)
    written: bytes = sink.getvalue().to_pybytes()
    return written


def beheaded(stream: bytes) -> bytes:
    """Without its first message, as which Arrow would read the second one."""
    return stream[8 + int.from_bytes(stream[4:8], "little") :]


@pytest.mark.parametrize(
    ("make", "status", "said"),
    [
        (lambda rows: packed(rows, compression="zstd"), 415, "the body is compressed; send plain buffers"),
        (lambda rows: packed(rows, compression="lz4"), 415, "the body is compressed"),
        (lambda rows: packed(rows, {"item": pa.array(["a"]).dictionary_encode()}), 422, "'item': is dictionary"),
        (lambda rows: packed(rows, {"item": pa.array(["a"], pa.string_view())}), 422, "'item': is string_view"),
        (lambda rows: packed(rows, {"item": pa.nulls(10**9)}), 422, "candidates: are "),
        (
            lambda rows: packed(rows, {"item": pa.array([["a"]], pa.list_(pa.string(), 1))}),
            422,
            "'item': is fixed",
        ),
        (lambda rows: b"", 400, "the body is no Arrow stream"),
        (lambda rows: b"\xff\xff\xff\xff\x10\x00\x00\x00", 400, "the body is no Arrow stream"),
        (lambda rows: as_arrow(rows)[:-200], 400, "the body is no Arrow stream"),
        (lambda rows: beheaded(as_arrow(rows)), 400, "the body is no Arrow stream: it does not begin with a schema"),
        (lambda rows: as_arrow(rows[:0] or rows, item=pa.array([None] * len(rows))), 200, ""),
        (lambda rows: as_arrow(rows, price=pa.array([["a"]] * len(rows))), 422, "price: is list"),
        (
            lambda rows: as_arrow(rows, price=pa.array(["x"] * len(rows))),
            422,
            "candidates[0].price: 'x' is not",
        ),
        (
            lambda rows: as_arrow(rows, text=pa.array([[1.0]] * len(rows))),
            422,
            "candidates[0].text: a list is no",
        ),
        (lambda rows: as_arrow(rows, time=pa.array([None] * len(rows))), 422, "candidates[0].time: None is no time"),
    ],
)
def test_an_arrow_body_that_is_none_or_would_unfold_is_told(
    client: Client, raw: list[Row], make: Any, status: int, said: str
) -> None:
    answer = client.score(make(raw[:3]), content_type=ARROW)
    assert answer.status == status, answer.body
    assert status == 200 or answer.json["error"].startswith(said)


def test_other_types_encodings_methods_and_addresses_are_refused(client: Client) -> None:
    assert client.score(b"{}", content_type="text/html").status == 415
    assert client.score(b"\x1f\x8b" * 100, content_encoding="gzip").status == 415
    assert client.ask("PUT", "/v1/score", [b"{}"], {}).status == 405
    assert client.get("/v1/scores").status == 404
    for version in ("7", "-1", "x", "1" * 100, "²"):
        assert client.score(b"{}", query=f"version={version}".encode().decode("latin-1")).status == 404
    large = client.ask("POST", "/v1/score", [b" " * 2**20] * 5, {"content-type": "application/json"})
    assert large.status == 413
    assert client.ask("POST", "/v1/score", [b""], {"content-length": "9" * 30}).status == 413


def test_health_metrics_and_documentation(client: Client, played: PlayedRun, raw: list[Row]) -> None:
    with Client(make_app(played.versions())) as empty:
        assert empty.get("/healthz").status == 503
        assert empty.score(valid(raw)).status == 503
        assert b"model_version -1.0" in empty.get("/metrics").body
    assert client.get("/healthz").json == {"status": "ready", "model": "deepfm-0", "version": 1, "period": 1}
    assert client.score(valid(raw)).status == 200
    assert client.score(with_candidate(valid(raw), price="x")).status == 422
    text = client.get("/metrics").body.decode()
    for stage in STAGES:
        assert f'score_stage_seconds_count{{stage="{stage}"}} 1.0' in text
    assert 'score_errors_total{kind="422"} 1.0' in text
    assert "score_requests_total 1.0" in text
    assert "model_version 1.0" in text
    assert client.get("/docs").status == 200
    told = client.get("/openapi.json").json["paths"]["/v1/score"]["post"]
    fields = told["requestBody"]["content"]["application/json"]["schema"]["properties"]["candidates"]["items"]
    assert list(fields["properties"]) == [
        *("user", "country", "item", "kind", "member", "tags", "price", "text", "seen", "time")
    ]
    assert "200" in told["responses"]


def test_where_a_token_is_set_whoever_has_it_may_ask(versions: Versions, raw: list[Row]) -> None:
    body = valid(raw)
    with Client(make_app(versions, TOKEN)) as client:
        assert client.score(body, authorization=f"Bearer {TOKEN}").status == 200
        wrong = ("", "Bearer", f"Bearer {TOKEN}x", f"bearer {TOKEN}", TOKEN, f"Bearer {TOKEN[:-1]}é", "Bearer \xff")
        for header in wrong:
            answer = client.score(body, authorization=header)
            assert (answer.status, answer.headers["www-authenticate"]) == (401, "Bearer"), header
        assert [client.get(path).status for path in ("/metrics", "/docs", "/v1/versions")] == [401, 401, 401]
        assert client.get("/healthz").status == 200


@pytest.mark.parametrize(
    ("host", "token", "said"),
    [
        ("127.0.0.1", None, None),
        ("::1", None, None),
        ("localhost", None, None),
        ("0.0.0.0", TOKEN, None),
        ("0.0.0.0", None, r"^host=0\.0\.0\.0: others could ask there, and no token is set; set \$SIMULATOR_TOKEN"),
        ("::", None, "others could ask there"),
        ("example.org", None, "others could ask there"),
        ("127.0.0.1", "short", r"^\$SIMULATOR_TOKEN: must be 16 or more"),
        ("127.0.0.1", f"{TOKEN} x", r"must be 16 or more"),
    ],
)
def test_what_others_could_ask_wants_a_token(
    monkeypatch: pytest.MonkeyPatch, host: str, token: str | None, said: str | None
) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    if token is not None:
        monkeypatch.setenv(VARIABLE, token)
    if said is None:
        assert token_of_environment(host) == token
    else:
        with pytest.raises(SettingError, match=said):
            token_of_environment(host)


def test_curl_gets_an_answer_as_the_documentation_shows(versions: Versions, raw: list[Row], tmp_path: Path) -> None:
    assert shutil.which("curl"), "this test asks as a user would"
    server = uvicorn.Server(
        uvicorn.Config(make_app(versions, TOKEN), host="127.0.0.1", port=0, log_level="error", lifespan="off")
    )
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        while not server.started:
            thread.join(0.01)
        port = server.servers[0].sockets[0].getsockname()[1]
        (tmp_path / "request.json").write_text(json.dumps(valid(raw)))
        said = subprocess.run(
            [
                *("curl", "--silent", "--noproxy", "*", f"http://127.0.0.1:{port}/v1/score"),
                *("-H", f"Authorization: Bearer {TOKEN}", "-H", "Content-Type: application/json"),
                *("-d", f"@{tmp_path / 'request.json'}"),
            ],
            capture_output=True,
            check=True,
            timeout=30,
        )
        answer: Row = json.loads(said.stdout)
    finally:
        server.should_exit = True
        thread.join()
    assert len(answer["scores"]) == 2
    assert answer["version"] == 1


def test_a_list_is_asked_for_as_a_whole_where_a_feature_tells_the_place(tmp_path: Path) -> None:
    played = played_run(tmp_path, days=2, rows=300, place="position", size="list_size")
    for index in range(2):
        played.commit(index)
    versions = played.versions()
    versions.swap_to(1)
    assert versions.current is not None
    assert versions.current.rows > 20
    assert versions.current.difference <= TOLERANCE


@pytest.mark.parametrize("arm", ["edk", pytest.param("rim", marks=pytest.mark.slow)])
def test_arms_that_have_knowledge_or_search_are_served_like_any_other(tmp_path: Path, arm: str) -> None:
    played = played_run(tmp_path, days=2, rows=300, arms=(arm,))
    for index in range(2):
        played.commit(index)
    versions = played.versions(arm)
    versions.swap_to(1)
    assert versions.current is not None
    assert versions.current.difference <= TOLERANCE
    rows = played.raw(played.rows(1).select(slice(5)))
    with Client(make_app(versions)) as client:
        answer: Answered = client.score({"candidates": rows})
    assert answer.json["knowledge"] == (0 if arm == "edk" else None)
    stage = {"edk": "knowledge", "rim": "retrieval"}[arm]
    assert torch.tensor(answer.json["scores"]).isfinite().all(), stage
