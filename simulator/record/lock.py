"""A run's folder belongs to one process at a time (`in_use`): a second start is told whose it is.

The kernel lets go of the lock when the process ends, however it ends, so a killed run can be started again.
"""

from __future__ import annotations

import fcntl
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from pkb.errors import RunError
from simulator.record.layout import RunFolder

PATIENCE_SECONDS = 1.0  # whoever only asks holds a lock for a moment, too
POLL_SECONDS = 0.05


@contextmanager
def held(run: RunFolder) -> Iterator[None]:
    """Hold a run's folder for as long as the block lasts; RunError says who holds it already."""
    run.path.mkdir(parents=True, exist_ok=True)
    handle = os.open(run.in_use, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        since = time.monotonic()
        while not _locks(handle, fcntl.LOCK_EX, run.in_use):
            if time.monotonic() - since > PATIENCE_SECONDS:
                raise RunError(
                    f"{run}: is in use by {_holder(handle)}; wait until that one is done, or choose another name=..."
                )
            time.sleep(POLL_SECONDS)
        now = datetime.now(UTC).isoformat(sep=" ", timespec="seconds")
        os.ftruncate(handle, 0)
        os.pwrite(handle, f"process {os.getpid()} on {socket.gethostname()} since {now}".encode(), 0)
        yield
    finally:
        os.close(handle)


def user_of(run: RunFolder) -> str | None:
    """Say who plays a run at this moment; None if nobody does."""
    if not run.in_use.exists():
        return None
    handle = os.open(run.in_use, os.O_RDONLY)
    try:
        return None if _locks(handle, fcntl.LOCK_SH, run.in_use) else _holder(handle)
    finally:
        os.close(handle)


def _locks(handle: int, kind: int, file: Path) -> bool:
    """Lock the file, unless somebody else has; it stays locked until the handle is closed."""
    try:
        fcntl.flock(handle, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        raise RunError(
            f"{file}: cannot be locked ({error.strerror}); set runs=... to a disk that knows locks"
        ) from None
    return True


def _holder(handle: int) -> str:
    return os.pread(handle, 1_000, 0).decode(errors="replace") or "another process"
