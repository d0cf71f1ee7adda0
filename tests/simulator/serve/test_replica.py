"""The same application on Ray Serve."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from pkb.errors import RunError
from simulator.serve import replica
from simulator.serve.deploy import running
from simulator.serve.replica import Replica, application
from simulator.serve.settings import ServeSettings
from simulator.serve.versions import Source, Versions
from tests.simulator.serve.asgi_client import Client
from tests.simulator.serve.played_run import played_run

TOKEN = "a-secret-of-some-length"
DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def ask(url: str, body: Any = None, token: str = TOKEN) -> tuple[int, Any]:
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {token}"}
    request = urllib.request.Request(url, None if body is None else json.dumps(body).encode(), headers)
    try:
        with DIRECT.open(request, timeout=30) as response:
            return response.status, json.load(response)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def listens_on(port: str) -> set[str]:
    """The addresses, in Linux's hexadecimal digits, on which a process of this machine listens at a port."""
    listening = "0A"
    rows = [
        line.split() for table in ("tcp", "tcp6") for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]
    ]
    ends = [local.split(":") for _, local, _, state, *_ in rows if state == listening]
    return {address for address, number in ends if int(number, 16) == int(port)}


def test_contenders_of_one_process_are_each_asked_below_their_own_route_and_the_one_at_fault_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    played = played_run(tmp_path, days=2, rows=150, arms=("deepfm", "edk"))
    sources = {f"/{arm}/0": played.source(arm) for arm in ("deepfm", "edk")}
    with pytest.raises(RunError, match=r"^deepfm-0: .* has committed no period yet"):
        Replica(sources, TOKEN, follow=False)
    for index in range(2):
        played.commit(index)
    rows = played.raw(played.rows(1).select(slice(5)))
    bears = {"authorization": f"Bearer {TOKEN}"}
    with Client(Replica(sources, TOKEN, follow=False).__serve_build_asgi_app__()) as client:
        for arm in ("deepfm", "edk"):
            sent = [json.dumps({"candidates": rows}).encode()]
            kind = {"content-type": "application/json"}
            answer = client.ask("POST", f"/{arm}/0/v1/score", sent, bears | kind)
            assert (answer.status, answer.json["model"]) == (200, f"{arm}-0")
            assert client.ask("POST", f"/{arm}/0/v1/score", sent, kind).status == 401
            assert client.get(f"/{arm}/0/healthz").json["model"] == f"{arm}-0"
            assert client.get(f"/{arm}/0/v1/versions").status == 401
        assert client.get("/lr/0/healthz", **bears).status == 404

    def fails(source: Source, tell: object) -> Versions:
        if source.arm == "edk":
            raise FileNotFoundError("two\nlines")
        return Versions(source, lambda line: None)

    monkeypatch.setattr(replica, "Versions", fails)
    with pytest.raises(RunError, match=r"^edk-0: FileNotFoundError: two lines$"):
        Replica(sources, TOKEN, follow=False)


@pytest.mark.slow
def test_ray_serve_answers_as_the_application_does_and_says_why_one_does_not_come_up(
    tmp_path: Path, local_ray: None
) -> None:
    played = played_run(tmp_path, days=2, rows=150)
    settings = ServeSettings(port=0)
    unready = {("deepfm-0", "/"): application({"/": played.source()}, TOKEN, follow=False)}
    with pytest.raises(RunError, match="has committed no period yet"), running("tiny", settings, unready):
        pass
    for index in range(2):
        played.commit(index)
    rows = played.raw(played.rows(1).select(slice(5)))
    with running(
        "tiny", settings, {("deepfm-0", "/"): application({"/": played.source()}, TOKEN, follow=True)}
    ) as address:
        for root in (address.proxy, address.replicas("/")[0]):
            status, answer = ask(f"{root}/v1/score", {"candidates": rows})
            assert (status, answer["version"], len(answer["scores"])) == (200, 1, 5)
            assert ask(f"{root}/v1/score?version=0", {"candidates": rows})[0] == 404
            assert ask(f"{root}/v1/score", {"candidates": rows}, token="another-of-such-length")[0] == 401
            assert ask(f"{root}/v1/score", {"candidates": []})[0] == 422
            assert ask(f"{root}/healthz", token="")[0] == 200
        ports = {url.rpartition(":")[2] for url in (address.proxy, address.replicas("/")[0])}
        assert [listens_on(port) for port in sorted(ports)] == [{"0100007F"}] * 2, "loopback, and two of them"
        [[number, line]] = ask(f"{address.proxy}/v1/versions")[1]["told"]
        assert number == 1
        assert line.startswith("deepfm-0: version 1 is served: loaded in")
