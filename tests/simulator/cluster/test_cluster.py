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
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import yaml

from simulator.cluster.placement import node_of
from simulator.record.layout import RunFolder
from tests.simulator.cluster.played import KEYS, assert_same, ended, played, start
from tests.simulator.main_job import PATIENCE, ROOT, SERVED, children_of, command, without

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
    """Several nodes on this host, the first of which is the head; and the environment of whoever talks to them."""

    jobs: str  # address that jobs are submitted to
    address: str  # that a driver connects to
    environment: dict[str, str]
    processes: list[subprocess.Popen[bytes]]

    def of(self, pid: int) -> int | None:
        """Number of the node that a process belongs to; None if it has ended."""
        return next((n for n, node in enumerate(self.processes) if pid in children_of(node.pid)), None)


def free_ports(number: int) -> list[int]:
    listeners = [socket.create_server(("127.0.0.1", 0)) for _ in range(number)]
    ports = [listener.getsockname()[1] for listener in listeners]
    for listener in listeners:
        listener.close()
    return ports


@contextmanager
def cluster(*cpus: int) -> Iterator[Nodes]:
    """Nodes with so many CPUs each, as long as the block runs."""
    environment = {
        **{key: value for key, value in os.environ.items() if key != "RAY_ADDRESS"},
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": secrets.token_hex(32),
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S": "0",
    }
    gcs, dashboard, *agents = free_ports(2 + len(cpus))
    # Not pytest's folder: the paths of sockets, which lie in it, have 107 characters at most.
    temporary = Path(tempfile.mkdtemp(prefix="ray-"))
    head = ["--head", f"--port={gcs}", f"--dashboard-port={dashboard}", f"--temp-dir={temporary}"]
    address = f"127.0.0.1:{gcs}"
    processes: list[subprocess.Popen[bytes]] = []
    try:
        for number, some in enumerate(cpus):
            # Its own: the usual one may be that of another Ray on this host, and without it the agent takes no jobs.
            agent = f"--dashboard-agent-listen-port={agents[number]}"
            options = [f"--num-cpus={some}", agent, *([f"--address={address}"] if number else head)]
            quiet = subprocess.DEVNULL
            node = [str(RAY), "start", "--block", *options]
            processes.append(
                subprocess.Popen(node, env=environment, start_new_session=True, stdout=quiet, stderr=quiet)
            )
            known = sum(cpus[: number + 1])
            wait_for_status(address, f"/{known}.0 CPU" if known else "Active:", environment)
        yield Nodes(f"http://127.0.0.1:{dashboard}", address, environment, processes)
    finally:
        for process in reversed(processes):
            with suppress(ProcessLookupError):
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
def test_a_submitted_job_runs_the_main_job_from_the_head_on_another_node(tmp_path: Path) -> None:
    few = [*without("finetune", "finetune_edk", "rim"), "stream.world.periods=2"]
    _, *words = command(tmp_path, *SERVED, *few, "train.workers=2", "train.max_failures=0")
    with cluster(0, 2) as nodes:
        submit = [str(RAY), "job", "submit", f"--address={nodes.jobs}", "--working-dir=.", "--", sys.executable, *words]
        done = subprocess.run(
            submit, env=nodes.environment, cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE, check=False
        )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    results = pq.read_table(tmp_path / "runs" / "small" / "results.parquet").to_pylist()
    assert {row["metric"] for row in results} >= {"auc", "latency_p99_ms", "train_seconds"}
    assert (tmp_path / "runs" / "small" / "report.html").is_file()


@pytest.mark.slow
def test_groups_play_on_both_nodes_and_end_with_the_same_bits_if_one_of_them_dies(tmp_path: Path) -> None:
    folder, other = tmp_path / "two", tmp_path / "undisturbed"
    folder.mkdir()
    other.mkdir()
    with cluster(2, 2) as nodes:
        environment = {**nodes.environment, "RAY_ADDRESS": nodes.address}
        (folder / "hold").touch()
        driver = start(folder, 2, environment=environment)
        try:
            first = workers_of(folder, 2)
            assert {nodes.of(pid) for pid in first} == {0, 1}
            (folder / "hold").unlink()
            wait_for_any_commit(RunFolder(folder / "run"))
            for pid in children_of(nodes.processes[1].pid):
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        finally:
            code = ended(driver, folder)
        assert code == 0, (folder / "printed").read_text()[-3000:]
        assert len(set(first) & set(workers_of(folder, 2))) == 1, "one of them was started again"
    assert_same(RunFolder(folder / "run"), RunFolder(played(other, 2)))


def wait_for_any_commit(run: RunFolder) -> None:
    deadline = time.monotonic() + PATIENCE
    while max(run.committed(key) for key in KEYS) < 0:
        assert time.monotonic() < deadline, "nobody came to the end of the first period"
        time.sleep(0.01)


def workers_of(folder: Path, number: int) -> list[int]:
    """Process ids of the groups' workers, once all have something to tell."""
    deadline = time.monotonic() + PATIENCE
    while len(files := sorted(folder.glob("worker-*"))) < number:
        assert time.monotonic() < deadline, f"{number} groups did not come up"
        time.sleep(0.02)
    return [int(file.read_text()) for file in files]


def test_groups_are_dealt_out_to_nodes_by_what_these_have() -> None:
    def dealt(groups: int, workers: int, **has: float) -> list[str | None]:
        return [node_of(group, has, workers) for group in range(groups)]

    assert dealt(3, 1, a=8) == [None] * 3, "nothing to choose"
    assert dealt(4, 1, a=2, b=2) == ["a", "b", "a", "b"]
    assert dealt(2, 1, head=0, a=1, b=1) == ["a", "b"]
    assert Counter(dealt(8, 1, a=6, b=2)) == {"a": 6, "b": 2}
    assert Counter(dealt(4, 2, a=6, b=2)) == {"a": 3, "b": 1}
    assert Counter(dealt(16, 1, a=6, b=2)) == {"a": 12, "b": 4}, "more groups than cores"
    assert dealt(2, 3, a=2, b=3) == ["b", "b"], "a whole group on one node"
    assert dealt(1, 4, a=2, b=3) == [None], "no node has room"
    assert dealt(2, 1) == [None] * 2
