"""Ray for the length of a run: a quiet one of this machine's own, or an existing cluster."""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from secrets import token_hex

import ray
from ray._private import auto_init_hook, ray_constants, services

from pkb.cores import allowed_cores
from pkb.errors import RunError

OBJECT_STORE_BYTES = 2**29  # blocks of the replay on their way; Ray's own default is a third of the memory
ANSWER_SECONDS = 5  # patience with a port ...
CLUSTER_SECONDS = 30  # ... and with the cluster behind it; Ray itself would wait for a quarter of an hour


@contextlib.contextmanager
def ray_session(address: str | None) -> Iterator[None]:
    """Ray for the block: the cluster at `address` (or of the Ray job this is), else one of this machine's own.

    RunError if it does not start, or does not answer.
    """
    address = address or os.environ.get("RAY_ADDRESS") or "local"
    local = address == "local"
    os.environ.setdefault("RAY_TRAIN_ENABLE_PRINT_PATCH", "0")
    # Threads that spin while they wait take the core from the thread they wait for as soon as anything else runs.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    # Memory that a step frees, the next one wants again; asking the system for it anew costs page faults.
    os.environ.setdefault("MALLOC_MMAP_THRESHOLD_", str(2**25))
    os.environ.setdefault("MALLOC_TRIM_THRESHOLD_", str(2**29))
    # Contenders that are served share cores, so more processes start than Ray expects; it would warn of them.
    os.environ.setdefault("RAY_worker_maximum_startup_concurrency", "8")
    # A group's thread may outlive an interrupted session; what it asks of Ray would start another one.
    auto_init_hook.enable_auto_connect = False
    if local:
        # Replicas of Ray Serve listen themselves, on the host that its proxy listens on: through the proxy a request
        # takes four times the processor's time. They end at once, as no balancer has to learn of it first.
        os.environ.setdefault("RAY_SERVE_ENABLE_DIRECT_INGRESS", "1")
        os.environ.setdefault("RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S", "0")
        os.environ.setdefault("RAY_SERVE_RUN_USER_CODE_IN_SEPARATE_THREAD", "0")  # to hand over costs 1.3 ms a request
        # Each group would have one more process, which asks whether its nodes are about to be taken away.
        os.environ.setdefault("RAY_TRAIN_ENABLE_PREEMPTION_WATCHER", "0")
        ray_constants.RAY_ENABLE_UV_RUN_RUNTIME_ENV = False  # under `uv run` Ray would pack the folder for its workers
        _need_no_home()
    try:
        try:
            if not local:
                _check_answers(address)
            ray.init(
                address=address,
                logging_level=logging.ERROR,
                log_to_driver=False,
                include_dashboard=False if local else None,
                num_cpus=max(2, allowed_cores()) if local else None,  # with one, reads would wait for ever
                object_store_memory=OBJECT_STORE_BYTES if local else None,
            )
        except RunError:
            raise
        except Exception as error:
            raise RunError(_did_not_start(address, error)) from error
        _private_token()
        yield
    finally:
        ray.shutdown()


def _check_answers(address: str) -> None:
    """RunError unless a Ray cluster answers there, soon."""
    remedy = "start the cluster, give its --address (or RAY_ADDRESS), or leave both out to play on this machine alone"
    try:
        found = address.removeprefix("ray://") if "://" in address else services.canonicalize_bootstrap_address(address)
        if found is None:
            raise ConnectionError("no cluster of this machine is known")
        host, _, port = found.rpartition(":")
        with socket.create_connection((host.strip("[]"), int(port)), timeout=ANSWER_SECONDS):
            pass
        if "://" not in address:
            code = "import ray, sys; ray._raylet.GcsClient(address=sys.argv[1])"
            words = [sys.executable, "-c", code, found]
            subprocess.run(words, check=True, capture_output=True, timeout=CLUSTER_SECONDS)
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired):
        raise RunError(f"Ray cluster {address}: what listens there does not answer as one; {remedy}") from None
    except (OSError, ValueError) as error:
        told = " ".join(str(error).split())
        raise RunError(f"Ray cluster {address}: nothing answers there ({told[:200]}); {remedy}") from None


def _did_not_start(address: str, error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [""]
    what = f"Ray did not start: {type(error).__name__}: {lines[0][:300]}"
    if address != "local":
        return f"{what}; look at the cluster {address}"
    folder = Path(os.environ.get("RAY_TMPDIR") or os.environ.get("TMPDIR") or "/tmp") / "ray"
    return f"{what}; it works in {folder}: set RAY_TMPDIR to a folder with a short name that is yours to write in"


def _home() -> Path:
    return Path(os.path.expanduser("~"))  # noqa: PTH111  there may be none, which is no error here


def _need_no_home() -> None:
    """Keep Ray's access token in the environment alone where there is no home folder to write it to."""
    try:
        (_home() / ".ray").mkdir(exist_ok=True)  # as Ray would; permissions alone do not tell, /proc has those to write
    except OSError:
        os.environ.setdefault("RAY_AUTH_TOKEN", token_hex(32))


def _private_token() -> None:
    """Ray writes its access token readable to everybody; make it the owner's alone."""
    token = _home() / ".ray" / "auth_token"
    with contextlib.suppress(OSError):  # there is none, or it is not ours
        if sys.platform != "win32":
            token.chmod(0o600)
