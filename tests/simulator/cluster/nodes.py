"""Several nodes of a Ray cluster on this host."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from tests.simulator.main_job import PATIENCE, children_of

RAY = Path(sys.executable).with_name("ray")


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
