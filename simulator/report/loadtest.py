"""What a load test found: the terminal's table, the report's, and its two figures."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import groupby
from statistics import median

from matplotlib.axes import Axes
from rich import box
from rich.table import Table
from rich.text import Text

from simulator.record.loadtest import ArmUnderLoad, LoadTest, Offered, Spread
from simulator.report.figures import DASHED, INK, QUIET, canvas, colour, marker_of
from simulator.report.numbers import Numbers
from simulator.report.sheets import Cell, Line, Sheet
from simulator.report.words import DASH, count, fixed, size

Costs = tuple[float, float, float]  # of each, less is better
LARGEST_MARK, SMALLEST_MARK = (
    900.0,
    40.0,
)  # points², of the arm that holds the most bytes, and of those with next to none


def table(test: LoadTest) -> Table:
    """Show a row per arm: the rate that it sustains, and its latency at the common rate."""
    equal = "" if test.equal_rate is None else f", {test.equal_rate:.1f}/s"
    shown = Table(
        title=Text(f"load test of {test.target}", style="bold"),
        title_justify="left",
        box=box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
        caption=_caption(test),
        caption_justify="left",
        show_edge=False,
    )
    shown.add_column("arm", overflow="fold", min_width=12)
    for header in (
        f"requests/s with\np99 ≤ {test.settings['bound_ms']:g} ms, 95 %",
        f"p50 ms{equal}\n95 %",
        "p99 ms\n95 %",
        "p99.9\nmax",
        "failed",
    ):
        shown.add_column(header, justify="right", no_wrap=True)
    for arm in test.arms:
        cells = [f"{cell.text}\n{cell.below}" for cell in _latency(arm)]
        shown.add_row(arm.arm, *cells, f"{count(arm.failed)}\nof {count(arm.sent)}")
    return shown


def sheet(test: LoadTest, numbers: Numbers) -> Sheet:
    """List what each arm tells, what it costs to ask it, and who is on the front of the two and of bytes."""
    front = pareto(points(test, numbers))
    made = Sheet(
        headers=[
            "arm",
            "AUC",
            "requests/s within the bound",
            "p50 ms",
            "p99 ms",
            "p99.9 ms",
            "failed",
            "memory",
            "front",
        ]
    )
    arms = {arm.arm: arm for arm in test.arms}
    for name in [name for name in numbers.ranked if name in arms]:
        cells = [Cell(text=fixed(numbers.mean("auc_prequential", name).value)), *_latency(arms[name])]
        cells += [Cell(text=count(arms[name].failed), below=f"of {count(arms[name].sent)}")]
        cells += [Cell(text=size(numbers.at_end("memory_bytes", name))), Cell(text="●" if name in front else "")]
        made.lines.append(Line(name=name, colour=colour(numbers, name), cells=cells))
    return made


def latency_over_rate(test: LoadTest, numbers: Numbers) -> str:
    """Draw the median and p99 of every arm against the offered rate, where a rate was offered again their medians."""
    with canvas(11.2, 3.6) as (figure, svg):
        panels: Sequence[Axes] = figure.subplots(1, 2, sharey=True)
        for axes, of, title in zip(panels, ("p50_ms", "p99_ms"), ("median, p50", "tail, p99"), strict=True):
            for arm in _known(test, numbers):
                rates, values = _medians([load for load in test.loads if load.arm == arm.arm], of)
                own, mark = colour(numbers, arm.arm), marker_of(numbers, arm.arm)
                label = arm.arm if of == "p50_ms" else None
                axes.plot(rates, values, color=own, marker=mark, markersize=4, linewidth=1.3, label=label)
            if of == "p99_ms":
                axes.axhline(test.settings["bound_ms"], color=QUIET, linestyle=DASHED, linewidth=1.2, label="bound")
            axes.set_xscale("log")
            axes.set_yscale("log")
            for axis in (axes.xaxis, axes.yaxis):
                axis.set_major_formatter(lambda value, _: f"{value:g}")
                axis.set_minor_formatter(lambda value, _: f"{value:g}" if f"{value:g}"[0] in "25" else "")
            axes.set_xlabel("offered requests/s")
            axes.set_title(title)
        panels[0].set_ylabel("latency, ms")
        figure.legend(loc="outside lower center", ncols=min(6, len(test.arms) + 1))
    return svg.getvalue()


def trade_off(test: LoadTest, numbers: Numbers) -> str:
    """Draw AUC against p99 at the common rate, the area of a mark by bytes, the front ringed; empty without points."""
    found = points(test, numbers)
    if not found:
        return ""
    front, most = pareto(found), max(held for _, _, held in found.values())
    with canvas(11.2, 4.2) as (figure, svg):
        axes = figure.subplots()
        for arm in _known(test, numbers):
            if arm.arm not in found:
                continue
            lost, p99, held = found[arm.arm]
            own, auc = colour(numbers, arm.arm), -lost
            if arm.p99_ms.low is not None and arm.p99_ms.high is not None:
                axes.plot([max(arm.p99_ms.low, 0.0), arm.p99_ms.high], [auc, auc], color=own, linewidth=1.6, alpha=0.6)
            area = max(SMALLEST_MARK, LARGEST_MARK * held / most) if most else SMALLEST_MARK
            ring = INK if arm.arm in front else "none"
            axes.scatter([p99], [auc], s=area, color=own, alpha=0.55, edgecolors=ring, linewidths=1.8)
            axes.annotate(f"{arm.arm}, {size(held)}", (p99, auc), xytext=(8, 6), textcoords="offset points")
        axes.set_xlabel(f"p99 at {test.equal_rate:.1f} requests/s, ms")
        axes.set_ylabel(numbers.headline)
    return svg.getvalue()


def points(test: LoadTest, numbers: Numbers) -> dict[str, Costs]:
    """Of each arm of which all three are known: AUC with the sign changed, p99 at the common rate, bytes."""
    found = {}
    for arm in _known(test, numbers):
        auc, held = numbers.mean("auc_prequential", arm.arm).value, numbers.at_end("memory_bytes", arm.arm)
        if auc is not None and arm.p99_ms.value is not None and held is not None:
            found[arm.arm] = (-auc, arm.p99_ms.value, held)
    return found


def pareto(costs: Mapping[str, Costs]) -> set[str]:
    """Find those that no other one beats in something without losing in anything."""

    def beaten(mine: Costs) -> bool:
        return any(other != mine and all(a <= b for a, b in zip(other, mine, strict=True)) for other in costs.values())

    return {name for name, mine in costs.items() if not beaten(mine)}


def _known(test: LoadTest, numbers: Numbers) -> list[ArmUnderLoad]:
    return [arm for arm in test.arms if arm.arm in numbers.arms]


def _medians(loads: Sequence[Offered], of: str) -> tuple[list[float], list[float]]:
    """Rates, and the median of what was seen at each; nan where it cannot be told."""
    rates, values = [], []
    for rate, same in groupby(sorted(loads, key=lambda load: load.rate), key=lambda load: load.rate):
        rates.append(rate)
        told = median(math.inf if (value := getattr(load, of)) is None else value for load in same)
        values.append(told if math.isfinite(told) else math.nan)
    return rates, values


def _latency(arm: ArmUnderLoad) -> list[Cell]:
    """The rate within the bound, p50, p99, and p99.9 above the maximum."""
    return [
        _interval(arm.sustained),
        _interval(arm.p50_ms),
        _interval(arm.p99_ms),
        Cell(text=fixed(arm.p999_ms, 1), below=f"max {fixed(arm.max_ms, 1)}"),
    ]


def _interval(value: Spread) -> Cell:
    bounds = "" if value.low is None else f"{fixed(value.low, 1)} to {fixed(value.high, 1)}"
    return Cell(text=fixed(value.value, 1), below=bounds)


def _caption(test: LoadTest) -> str:
    repeats, check = test.settings["repeats"], test.self_check
    lines = [f"{repeats} repeats; a server that does nothing: p99 {fixed(check.p99_ms, 2)} ms at {check.rate:.1f}/s"]
    if test.equal_rate is None:
        lines.append(f"{DASH}: no rate at which all keep the bound was found")
    return "\n".join(lines)
