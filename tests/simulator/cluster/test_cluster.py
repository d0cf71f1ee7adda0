"""The main job on a cluster: the manifests are what their tools expect, and a Ray job runs on two nodes."""

from __future__ import annotations

import shlex
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import yaml

from simulator.cluster.placement import node_of
from tests.simulator.cluster.nodes import RAY, cluster
from tests.simulator.main_job import PATIENCE, ROOT, SERVED, command, without

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


@pytest.mark.slow
def test_a_submitted_job_runs_the_main_job_from_the_head_on_another_node(tmp_path: Path) -> None:
    few = [*without("finetune", "finetune_edk"), "stream.world.periods=2"]
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
