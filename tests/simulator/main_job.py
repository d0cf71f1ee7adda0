"""The main job at a small size, started as a user starts it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
ARMS = (
    *("finetune", "retrain_all", "replay", "finetune_novelty"),
    *("finetune_edk", "finetune_rok", "window", "window_novelty"),
    *("window_edk", "window_rok", "rim", "dert"),
)
ONE_GROUP = ["train.groups=1", "train.threads=1"]  # each further group starts a trainer of its own
SMALL = [
    *ONE_GROUP,
    "stream.source=world",
    "stream.world.periods=4",
    "stream.world.rows_per_period=3000",
    "stream.world.users=300",
    "stream.world.items=100",
    "stream.world.click_rate=0.2",
    "train.batch_size=256",
    "compress.batch_size=256",
    "knowledge.edk.patterns=3",
    "knowledge.edk.depth=1",
    "measure.bootstrap=50",
    "yardsticks=[]",
]
SERVED = ["serve.rates=[20]", "serve.seconds=2", "serve.port=0", "serve.check_rows=200"]
UNSERVED = ["serve.enabled=false"]
TIMED = ("seconds", "per_second", "per_cpu_second", "latency", "qps", "serving", "served", "bytes")  # metrics of costs
PATIENCE = 500  # seconds for a run, beside another one on two cores


def command(folder: Path, *overrides: str, config: str = "configs/stream_eleme.yaml") -> list[str]:
    places = [f"stream.data={folder / 'data'}", f"runs={folder / 'runs'}", "name=small"]
    return [sys.executable, "-m", "simulator", "run", config, *SMALL, *places, *overrides]


def without(*kept: str) -> list[str]:
    """Overrides that leave these arms alone."""
    return [f"~arms.{arm}" for arm in ARMS if arm not in kept]


def play(folder: Path, *overrides: str) -> str:
    """Run to the end; what it printed. Fails if it does not exit 0."""
    done = subprocess.run(
        command(folder, *overrides), cwd=ROOT, text=True, capture_output=True, timeout=PATIENCE, check=False
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-3000:]
    return done.stdout


def children_of(pid: int) -> dict[int, str]:
    """Processes below `pid`, with their titles."""
    listing = subprocess.run(["ps", "-eo", "pid,ppid,args"], capture_output=True, text=True, check=True).stdout
    parents = {int(p): (int(q), title) for p, q, title in (line.split(None, 2) for line in listing.splitlines()[1:])}
    below: dict[int, str] = {}
    for child in parents:
        node = child
        while node in parents and node != pid:
            node = parents[node][0]
        if node == pid:
            below[child] = parents[child][1]
    return below
