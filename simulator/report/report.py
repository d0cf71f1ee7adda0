"""The report of a run: one HTML file that opens without a network."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from pkb.errors import RunError
from simulator.files import write_text
from simulator.measure import stored
from simulator.measure.evaluate import controls
from simulator.report import figures, sheets
from simulator.report.numbers import Numbers
from simulator.report.verdict import mixed_code, verdict
from simulator.report.words import count, percent
from simulator.settings import Settings


def write_report(run: Path, settings: Settings) -> Path:
    """Write `report.html` from the run's `results.parquet`; RunError where it has not been evaluated yet."""
    results = run / "results.parquet"
    if not results.exists():
        raise RunError(f"{run}: holds no results.parquet; evaluate the run before reporting on it")
    numbers = Numbers(pq.read_table(results))
    costs, served = stored.costs(run), stored.serving(run)
    slo_ms = served["slo_ms"] if served else None
    config = run / "config.yaml"
    pages = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    text = pages.get_template("report.html").render(
        numbers=numbers,
        findings=[*mixed_code(costs), *verdict(numbers, controls(settings))],
        tiles=tiles(numbers, costs),
        span=span(costs, settings),
        holdout=percent(settings.stream.holdout_share, 0),
        sheets={
            "contenders": sheets.contenders(numbers, settings.arms),
            "periods": sheets.periods(costs, settings),
            "quality": sheets.quality(numbers),
            "gains": sheets.gains(numbers),
            "new": sheets.slices(numbers, sheets.NEW),
            "activity": sheets.slices(numbers, numbers.slices("activity_")),
            "scenarios": sheets.slices(numbers, numbers.slices("scenario=")) if numbers.slices("scenario=") else None,
            "continual": sheets.continual(numbers),
            "costs": sheets.costs(numbers),
            "imitation": sheets.imitation(numbers),
            "serving": sheets.serving(numbers),
        },
        figures={
            "headline": Markup(figures.headline(numbers)),
            "auc": Markup(figures.auc_over_periods(numbers)),
            "gain": Markup(figures.gain_over_periods(numbers)),
            "matrices": [
                Markup(figures.forgetting_matrix(numbers, arm)) for arm in numbers.arms if numbers.has_holdouts
            ],
            "latency": Markup(figures.latency_curve(numbers, slo_ms)),
        },
        shaded=len(numbers.arms) <= figures.MOST_SHADED,
        served=served,
        environment=flat(stored.environment(run)),
        config=config.read_text() if config.exists() else "",
    )
    page = run / "report.html"
    write_text(page, text)
    return page


def tiles(numbers: Numbers, costs: list[dict[str, Any]]) -> dict[str, str]:
    """The few figures at the top of the page."""
    rows = sum(period["rows"] for period in costs)
    clicks = sum(period["positives"] for period in costs)
    seeds = len(numbers.seeds)
    return {
        "periods": count(len(costs)),
        "impressions": count(rows),
        "click rate": percent(clicks / rows) if rows else percent(None),
        "arms": count(len(numbers.arms)) + (f" × {seeds} seeds" if seeds > 1 else ""),
    }


def span(costs: list[dict[str, Any]], settings: Settings) -> str:
    """From the first period's start to the last one's end."""
    if not costs:
        return ""
    offset = settings.stream.utc_offset_hours
    clock = f"UTC{offset:+d}" if offset else "UTC"
    return f"{sheets.moment(costs[0]['start'], settings)} to {sheets.moment(costs[-1]['end'], settings)} {clock}"


def flat(content: dict[str, Any], prefix: str = "") -> dict[str, str]:
    """Nested keys joined by dots."""
    lines: dict[str, str] = {}
    for key, value in content.items():
        lines |= flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": f"{value}"}
    return lines
