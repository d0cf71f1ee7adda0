"""The main job on a cluster: the manifests are what their tools expect, and a Ray job runs on two nodes."""

from __future__ import annotations

import os
import secrets
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import yaml

from tests.simulator.main_job import PATIENCE, ROOT, SERVED, command, without

RAY = Path(sys.executable).with_name("ray")
CLUSTER = ROOT / "cluster"


def test_the_cluster_launcher_accepts_its_manifest() -> None:
    from ray.autoscaler._private.util import prepare_config, validate_config

    manifest = yaml.safe_load((CLUSTER / "ray-cluster.yaml").read_text())
    prepared = prepare_config(manifest)
    validate_config(prepared)
    assert prepared["max_workers"] == len(manifest["provider"]["worker_ips"])
    starts = [manifest[f"{kind}_start_ray_commands"][-1] for kind in ("head", "worker")]
    assert all("RAY_AUTH_MODE=token" in start and "--min-worker-port" in start for start in starts)
    assert "--dashboard-host=127.0.0.1" in starts[0]
    assert (ROOT / "constraints.txt").is_file(), "its setup commands install with it"


def test_the_kubernetes_job_runs_the_main_job_with_shared_storage_and_a_token() -> None:
    job, claim = yaml.safe_load_all((CLUSTER / "kuberay.yaml").read_text())
    assert (job["apiVersion"], job["kind"]) == ("ray.io/v1", "RayJob")
    words = shlex.split(job["spec"]["entrypoint"])
    assert words[:4] == ["python", "-m", "simulator", "run"]
    assert (ROOT / "configs" / Path(words[4]).name).is_file()
    cluster = job["spec"]["rayClusterSpec"]
    assert cluster["authOptions"] == {"mode": "token"}
    pinned = (ROOT / "constraints.txt").read_text().splitlines()
    assert f"ray=={cluster['rayVersion']}" in pinned
    assert claim["spec"]["accessModes"] == ["ReadWriteMany"]
    groups = [cluster["headGroupSpec"], *cluster["workerGroupSpecs"]]
    pods: list[dict[str, Any]] = [group["template"]["spec"] for group in groups]
    for pod in pods:
        [volume] = pod["volumes"]
        assert volume["persistentVolumeClaim"]["claimName"] == claim["metadata"]["name"]
        [mount] = pod["containers"][0]["volumeMounts"]
        assert f"runs={mount['mountPath']}/runs" in words
        assert f"stream.data={mount['mountPath']}/data" in words


@dataclass(frozen=True)
class Nodes:
    """A head without CPUs and a worker node with two, and the environment of whoever talks to them."""

    jobs: str  # address that jobs are submitted to
    environment: dict[str, str]


def free_ports(number: int) -> list[int]:
    listeners = [socket.create_server(("127.0.0.1", 0)) for _ in range(number)]
    ports = [listener.getsockname()[1] for listener in listeners]
    for listener in listeners:
        listener.close()
    return ports


@pytest.fixture
def nodes() -> Iterator[Nodes]:
    environment = {
        **{key: value for key, value in os.environ.items() if key != "RAY_ADDRESS"},
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": secrets.token_hex(32),
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S": "0",
    }
    gcs, dashboard = free_ports(2)
    # Not pytest's folder: the paths of sockets, which lie in it, have 107 characters at most.
    temporary = Path(tempfile.mkdtemp(prefix="ray-"))
    head = [f"--port={gcs}", f"--dashboard-port={dashboard}", f"--temp-dir={temporary}", "--num-cpus=0"]
    worker = [f"--address=127.0.0.1:{gcs}", "--num-cpus=2"]
    processes: list[subprocess.Popen[bytes]] = []
    try:
        for options, sign in ((["--head", *head], "Active:"), (worker, "/2.0 CPU")):
            quiet = subprocess.DEVNULL
            start = [str(RAY), "start", "--block", *options]
            processes.append(
                subprocess.Popen(start, env=environment, start_new_session=True, stdout=quiet, stderr=quiet)
            )
            wait_for_status(f"127.0.0.1:{gcs}", sign, environment)
        yield Nodes(f"http://127.0.0.1:{dashboard}", environment)
    finally:
        for process in reversed(processes):
            os.killpg(process.pid, signal.SIGTERM)
            process.wait(30)
        shutil.rmtree(temporary, ignore_errors=True)


def wait_for_status(address: str, sign: str, environment: dict[str, str]) -> None:
    """Until `ray status` shows `sign`."""
    deadline = time.monotonic() + PATIENCE
    while True:
        status = [str(RAY), "status", f"--address={address}"]
        done = subprocess.run(status, env=environment, capture_output=True, text=True, check=False)
        if sign in done.stdout:
            return
        assert time.monotonic() < deadline, done.stdout + done.stderr
        time.sleep(0.5)


@pytest.mark.slow
def test_a_submitted_job_runs_the_main_job_from_the_head_on_another_node(nodes: Nodes, tmp_path: Path) -> None:
    few = [*without("finetune", "finetune_edk", "rim"), "stream.world.periods=2"]
    _, *words = command(tmp_path, *SERVED, *few, "train.workers=2", "train.max_failures=0")
    submit = [str(RAY), "job", "submit", f"--address={nodes.jobs}", "--working-dir=.", "--", sys.executable, *words]
    done = subprocess.run(
        submit, env=nodes.environment, cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE, check=False
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    results = pq.read_table(tmp_path / "runs" / "small" / "results.parquet").to_pylist()
    assert {row["metric"] for row in results} >= {"auc", "latency_p99_ms", "train_seconds"}
    assert (tmp_path / "runs" / "small" / "report.html").is_file()
