"""Requests with raw values: what is served of them is what the run has stored of these rows."""

from __future__ import annotations

import json
import shutil
import subprocess
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
import uvicorn

from simulator.serve.asgi import make_app
from simulator.serve.body import ARROW
from simulator.serve.stored import TOLERANCE, stored_predictions
from simulator.serve.versions import Versions
from tests.simulator.serve.asgi_client import Answered, Client
from tests.simulator.serve.asking import DAYS, TOKEN, Row, as_arrow, valid
from tests.simulator.serve.played_run import PlayedRun, played_run

SHARED = ("user", "time")


def test_a_thousand_rows_of_the_log_as_raw_requests_get_the_stored_probabilities(
    three_days: PlayedRun, client: Client, raw: list[Row]
) -> None:
    last = three_days.log.read(three_days.log.periods[-1], histories=True)
    row_id, stored = stored_predictions(three_days.run, DAYS - 1, "deepfm", 0, through=1, holdout=False)
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
