"""A center on Ray Serve: by handle, as JSON and as Arrow, while versions come and go."""

from __future__ import annotations

import asyncio
import json
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path

import numpy as np
import pytest
from ray import serve
from rich.console import Console
from starlette.requests import Request

from pkb.center import Center, MissingVersionError
from pkb.center.writing import folder_of
from pkb.errors import DataError, SettingError
from simulator.center.client import ByHandle, ByHttp, UnansweredError
from simulator.center.service import FOLLOW_SECONDS, CenterService, served
from simulator.center.wire import JSON
from simulator.cluster.session import ray_session
from simulator.gkc import center
from simulator.serve.deploy import shut_down
from simulator.serve.ports import free_port
from simulator.serve.settings import ServeSettings
from tests.pkb.center.says import numbers_in, publish, someone

SWAPS = 20
PATIENCE = 10.0  # seconds, on a machine that is busy


def posted(url: str, body: bytes, kind: str = JSON) -> tuple[int, dict[str, object]]:
    request = urllib.request.Request(url, body, {"Content-Type": kind})
    try:
        with urllib.request.urlopen(request, timeout=PATIENCE) as response:
            return response.status, json.load(response)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error)


@pytest.mark.slow
def test_versions_are_swapped_under_load_and_a_service_that_ends_is_an_outage_not_a_hang(tmp_path: Path) -> None:
    folder = tmp_path / "center"
    with ray_session(None):
        with pytest.raises(MissingVersionError, match="there is no version; build one first"), served(folder):
            pass
        publish(folder, 0)
        with served(folder) as service:
            handle, http = ByHandle(service.handle, PATIENCE), ByHttp(service.url, PATIENCE)
            assert _port(service.direct) != _port(service.url)
            direct = ByHttp(service.direct, PATIENCE)
            with pytest.raises(SettingError, match="choose another port"), served(folder, port=_port(service.url)):
                pass
            with pytest.raises(SettingError, match="listens at"), served(folder, port=free_port(ServeSettings(port=0))):
                pass
            _asked_in_json(service.url)  # still
            over, wrong, seen, count = threading.Event(), list[str](), set[int](), [0, 0, 0, 0]

            def ask(number: int) -> None:
                client = (handle, http, direct, handle)[number]
                pinned = 0 if number == 3 else None
                while not over.is_set():
                    try:
                        answer = client.ask(*someone(), version=pinned)
                    except Exception as error:
                        wrong.append(repr(error))
                        return
                    if numbers_in(answer) != {answer.version} or (pinned == 0 and answer.version):
                        wrong.append(f"version {answer.version} says {numbers_in(answer)}")
                    seen.add(answer.version)
                    count[number] += 1

            threads = [threading.Thread(target=ask, args=(number,)) for number in range(4)]
            for thread in threads:
                thread.start()
            for version in range(1, 1 + SWAPS):
                publish(folder, version, keep=1 + SWAPS)
                _until(lambda version=version: version in seen)
            over.set()
            for thread in threads:
                thread.join()
            assert not wrong
            assert seen == {*range(1 + SWAPS)}
            assert min(count) > SWAPS
            for client in (handle, http, direct):
                assert [manifest.version for manifest in client.about()] == [*range(1 + SWAPS)]
                with pytest.raises(MissingVersionError, match="no version 99; there are 0, 1, 2"):
                    client.ask(*someone(), version=99)
            _damaged(folder, service.url, handle)
        for gone in (handle, http, direct):
            gone.timeout_s = 1.0
            since = time.monotonic()
            with pytest.raises(UnansweredError):
                gone.ask(*someone())
            assert time.monotonic() - since < PATIENCE
        http.close()
        direct.close()


@serve.deployment(ray_actor_options={"num_cpus": 0})
class Other:
    def __call__(self) -> str:
        return "another's"


@pytest.mark.slow
def test_beside_what_others_serve_it_is_asked_where_serve_listens_and_leaves_them_alone(tmp_path: Path) -> None:
    publish(tmp_path, 0)
    there, elsewhere = (free_port(ServeSettings(host="127.0.0.1", port=0)) for _ in range(2))
    with ray_session(None):
        try:
            serve.start(proxy_location="HeadOnly", http_options={"host": "127.0.0.1", "port": there})
            serve.run(Other.bind(), name="other", route_prefix="/other")  # type: ignore[attr-defined]
            with served(tmp_path) as service:
                assert _port(service.url) == there
                assert posted(service.url, b'{"user": 1, "item": 1, "category": 1}')[0] == 200
            told = f"port={elsewhere}: .* listens at {there} already"
            with pytest.raises(SettingError, match=told), served(tmp_path, port=elsewhere):
                pass
            assert [*serve.status().applications] == ["other"]
        finally:
            shut_down()


def _asked_in_json(url: str) -> None:
    user_B, item_B, category_B = (ids.tolist() for ids in someone())
    status, answer = posted(url, json.dumps({"user": user_B, "item": item_B, "category": category_B}).encode())
    assert status == 200
    assert answer["version"] == 0
    assert np.array(answer["knowledge"]["of_item"]).shape == (8, 2, 2)  # type: ignore[index]
    assert posted(url, b"{")[0] == 400
    assert posted(url, b"{}", "text/html")[0] == 415
    status, answer = posted(url, json.dumps({"user": 1, "item": 1, "category": 1, "version": 5}).encode())
    assert status == 404
    assert "there is no version 5; there are 0" in str(answer["error"])


def _damaged(folder: Path, url: str, handle: ByHandle) -> None:
    """A version of which a byte has flipped is refused by name, and the others answer on."""
    version = 1 + SWAPS
    aside = folder.with_name("elsewhere")
    publish(aside, version)
    file = folder_of(aside, version) / "of_user.values"
    file.write_bytes(b"?" + file.read_bytes()[1:])
    folder_of(aside, version).rename(folder_of(folder, version))
    time.sleep(2 * FOLLOW_SECONDS)
    assert handle.ask(*someone()).version == SWAPS
    with pytest.raises(DataError, match=r"of_user\.values: missing or damaged"):
        handle.ask(*someone(), version=version)
    status, answer = posted(url, json.dumps({"user": 1, "item": 1, "category": 1, "version": version}).encode())
    assert status == 500
    assert "of_user.values" in str(answer["error"])
    assert Center(folder).version(SWAPS).number == SWAPS


def _port(url: str) -> int:
    return int(url.rpartition(":")[2].partition("/")[0])


def _until(reached: object) -> None:
    deadline = time.monotonic() + PATIENCE
    while not reached():  # type: ignore[operator]
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_elsewhere_than_on_loopback_a_center_wants_a_token(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("SIMULATOR_TOKEN", raising=False)
    with pytest.raises(SettingError, match="no token is set"):
        center(tmp_path, None, Console(quiet=True), host="0.0.0.0", port=0, build_only=False)
    publish(tmp_path, 0)
    request = Request({"type": "http", "method": "GET", "headers": [(b"authorization", b"Bearer of-another-one")]})
    assert asyncio.run(CenterService(tmp_path, "a-token-of-some-length")(request)).status_code == 401
    assert asyncio.run(CenterService(tmp_path, None)(request)).status_code == 200


def test_what_is_wrong_is_told_without_where_the_versions_lie(tmp_path: Path) -> None:
    for version in (0, 1):
        publish(tmp_path, version)
    (folder_of(tmp_path, 1) / "of_user.values").write_bytes(b"?")
    service = CenterService(tmp_path, None)
    service.center.refresh()

    def told(method: str, **asked: int) -> str:
        async def body() -> dict[str, object]:
            return {"type": "http.request", "body": json.dumps({"user": 1, "item": 1, "category": 1, **asked}).encode()}

        answer = asyncio.run(service(Request({"type": "http", "method": method, "headers": []}, body)))
        assert str(tmp_path) not in bytes(answer.body).decode()
        return bytes(answer.body).decode()

    assert "there is no version 5; there are 0, 1" in told("POST", version=5)
    for said in (told("POST", version=1), told("GET")):
        assert "version-00001/of_user.values: missing or damaged" in said
