"""Ray for the length of a run: a quiet one of this machine's own, or an existing cluster."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import ray

from simulator.cluster.cores import allowed_cores

OBJECT_STORE_BYTES = 2**29  # blocks of the replay on their way; Ray's own default is a third of the memory


@contextlib.contextmanager
def ray_session(address: str | None) -> Iterator[None]:
    """Ray for the block: the cluster at `address` (or of the Ray job this is), else one of this machine's own."""
    address = address or os.environ.get("RAY_ADDRESS")
    os.environ.setdefault("RAY_TRAIN_ENABLE_PRINT_PATCH", "0")
    # Threads that spin while they wait take the core from the thread they wait for as soon as anything else runs.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    # Memory that a step frees, the next one wants again; asking the system for it anew costs page faults.
    os.environ.setdefault("MALLOC_MMAP_THRESHOLD_", str(2**25))
    os.environ.setdefault("MALLOC_TRIM_THRESHOLD_", str(2**29))
    # Contenders that are served share cores, so more processes start than Ray expects; it would warn of them.
    os.environ.setdefault("RAY_worker_maximum_startup_concurrency", "8")
    ray.init(
        address=address or "local",
        logging_level=logging.ERROR,
        log_to_driver=False,
        include_dashboard=False if address is None else None,
        num_cpus=max(2, allowed_cores()) if address is None else None,  # with one, reads would wait for ever
        object_store_memory=OBJECT_STORE_BYTES if address is None else None,
    )
    _private_token()
    try:
        yield
    finally:
        ray.shutdown()


def _private_token() -> None:
    """Ray writes its access token readable to everybody; make it the owner's alone."""
    token = Path.home() / ".ray" / "auth_token"
    if token.exists() and sys.platform != "win32":
        token.chmod(0o600)
