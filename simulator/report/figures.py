"""The figures of the report, each an SVG element as text; the same numbers give the same bytes."""

from __future__ import annotations

import io
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.typing import LineStyleType, RcKeyType

from simulator.record.predictions import BEST_ATTAINABLE
from simulator.report.numbers import Numbers, average
from simulator.report.words import DASH

# Okabe and Ito (2008): told apart with any colour vision; the markers differ as well, and 8 x 9 arms have a pair each
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#6B4C9A", "#4D4D4D")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*", "<")
INK, QUIET, FAINT = "#3b4252", "#808792", "#c9ced6"
DASHED = (0, (4, 2))
DASHES: tuple[LineStyleType, ...] = ((0, (6, 2)), (0, (2, 1.5)), (0, (6, 2, 2, 2)))
SHADES = mpl.colormaps["YlGnBu"].resampled(32)  # few enough for the scale to be drawn as vectors
MOST_PRINTED = 16  # periods in a heat map whose cells have room for their number
MOST_SHADED = 4  # arms whose intervals can be told apart where they overlap
STYLE: dict[RcKeyType, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "report",
    "text.parse_math": False,
    "font.family": "sans-serif",
    "font.size": 9,
    "axes.edgecolor": FAINT,
    "axes.labelcolor": INK,
    "axes.titlesize": 9.5,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#eceff3",
    "axes.axisbelow": True,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "legend.frameon": False,
}


def colour(numbers: Numbers, arm: str) -> str:
    """Choose the colour of an arm in every figure and table; yardsticks are grey."""
    if arm in numbers.yardsticks:
        return QUIET
    return COLOURS[numbers.arms.index(arm) % len(COLOURS)]


def auc_over_periods(numbers: Numbers) -> str:
    """Draw the prequential AUC of each arm and period, with intervals for few arms; empty for less than two."""
    if len(numbers.periods) < 2 or not _has_auc(numbers):
        return ""
    with canvas(11.2, 4.0) as (figure, svg):
        axes = figure.subplots()
        if numbers.has_best_attainable:
            x, middle, _, _ = _series(numbers, "auc", BEST_ATTAINABLE)
            axes.plot(x, middle, color=INK, linestyle=DASHED, linewidth=1.4, label="best attainable")
        for name in numbers.yardsticks:
            x, middle, _, _ = _series(numbers, "auc", name)
            style = _dashes(numbers, name)
            axes.plot(x, middle, color=QUIET, linestyle=style, linewidth=1.2, label=f"{name} (yardstick)")
        for arm in numbers.arms:
            x, middle, low, high = _series(numbers, "auc", arm)
            if len(numbers.arms) <= MOST_SHADED:
                axes.fill_between(x, low, high, color=colour(numbers, arm), alpha=0.13, linewidth=0)
            _line(axes, numbers, arm, x, middle, label=arm)
        _period_axis(axes, numbers)
        axes.set_ylabel("prequential AUC")
        figure.legend(loc="outside lower center", ncols=min(6, len(numbers.arms) + len(numbers.yardsticks) + 1))
    return svg.getvalue()


def headline(numbers: Numbers) -> str:
    """Draw each arm's AUC over the whole run with its 95 % interval, best first; a hollow point is a seed.

    Yardsticks stand below, with a line through all arms. Empty where no AUC is defined.
    """
    if not _has_auc(numbers):
        return ""
    arms = [*numbers.ranked, *numbers.yardsticks]
    with canvas(11.2, 0.9 + 0.3 * len(arms)) as (figure, svg):
        axes = figure.subplots()
        for place, arm in enumerate(arms):
            value, own = numbers.mean("auc_prequential", arm), colour(numbers, arm)
            if value.value is None:
                continue
            if value.low is not None and value.high is not None:
                axes.plot([value.low, value.high], [place, place], color=own, linewidth=2.2, alpha=0.55)
            if arm in numbers.yardsticks:
                axes.axvline(value.value, color=QUIET, linestyle=_dashes(numbers, arm), linewidth=1.1)
            axes.plot([value.value], [place], color=own, marker=marker_of(numbers, arm), markersize=6)
            seeds = [row["value"] for row in numbers.rows("auc_prequential", arm)]
            if len(seeds) > 1:
                beside = [place + 0.26] * len(seeds)
                axes.plot(seeds, beside, color=own, marker="o", markersize=4, fillstyle="none", linestyle="none")
        axes.set_yticks(range(len(arms)), arms)
        axes.set_ylim(len(arms) - 0.5, -0.5)
        axes.tick_params(axis="y", length=0)
        axes.set_xlabel(numbers.headline)
    return svg.getvalue()


def gain_over_periods(numbers: Numbers) -> str:
    """Draw what knowledge changed in each period's AUC, with DeLong's 95 % interval; empty where there is none."""
    arms = [arm for arm in numbers.arms if numbers.reference(arm) and numbers.rows("auc_difference", arm)]
    if not arms or len(numbers.periods) < 2 or not _has_auc(numbers):
        return ""
    with canvas(11.2, 2.9) as (figure, svg):
        axes = figure.subplots()
        axes.axhline(0, color=QUIET, linewidth=1)
        for place, arm in enumerate(arms):
            x, middle, low, high = _series(numbers, "auc_difference", arm)
            beside = np.asarray(x) + 0.12 * (place - (len(arms) - 1) / 2)
            axes.errorbar(
                beside,
                middle,
                yerr=[np.subtract(middle, low), np.subtract(high, middle)],
                color=colour(numbers, arm),
                marker=marker_of(numbers, arm),
                markersize=4.5,
                linestyle="none",
                elinewidth=1.4,
                label=f"{arm} minus {numbers.rows('auc_difference', arm)[0]['of']}",
            )
        _period_axis(axes, numbers)
        axes.set_ylabel("difference of AUC")
        figure.legend(loc="outside lower center", ncols=min(3, len(arms)))
    return svg.getvalue()


def gap_closed_over_periods(numbers: Numbers) -> str:
    """Draw by period how much of its gap each arm closes, where there is one; empty where there is none."""
    periods = _shown(numbers)
    shares = {a: [numbers.mean("auc_gap_closed", a, evaluated_on=p).value for p in periods] for a in numbers.arms}
    if not (arms := [a for a in numbers.arms if any(v is not None for v in shares[a])]) or len(periods) < 2:
        return ""
    with canvas(11.2, 2.9) as (figure, svg):
        axes = figure.subplots()
        for arm in arms:
            y = (100 * np.array(shares[arm], dtype=float)).tolist()
            _line(axes, numbers, arm, periods, y, label=f"{arm}, to {numbers.goal(arm)}")
        _period_axis(axes, numbers)
        axes.set_ylabel("gap closed, %")
        figure.legend(loc="outside lower center", ncols=min(3, len(arms)))
    return svg.getvalue()


def forgetting_matrix(numbers: Numbers, arm: str) -> str:
    """Draw R[i, j] of one arm as a heat map; all arms share one scale."""
    size = 1 + max(numbers.periods)
    cells = np.full((size, size), np.nan)
    for i in range(size):
        for j in range(min(i + 2, size)):
            value = numbers.mean("auc", arm, holdout=True, trained_through=i, evaluated_on=j).value
            cells[i, j] = np.nan if value is None else value
    low, high = _scale(numbers)
    with canvas(5.5, 5.0) as (figure, svg):
        axes = figure.subplots()
        mesh = axes.pcolormesh(cells, cmap=SHADES, vmin=low, vmax=high, edgecolors="white", linewidth=0.8)
        for i in range(size):
            if not math.isnan(cells[i, i]):
                axes.add_patch(Rectangle((i, i), 1, 1, fill=False, edgecolor=INK, linewidth=1.1))
            for j in range(min(i + 2, size)):
                red, green, blue, _ = mesh.to_rgba(cells[i, j])
                bright = 0.299 * red + 0.587 * green + 0.114 * blue > 0.55
                _print(axes, i, j, cells[i, j], size, INK if bright or math.isnan(cells[i, j]) else "white")
        axes.set_aspect("equal")
        axes.invert_yaxis()
        axes.grid(visible=False)
        axes.spines[:].set_visible(False)
        axes.tick_params(length=0)
        ticks = range(0, size, math.ceil(size / MOST_PRINTED))
        axes.set_xticks([t + 0.5 for t in ticks], [str(t) for t in ticks])
        axes.set_yticks([t + 0.5 for t in ticks], [str(t) for t in ticks])
        axes.set_xlabel("evaluated on the holdout of period j")
        axes.set_ylabel("trained through period i")
        axes.set_title(arm, color=colour(numbers, arm), fontweight="bold", fontsize=11)
        bar = figure.colorbar(mesh, ax=axes, shrink=0.75, pad=0.02)
        bar.outline.set_visible(False)
    return svg.getvalue()


def latency_curve(numbers: Numbers, slo_ms: float | None) -> str:
    """Draw median and 99th percentile of latency against the offered rate; empty where nothing was served."""
    if not numbers.rates():
        return ""
    with canvas(11.2, 3.6) as (figure, svg):
        panels: Sequence[Axes] = figure.subplots(1, 2, sharey=True)
        for axes, quantile, title in zip(panels, ("p50", "p99"), ("median, p50", "tail, p99"), strict=True):
            for arm in numbers.arms:
                rates = numbers.rates(arm)
                values = [numbers.latency(f"latency_{quantile}_ms", arm, rate).value for rate in rates]
                y = [math.nan if value is None else value for value in values]
                _line(axes, numbers, arm, rates, y, label=arm if quantile == "p50" else None)
            if slo_ms is not None and quantile == "p99":
                axes.axhline(slo_ms, color=QUIET, linestyle=DASHED, linewidth=1.2, label="objective")
            axes.set_yscale("log")
            axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
            axes.yaxis.set_minor_formatter(lambda value, _: f"{value:g}" if f"{value:g}"[0] in "25" else "")
            axes.set_xticks(numbers.rates(), [f"{rate:g}" for rate in numbers.rates()])
            axes.set_xlabel("offered requests/s")
            axes.set_title(title)
        panels[0].set_ylabel("latency, ms")
        figure.legend(loc="outside lower center", ncols=min(6, len(numbers.arms) + 1))
    return svg.getvalue()


@contextmanager
def canvas(width: float, height: float) -> Iterator[tuple[Figure, io.StringIO]]:
    """A figure of so many inches; its <svg> element is in the stream once the block has ended."""
    svg = io.StringIO()
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(width, height), layout="constrained")
        yield figure, svg
        written = io.StringIO()
        nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
        figure.savefig(written, format="svg", metadata=nothing, transparent=True)
    text = written.getvalue()
    svg.write(text[text.index("<svg") :])


def _series(numbers: Numbers, metric: str, arm: str) -> tuple[list[int], list[float], list[float], list[float]]:
    """Periods, values and bounds of a prequential metric; nan where there is none."""
    periods = _shown(numbers)
    values = [average(numbers.rows(metric, arm, holdout=False, evaluated_on=period)) for period in periods]

    def numeric(column: list[float | None]) -> list[float]:
        return [math.nan if number is None else number for number in column]

    middle, low, high = (numeric([getattr(v, of) for v in values]) for of in ("value", "low", "high"))
    return periods, middle, low, high


def _line(axes: Axes, numbers: Numbers, arm: str, x: Sequence[float], y: Sequence[float], *, label: str | None) -> None:
    own, marker = colour(numbers, arm), marker_of(numbers, arm)
    style = "-" if numbers.arms.index(arm) < len(COLOURS) else ":"
    axes.plot(x, y, color=own, marker=marker, markersize=4.5, linewidth=1.6, linestyle=style, label=label)


def _dashes(numbers: Numbers, name: str) -> LineStyleType:
    """Choose how a yardstick's line is broken, since all are grey."""
    return DASHES[numbers.yardsticks.index(name) % len(DASHES)]


def marker_of(numbers: Numbers, arm: str) -> str:
    return "|" if arm in numbers.yardsticks else MARKERS[numbers.arms.index(arm) % len(MARKERS)]


def _period_axis(axes: Axes, numbers: Numbers) -> None:
    axes.set_xlabel("period")
    periods = _shown(numbers)
    axes.set_xticks(periods[:: math.ceil(len(periods) / 31)])
    axes.set_xlim(periods[0] - 0.3, periods[-1] + 0.3)


def _has_auc(numbers: Numbers) -> bool:
    """Whether any AUC is defined: with clicks alone, or none, there is nothing to draw."""
    return any(row["value"] is not None for row in numbers.rows("auc", holdout=False))


def _shown(numbers: Numbers) -> list[int]:
    """The periods that count: before, nothing had been learned yet."""
    return numbers.counted or numbers.periods


def _scale(numbers: Numbers) -> tuple[float, float]:
    """From the lowest to the highest AUC on a holdout of any model that has learned something."""
    rows = [row for arm in numbers.arms for row in numbers.rows("auc", arm, holdout=True)]
    values = [
        row["value"] for row in rows if row["value"] is not None and row["trained_through"] >= numbers.counted_from - 1
    ]
    return (min(values), max(values)) if values else (0.5, 1.0)


def _print(axes: Axes, i: int, j: int, value: float, size: int, ink: str) -> None:
    if size > MOST_PRINTED:
        return
    text = DASH if math.isnan(value) else f"{value:.3f}".removeprefix("0")
    axes.text(
        j + 0.5,
        i + 0.5,
        text,
        ha="center",
        va="center",
        fontsize=9.5 if size <= 10 else 7,
        color=ink,
        fontstyle="italic" if j > i else "normal",
        in_layout=False,
    )
