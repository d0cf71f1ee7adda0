"""Ray that does not start, or a cluster that does not answer, is one line within seconds."""

from __future__ import annotations

import http.server
import os
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from pkb.errors import RunError
from simulator.cluster import session
from simulator.cluster.session import ray_session

START = "from simulator.cluster.session import ray_session\nwith ray_session(None): print('started')"


def refusal(address: str) -> str:
    since = time.monotonic()
    with pytest.raises(RunError) as caught, ray_session(address):
        pass
    assert time.monotonic() - since < 60
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("scheme", ["", "ray://"])
@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "no.such.host.invalid"])
def test_where_nothing_listens_there_is_no_cluster(scheme: str, host: str) -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        told = refusal(f"{scheme}{host}:{bound.getsockname()[1]}")
    assert "nothing answers there" in told
    assert "--address" in told


@pytest.mark.parametrize("address", ["nonsense", "127.0.0.1", "127.0.0.1:x", ":", "http://127.0.0.1:9", "auto"])
def test_what_is_no_address_of_a_cluster_is_one_line(
    address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))  # in which no cluster is noted
    assert f"Ray cluster {address}: " in refusal(address)


def test_an_address_in_the_environment_is_looked_at_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")
    with pytest.raises(RunError, match=r"Ray cluster 127\.0\.0\.1:1: nothing answers"), ray_session(None):
        pass


@pytest.mark.slow
def test_another_server_is_not_taken_for_a_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "CLUSTER_SECONDS", 5)
    everywhere = "0.0.0.0"  # Ray asks for a loopback address at the machine's own
    with http.server.ThreadingHTTPServer((everywhere, 0), http.server.BaseHTTPRequestHandler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        assert "does not answer as one" in refusal(f"127.0.0.1:{server.server_port}")
        server.shutdown()


def started(folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", START],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        env={**os.environ, **environment},
        cwd=Path(__file__).parents[3],
    )


@pytest.mark.parametrize(("name", "kind"), [("TMPDIR", "too long"), ("RAY_TMPDIR", "a file"), ("TMPDIR", "a file's")])
def test_a_folder_that_ray_cannot_work_in_is_named_with_the_setting_to_change(
    tmp_path: Path, name: str, kind: str
) -> None:
    folder = tmp_path / ("x" * 120 if kind == "too long" else "there")
    if kind == "too long":
        folder.mkdir()
    else:
        folder.touch()
    if kind == "a file's":
        folder.unlink()
        folder.mkdir()
        (folder / "ray").touch()
    done = started(tmp_path, **{name: str(folder)})
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("pkb.errors.RunError: Ray did not start: ")
    assert f"{folder}/ray: set RAY_TMPDIR to a folder with a short name" in last


@pytest.mark.slow
def test_ray_starts_without_a_home_to_write_to(tmp_path: Path) -> None:
    assert started(tmp_path, HOME="/proc").stdout == "started\n"
