"""The tables of the report: headers and cells as text, ready for the page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, timezone

from simulator.measure.value import Value
from simulator.record.costs import PeriodCosts
from simulator.record.experiment import Experiment
from simulator.record.predictions import BEST_ATTAINABLE
from simulator.record.robustness import Robustness
from simulator.report.figures import colour
from simulator.report.finding import vague
from simulator.report.numbers import Numbers
from simulator.report.robustness import in_other_runs
from simulator.report.words import (
    between,
    count,
    fixed,
    megabytes,
    p_value,
    percent,
    seconds,
    share,
    signed,
    signed_percent,
)

NEW = ("all", "seen_user", "new_user", "seen_item", "new_item")
FEW_ROWS = 50  # impressions of a slice below which its AUC is marked: half of them swap places by lot
TOO_FEW = "too few to tell"
QUALITY = {  # headers by metric, in the order of columns
    "logloss": "log loss",
    "ne": "NE",
    "pcoc": "PCOC",
    "ece": "ECE",
    "pr_auc": "PR-AUC",
    "gauc_impression": "GAUC by impression",
    "gauc_user": "GAUC by user",
    "auc_request": "AUC by request",
    **{f"{metric}_weighted": f"{told}, weighted" for metric, told in (("logloss", "log loss"), ("ne", "NE"))},
}


@dataclass(frozen=True, kw_only=True)
class Cell:
    text: str
    below: str = ""  # smaller, on a second line: an interval, or what is compared with


@dataclass(frozen=True, kw_only=True)
class Line:
    name: str
    colour: str | None = None  # of the swatch beside an arm's name
    cells: list[Cell]


@dataclass(frozen=True, kw_only=True)
class Sheet:
    headers: list[str]  # of the name, then of each cell
    numeric: bool = True
    lines: list[Line] = field(default_factory=list)


def contenders(numbers: Numbers, experiment: Experiment) -> Sheet:
    """List what each arm is, and the yardsticks."""
    sheet = Sheet(headers=["arm", "backbone", "policy", "knowledge", "plug", "its own"], numeric=False)
    for name, arm in experiment.arms.items():
        own = {"width": arm.width, "epochs": arm.epochs, "control": arm.control, **arm.options}
        own |= {f"{arm.backbone}.{key}": value for key, value in arm.backbone_options.items()} | arm.moments
        told = ", ".join(f"{key} {value}" for key, value in own.items() if value is not None)
        cells = _cells(arm.backbone, arm.policy, arm.knowledge or "none", arm.plug if arm.knowledge else "", told)
        sheet.lines.append(Line(name=name, colour=_swatch(numbers, name), cells=cells))
    for name in experiment.yardsticks:
        sheet.lines.append(_line(numbers, name, _cells("yardstick", "", "", "", "")))
    return sheet


def periods(costs: Sequence[PeriodCosts], utc_offset_hours: int, *, by_row: bool = False) -> Sheet:
    """List what was replayed, a line a period; without times where there are none."""
    times = [] if by_row else ["from", "until"]
    sheet = Sheet(headers=["period", *times, "impressions", "click rate", "new users", "new items"])
    for period in costs:
        bounds = [] if by_row else [moment(at, utc_offset_hours) for at in (period.start, period.end)]
        sheet.lines.append(
            Line(
                name=str(period.period),
                cells=_cells(
                    *bounds,
                    count(period.rows),
                    percent(period.positives / period.rows if period.rows else None),
                    percent(period.new_user_share, 1),
                    percent(period.new_item_share, 1),
                ),
            )
        )
    return sheet


def quality(numbers: Numbers) -> Sheet:
    """List the mean of every metric over the prequential periods, with its interval where it has one."""
    shown = {metric: header for metric, header in QUALITY.items() if numbers.rows(metric, holdout=False)}
    sheet = Sheet(headers=["arm", "AUC", *shown.values()])
    for arm in _everyone(numbers):
        auc, *values = [_whole(numbers, metric, arm) for metric in ("auc", *shown)]
        bounds = between(auc) or ("no interval" if auc.value is not None else "")
        cells = [Cell(text=fixed(auc.value), below=bounds), *(_interval(value) for value in values)]
        sheet.lines.append(_line(numbers, arm, cells))
    return sheet


def gains(numbers: Numbers, robustness: Robustness | None = None) -> Sheet:
    """Hold each arm against its baseline: the difference, whether it is chance, what could have been seen at all."""
    others = [] if robustness is None else ["in other runs"]
    tests = ["p", "p (Holm)", "detectable"]
    headers = ["arm", "against", "AUC difference", *tests, "Rel. Impr., raw AUC", "Rel. Impr., AUC − 0.5"]
    headers += ["gap closed"] if (gaps := numbers.has_gaps("auc_prequential")) else []
    sheet = Sheet(headers=[*headers, *others])
    for arm in numbers.ranked:
        against = numbers.baseline(arm)
        if against is not None:
            gain = numbers.mean("auc_prequential_difference", arm, of=against)
            names = ("p_value", "p_value_holm", "detectable_difference")
            p, holm, least = (numbers.mean(name, arm, of=against, evaluated_on=None).value for name in names)
            cells = [Cell(text=against), Cell(text=signed(gain.value), below=between(gain, sign=True))]
            cells += _cells(p_value(p), p_value(holm), fixed(least))
            cells += [_improvement(numbers, metric, arm) for metric in ("rel_impr_auc", "rel_impr_auc_minus_half")]
            if gaps:
                cells.append(Cell(text=share(numbers.gap_closed(arm))))
            if robustness is not None:
                told, where = in_other_runs(robustness, arm)
                cells.append(Cell(text=told, below=where))
            sheet.lines.append(_line(numbers, arm, cells))
    return sheet


def yardsticks(numbers: Numbers) -> Sheet:
    """Hold each arm against each yardstick."""
    sheet = Sheet(headers=["arm minus", *numbers.yardsticks])
    for arm in numbers.ranked if numbers.yardsticks else []:
        gaps = [numbers.mean("auc_prequential_difference", arm, of=name) for name in numbers.yardsticks]
        cells = [Cell(text=signed(gap.value), below=between(gap, sign=True)) for gap in gaps]
        sheet.lines.append(_line(numbers, arm, cells))
    return sheet


def slices(numbers: Numbers, names: Sequence[str]) -> Sheet:
    """List the AUC on slices of the impressions, and how many there are."""
    sheet = Sheet(headers=["arm", *(_slice_header(name) for name in names)])
    for arm in _everyone(numbers):
        values = {name: numbers.prequential("auc", arm, slice=name) for name in names}
        sheet.lines.append(_line(numbers, arm, [_sliced(numbers, name, value) for name, value in values.items()]))
    sizes = [numbers.prequential_rows(name) for name in names]
    sheet.lines.append(Line(name="impressions", cells=_cells(*(count(size) for size in sizes))))
    return sheet


def continual(numbers: Numbers) -> Sheet:
    """List forgetting and transfer, of AUC and of log loss below it."""
    metrics = ("forgetting", "bwt", "fwt", "plasticity", "intransigence")
    headers = ["forgetting", "backward transfer", "forward transfer", "plasticity", "intransigence"]
    headers += ["gap closed"] if (gaps := numbers.has_gaps("forgetting")) else []
    sheet = Sheet(headers=["arm", *headers])
    for arm in [*numbers.ranked, *numbers.yardsticks]:
        pairs = [[numbers.mean(metric, arm, of=of).value for of in ("auc", "logloss")] for metric in metrics]
        write = [fixed if metric == "plasticity" else signed for metric in metrics]
        cells = [Cell(text=form(auc), below=form(loss)) for form, (auc, loss) in zip(write, pairs, strict=True)]
        cells += [Cell(text=share(numbers.gap_closed(arm, "forgetting")))] if gaps else []
        sheet.lines.append(_line(numbers, arm, cells))
    return sheet


def costs(numbers: Numbers) -> Sheet:
    """List CPU time over the whole run, and bytes at its end."""
    headers = ["training CPU s", "of which compressing", "learned rows/CPU s", "finding neighbours CPU s"]
    headers += ["predicting CPU s", "knowledge MB", "pool and index MB", "memory MB", "checkpoint MB"]
    recall = ["recall of index"] if numbers.rows("dense_recall") else []
    sheet = Sheet(headers=["arm", *headers, *recall])
    for arm in [*numbers.ranked, *numbers.yardsticks]:
        cells = _cells(
            seconds(numbers.total("train_cpu_seconds", arm)),
            seconds(numbers.total("compress_cpu_seconds", arm)),
            count(numbers.rows_per_cpu_second(arm)),
            seconds(numbers.total("retrieve_cpu_seconds", arm)),
            seconds(numbers.total("predict_cpu_seconds", arm)),
            megabytes(numbers.at_end("knowledge_bytes", arm)),
            megabytes(numbers.at_end("index_bytes", arm)),
            megabytes(numbers.at_end("memory_bytes", arm)),
            megabytes(numbers.at_end("checkpoint_bytes", arm)),
            *(fixed(numbers.at_end("dense_recall", arm), 3) for _ in recall),
        )
        sheet.lines.append(_line(numbers, arm, cells))
    return sheet


def imitation(numbers: Numbers) -> Sheet | None:
    """List how well knowledge imitates retrieval, at the last compression; None where no base does."""
    arms = [arm for arm in numbers.ranked if numbers.rows("imitation_r2_old", arm)]
    figures = {
        "imitation_r2_old": "R² on rows it learned",
        "imitation_r2_next": "R² on the next period",
        "teacher_auc_next": "AUC of the teacher",
        "student_auc_next": "AUC of the arm",
        "knowledge_std_next": "spread of z",
        "knowledge_rank_next": "effective rank of z",
    }
    sheet = Sheet(headers=["arm", *figures.values()])
    for arm in arms:
        values = [numbers.at_end(figure, arm) for figure in figures]
        digits = [4, 4, 4, 4, 4, 1]
        sheet.lines.append(_line(numbers, arm, _cells(*(fixed(v, d) for v, d in zip(values, digits, strict=True)))))
    return sheet if arms else None


def serving(numbers: Numbers) -> Sheet:
    """List latency at each offered rate, what the objective allows, and whether served scores are the offline ones."""
    rates = numbers.rates()
    headers = [f"p50 / p95 / p99 ms at {rate:g}/s" for rate in rates]
    sheet = Sheet(headers=["arm", *headers, "requests/s within objective", "max |served − offline|"])
    for arm in numbers.ranked:
        if not numbers.rates(arm):
            continue
        cells = [_latency(numbers, arm, rate) for rate in rates]
        cells.append(Cell(text=count(numbers.mean("max_qps_at_slo", arm).value)))
        checked = numbers.mean("served_max_difference", arm)
        difference = "–" if checked.value is None else f"{checked.value:.1e}"
        cells.append(Cell(text=difference, below=f"{count(checked.n)} rows"))
        sheet.lines.append(_line(numbers, arm, cells))
    return sheet


def moment(timestamp: int, utc_offset_hours: int) -> str:
    """Tell a time on the clock that days are cut at."""
    zone = timezone(timedelta(hours=utc_offset_hours)) if utc_offset_hours else UTC
    return datetime.fromtimestamp(timestamp, tz=zone).strftime("%Y-%m-%d %H:%M")


def _latency(numbers: Numbers, arm: str, rate: float) -> Cell:
    values = [numbers.latency(f"latency_{quantile}_ms", arm, rate).value for quantile in ("p50", "p95", "p99")]
    errors = numbers.latency("serving_errors", arm, rate).value or 0.0
    return Cell(
        text=" / ".join(fixed(value, 1) for value in values),
        below=f"{count(errors)} errors" if errors else "",
    )


def _whole(numbers: Numbers, metric: str, arm: str) -> Value:
    """Over the whole run; metrics that are not redrawn have a mean without an interval."""
    redrawn = bool(numbers.rows(f"{metric}_prequential", arm))
    return numbers.mean(f"{metric}_prequential", arm) if redrawn else numbers.prequential(metric, arm)


def _improvement(numbers: Numbers, metric: str, arm: str) -> Cell:
    if numbers.reference(arm) is None:
        return Cell(text="")
    value = numbers.mean(metric, arm)
    return Cell(text=signed_percent(value.value), below=_percent_bounds(value))


def _slice_header(name: str) -> str:
    if name.startswith("activity_"):
        bounds = name.removeprefix("activity_").split("_")
        return f"{bounds[0]} to {int(bounds[1]) - 1}" if len(bounds) == 2 else f"{bounds[0]} and more"
    return f"{name.replace('_', ' ')}s" if name.startswith(("new", "seen")) else name


def _sliced(numbers: Numbers, name: str, auc: Value) -> Cell:
    """An AUC on a slice; of a few rows, or with an interval of any width, it says nothing and is told so."""
    few = numbers.prequential_rows(name) < FEW_ROWS
    return Cell(text=fixed(auc.value), below=TOO_FEW if auc.value is not None and (few or vague(auc)) else "")


def _everyone(numbers: Numbers) -> list[str]:
    """Arms, yardsticks, and the best attainable one."""
    return [*numbers.ranked, *numbers.yardsticks, *([BEST_ATTAINABLE] if numbers.has_best_attainable else [])]


def _line(numbers: Numbers, arm: str, cells: list[Cell]) -> Line:
    name = "best attainable" if arm == BEST_ATTAINABLE else arm
    return Line(name=name, colour=_swatch(numbers, arm), cells=cells)


def _swatch(numbers: Numbers, name: str) -> str | None:
    return None if name == BEST_ATTAINABLE else colour(numbers, name)


def _cells(*texts: str) -> list[Cell]:
    return [Cell(text=text) for text in texts]


def _interval(value: Value) -> Cell:
    return Cell(text=fixed(value.value), below=between(value))


def _percent_bounds(value: Value) -> str:
    if value.low is None or value.high is None:
        return ""
    return f"{signed_percent(value.low)}…{signed_percent(value.high)}"
