"""What a benchmark yields, and the files it goes to.

Each figure is a median over interleaved repeats within one process; ratios are taken repeat by repeat.
"""

from __future__ import annotations

import json
import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from pkb.batch import Batch
from simulator.record.provenance import source_commit

HERE = Path(__file__).parent


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One measurement; `ratio` is what its name says, against the figure named in `against`."""

    name: str
    value: float
    unit: str
    against: str | None = None
    ratio: float | None = None
    repeats: int
    date: str = field(default_factory=lambda: datetime.now(UTC).date().isoformat())
    commit: str | None = field(default_factory=source_commit)


def seconds(action: Callable[[], object]) -> float:
    started = time.perf_counter()
    action()
    return time.perf_counter() - started


def faster(
    name: str,
    ours: Callable[[], object],
    other: Callable[[], object],
    *,
    work: int,
    unit: str,
    against: str,
    repeats: int,
) -> Figure:
    """`ours` and `other` in turns, after one of each to warm up; the ratio is how many times faster ours is."""
    ours(), other()
    pairs = [(seconds(ours), seconds(other)) for _ in range(repeats)]
    return Figure(
        name=name,
        value=work / statistics.median(o for o, _ in pairs),
        unit=unit,
        against=against,
        ratio=statistics.median(t / o for o, t in pairs),
        repeats=repeats,
    )


def in_turns(
    what: str,
    ways: Mapping[str, Callable[[Batch], object]],
    against: str,
    batches: Sequence[Batch],
    *,
    unit: str,
    repeats: int,
    clock: Callable[[], float] = time.process_time,
    faster: bool = False,
) -> list[Figure]:
    """Time what is done with each batch, in ms, all ways in turns, after one of each to warm up.

    The ratio to the way `against` says how many times its time a way takes, or how many times `faster` it is.
    """

    def took(way: Callable[[Batch], object]) -> float:
        since = clock()
        for batch in batches:
            way(batch)
        return 1000 * (clock() - since) / len(batches)

    for way in ways.values():
        took(way)
    times = [{name: took(way) for name, way in ways.items()} for _ in range(repeats)]
    figures = []
    for name in ways:
        shares = [t[against] / t[name] if faster else t[name] / t[against] for t in times]
        figures.append(
            Figure(
                name=f"{what}_{name}",
                value=statistics.median(t[name] for t in times),
                unit=unit,
                against=None if name == against else f"{what}_{against}",
                ratio=None if name == against else statistics.median(shares),
                repeats=repeats,
            )
        )
    return figures


def write(figures: Sequence[Figure]) -> str:
    """Put the figures into results.json and results.md, in place of former ones of their names; the table."""
    file = HERE / "results.json"
    former = json.loads(file.read_text(encoding="utf-8"))["results"] if file.exists() else []
    names = {f.name for f in figures}
    results = [*(r for r in former if r["name"] not in names), *map(asdict, figures)]
    written = {
        "date": datetime.now(UTC).date().isoformat(),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "commit": source_commit(),
        "results": results,
    }
    file.write_text(json.dumps(written, indent=1) + "\n", encoding="utf-8")
    lines = ["| name | value | unit | against | ratio | repeats | date |", "|---|---|---|---|---|---|---|"]
    for r in results:
        ratio = "" if r["ratio"] is None else f"{r['ratio']:.2f}"
        cells = (r["name"], f"{r['value']:,.4g}", r["unit"], r["against"] or "", ratio, r["repeats"], r.get("date", ""))
        lines.append(f"| {' | '.join(map(str, cells))} |")
    table = "\n".join(lines) + "\n"
    (HERE / "results.md").write_text(f"By `make bench`, on {written['machine']}.\n\n{table}", encoding="utf-8")
    return table
