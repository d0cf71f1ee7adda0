"""The report of a run: one HTML file that opens without a network."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from pkb.errors import RunError
from simulator.config.kinds import flat
from simulator.measure.results import read_results
from simulator.record.costs import PeriodCosts, read_costs
from simulator.record.experiment import read_experiment
from simulator.record.files import write_text
from simulator.record.groups import Groups, read_groups
from simulator.record.layout import RunFolder
from simulator.record.loadtest import read_loadtest
from simulator.record.memory import read_peaks
from simulator.record.provenance import read_environment
from simulator.record.robustness import read_robustness
from simulator.record.serving import read_serving
from simulator.record.tuning import read_tuning
from simulator.report import figures, loadtest, scenarios, sheets
from simulator.report.as_served import as_served
from simulator.report.lessons import lessons
from simulator.report.numbers import Numbers
from simulator.report.recovery import recovery
from simulator.report.tuned import tuned
from simulator.report.verdict import verdict
from simulator.report.words import count, megabytes, percent


def write_report(run: RunFolder) -> Path:
    """Write `report.html` from the run's `results.parquet`; RunError where it has not been evaluated yet."""
    if not run.results.exists():
        raise RunError(f"{run}: holds no results.parquet; evaluate the run before reporting on it")
    numbers = Numbers(read_results(run))
    experiment, served = read_experiment(run), read_serving(run)
    costs = read_costs(run, experiment.keys)
    groups, robustness, tuning = read_groups(run), read_robustness(run), read_tuning(run)
    offset, loaded = experiment.utc_offset_hours, read_loadtest(run)
    pages = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    text = pages.get_template("page.html").render(
        numbers=numbers,
        findings=verdict(numbers, experiment, costs, run.begun(), robustness),
        tiles=tiles(numbers, costs),
        span="in the order of rows, which stands for time" if experiment.by_row else span(costs, offset),
        played=played_in(groups, read_peaks(run)),
        holdout=percent(experiment.holdout_share, 0),
        sheets={
            "contenders": sheets.contenders(numbers, experiment),
            "periods": sheets.periods(costs, offset, by_row=experiment.by_row),
            "quality": sheets.quality(numbers),
            "gains": sheets.gains(numbers, robustness),
            "recovery": recovery(numbers),
            "as_served": as_served(numbers),
            "yardsticks": sheets.yardsticks(numbers),
            "new": sheets.slices(numbers, sheets.NEW),
            "activity": sheets.slices(numbers, numbers.slices("activity_")),
            "scenarios": scenarios.by_scenario(numbers),
            "scenarios_forgotten": scenarios.forgotten(numbers),
            "scenarios_away": scenarios.away(numbers),
            "continual": sheets.continual(numbers),
            "costs": sheets.costs(numbers),
            "lessons": lessons(numbers, costs),
            "tuned": None if tuning is None else tuned(numbers, tuning),
            "imitation": sheets.imitation(numbers),
            "serving": sheets.serving(numbers),
            "load": None if loaded is None else loadtest.sheet(loaded, numbers),
        },
        figures={
            "headline": Markup(figures.headline(numbers)),
            "auc": Markup(figures.auc_over_periods(numbers)),
            "gap": Markup(figures.gap_closed_over_periods(numbers)),
            "gain": Markup(figures.gain_over_periods(numbers)),
            "matrices": [
                Markup(figures.forgetting_matrix(numbers, arm)) for arm in numbers.arms if numbers.has_holdouts
            ],
            "latency": Markup(figures.latency_curve(numbers, served.slo_ms if served else None)),
            "load": "" if loaded is None else Markup(loadtest.latency_over_rate(loaded, numbers)),
            "trade_off": "" if loaded is None else Markup(loadtest.trade_off(loaded, numbers)),
        },
        shaded=len(numbers.arms) <= figures.MOST_SHADED,
        served=served,
        staleness=experiment.staleness,
        loaded=loaded,
        tuning=tuning,
        environment=flat(read_environment(run) | ({"groups": groups.chosen} if groups else {})),
        config=run.config.read_text(encoding="utf-8", errors="replace") if run.config.exists() else "",
    )
    write_text(run.report, text)
    return run.report


def tiles(numbers: Numbers, costs: Sequence[PeriodCosts]) -> dict[str, str]:
    """Choose the few figures at the top of the page."""
    rows = sum(period.rows for period in costs)
    clicks = sum(period.positives for period in costs)
    seeds = len(numbers.seeds)
    return {
        "periods": count(len(costs)),
        "impressions": count(rows),
        "click rate": percent(clicks / rows) if rows else percent(None),
        "arms": count(len(numbers.arms)) + (f" × {seeds} seeds" if seeds > 1 else ""),
    }


def span(costs: Sequence[PeriodCosts], utc_offset_hours: int) -> str:
    """Say when the first period starts and the last one ends."""
    if not costs:
        return ""
    clock = f"UTC{utc_offset_hours:+d}" if utc_offset_hours else "UTC"
    start, end = (sheets.moment(at, utc_offset_hours) for at in (costs[0].start, costs[-1].end))
    return f"{start} to {end} {clock}"


def played_in(groups: Groups | None, peaks: dict[str, int]) -> str:
    """Say how contenders were shared out among groups, and what that leaves of their prices; nothing if not known."""
    if groups is None:
        return ""
    number = len(groups.groups)
    who = "one group of contenders" if number == 1 else f"{number} groups of contenders"
    threads = "one thread" if groups.threads == 1 else f"{groups.threads} threads"
    memory = f"; at most {megabytes(sum(peaks.values()))} MB of memory in {len(peaks)} processes" if peaks else ""
    return (
        f"Played in {who}, with {threads} for each worker{memory}. "
        "Prices are CPU seconds, which depend little on what ran beside."
    )
