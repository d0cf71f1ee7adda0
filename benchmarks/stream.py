"""How fast a log is ingested and replayed, against a raw scan of the same files, and what memory that takes."""

from __future__ import annotations

import os
import statistics
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.dataset as ds

from benchmarks.figures import Figure, seconds
from simulator.cluster.session import ray_session
from simulator.stream.ingest import ingest
from simulator.stream.log import Log, to_batch
from simulator.stream.replay import replay
from simulator.stream.settings import IngestSettings, StreamSettings
from simulator.stream.world_settings import WorldSettings

PERIOD_ROWS = 1_000_000
LEARNING = 1.0  # seconds that a period is taken to be at work; no model here learns a million rows so fast
READ_ROWS = 65_536  # of the raw scan


def stream(rows: int = 20_000_000, repeats: int = 3) -> list[Figure]:
    """Of a synthetic world of so many rows, in periods of a million: rates, the gap between periods, peak memory."""
    with tempfile.TemporaryDirectory() as folder, watched() as memory:
        log, spent = ingested(Path(folder), rows)
        figures = [Figure(name="ingest", value=rows / spent, unit="rows/s", repeats=1)]
        with ray_session(None):
            figures += replayed(log, rows, repeats)
    peak = max(memory) / 2**30
    return [*figures, Figure(name=f"stream_peak_gib_{rows // 10**6}m", value=peak, unit="GiB", repeats=1)]


def ingested(folder: Path, rows: int) -> tuple[Log, float]:
    """The log of a world, and the seconds that generating and ingesting it took."""
    world = replace(WorldSettings(), periods=rows // PERIOD_ROWS, rows_per_period=PERIOD_ROWS, scale=0.1)
    settings = StreamSettings(data=str(folder), world=world)
    started = time.perf_counter()
    return ingest(settings, IngestSettings(), print), time.perf_counter() - started


def replayed(log: Log, rows: int, repeats: int) -> list[Figure]:
    """A raw scan into tensors and the replay, in turns."""
    pairs = [(seconds(lambda: scan(log)), seconds(lambda: play(log))) for _ in range(repeats)]
    gaps = play(log, at_work=LEARNING)
    return [
        Figure(name="scan", value=rows / statistics.median(s for s, _ in pairs), unit="rows/s", repeats=repeats),
        Figure(
            name="replay_vs_scan",
            value=rows / statistics.median(r for _, r in pairs),
            unit="rows/s",
            against="scan",
            ratio=statistics.median(s / r for s, r in pairs),
            repeats=repeats,
        ),
        Figure(name="period_gap_seconds", value=statistics.median(gaps), unit="s", repeats=len(gaps)),
    ]


def scan(log: Log) -> None:
    columns = log.columns(histories=False)
    files = ds.dataset([str(log.path(p)) for p in log.periods], partitioning=None)
    for batch in files.to_batches(columns=columns, batch_size=READ_ROWS):
        to_batch(pa.Table.from_batches([batch]), log.schema)


def play(log: Log, at_work: float = 0.0) -> list[float]:
    """A replay whose every period is at work for so long; how long each but the first had to be waited for."""
    gaps: list[float] = []
    replayed = replay(log)
    next(replayed)
    while True:
        time.sleep(at_work)
        started = time.perf_counter()
        if next(replayed, None) is None:
            return gaps
        gaps.append(time.perf_counter() - started)


@contextmanager
def watched() -> Iterator[list[int]]:
    """Bytes that this process and all below it hold, taken twice a second; pages that several share count once."""
    samples, done = [held()], threading.Event()

    def watch() -> None:
        while not done.wait(0.5):
            samples.append(held())

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield samples
    finally:
        done.set()
        watcher.join()


def held() -> int:
    """The sum of proportional set sizes below this process, Ray's object store included."""
    parents = {int(p.name): _parent(p) for p in Path("/proc").iterdir() if p.name.isdigit()}
    mine, total = {os.getpid()}, 0
    for pid in sorted(parents):
        if parents[pid] in mine:
            mine.add(pid)
    for pid in mine:
        try:
            for line in Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="utf-8").splitlines():
                if line.startswith("Pss:"):
                    total += int(line.split()[1]) * 1024
        except OSError:  # it has ended meanwhile
            continue
    return total


def _parent(process: Path) -> int:
    try:
        return int((process / "stat").read_text(encoding="utf-8").rsplit(")", 1)[1].split()[1])
    except OSError:
        return 0
