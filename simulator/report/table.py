"""The table that a run ends with on the terminal."""

from __future__ import annotations

import pyarrow as pa
from rich import box
from rich.table import Table
from rich.text import Text

from simulator.measure.value import Value
from simulator.record.predictions import BEST_ATTAINABLE
from simulator.report.finding import VAGUE_LOSS, vague
from simulator.report.numbers import Numbers
from simulator.report.recovery import restarts
from simulator.report.words import between, count, fixed, megabytes, p_value, seconds, share, signed

TESTS = ("p_value", "p_value_holm", "detectable_difference")


def summary(table: pa.Table) -> Table:
    """Show a row per arm, best first, seeds averaged, in 100 columns; cells hold one number above another."""
    numbers = Numbers(table)
    rates = numbers.rates()
    shown = Table(
        title=Text(f"run {numbers.run}, data {numbers.data}", style="bold"),
        title_justify="left",
        box=box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
        caption=_caption(numbers),
        caption_justify="left",
        show_edge=False,
    )
    shown.add_column("arm", overflow="fold", min_width=12)
    several, forgets = len(numbers.seeds) > 1, numbers.has_holdouts
    for header in (
        "AUC\n95 %" + ("\nseeds" if several else ""),
        "minus\nbaseline, 95 %\np (Holm)" + ("\nof the gap" if numbers.has_gaps("auc_prequential") else ""),
        "log loss\nGAUC",
        *(("forget", "BWT\nFWT") if forgets else ()),
        "train\nCPU s\nrows/CPU s",
        "know.\nMB",
        *((f"p50, p99\nms, {rates[0]:g}/s",) if rates else ()),
    ):
        shown.add_column(header, justify="right", no_wrap=True)
    stopped = {arm for arm, _, _ in numbers.stopped()}
    for arm in numbers.ranked:
        shown.add_row(_named(arm, stopped), *_cells(numbers, arm))
    if numbers.yardsticks:
        shown.add_section()
        shown.add_row(Text("yardsticks", style="dim"))
        for yardstick in numbers.yardsticks:
            shown.add_row(_named(yardstick, stopped), *_cells(numbers, yardstick))
    if numbers.has_best_attainable:
        shown.add_section()
        shown.add_row(Text("best\nattainable", style="dim"), *_cells(numbers, BEST_ATTAINABLE)[:3])
    return shown


def side_by_side(table: pa.Table) -> Table:
    """Show arms of several runs, best first, each against its baseline in the first run."""
    numbers = Numbers(table)
    shown = Table(
        title=Text(f"runs {numbers.run}, data {numbers.data}", style="bold"),
        title_justify="left",
        box=box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
        caption=_caption(numbers),
        caption_justify="left",
        show_edge=False,
    )
    shown.add_column("run/arm", overflow="fold", min_width=16)
    for header in (
        "AUC\n95 %",
        "minus baseline\n95 %",
        "p\np (Holm)",
        "detectable",
        "log loss\nminus baseline",
        "GAUC\nminus",
    ):
        shown.add_column(header, justify="right", no_wrap=True)
    for arm in numbers.ranked:
        shown.add_row(Text(arm), *_comparison(numbers, arm))
    if numbers.yardsticks:
        shown.add_section()
        for name in numbers.yardsticks:
            shown.add_row(Text(name, style="dim"), *_comparison(numbers, name))
    return shown


def _named(arm: str, stopped: set[str]) -> Text:
    return Text.assemble(arm, ("\nstopped", "red")) if arm in stopped else Text(arm)


def _comparison(numbers: Numbers, arm: str) -> list[str]:
    auc, against = numbers.mean("auc_prequential", arm), numbers.baseline(arm)
    levels = [numbers.mean(f"{metric}_prequential", arm).value for metric in ("logloss", "gauc_impression")]
    if against is None:
        return [f"{fixed(auc.value)}\n{between(auc)}", "", "", "", *(fixed(level) for level in levels)]

    gain = numbers.mean("auc_prequential_difference", arm, of=against)
    p, holm, least = (numbers.mean(name, arm, of=against, evaluated_on=None).value for name in TESTS)
    gaps = [
        numbers.mean(f"{metric}_prequential_difference", arm, of=against).value
        for metric in ("logloss", "gauc_impression")
    ]
    return [
        f"{fixed(auc.value)}\n{between(auc)}",
        f"{signed(gain.value)}\n{between(gain, sign=True).replace('…', ' ')}",
        f"{p_value(p)}\n{p_value(holm)}",
        fixed(least),
        *(f"{fixed(level)}\n{signed(gap)}" for level, gap in zip(levels, gaps, strict=True)),
    ]


def _cells(numbers: Numbers, arm: str) -> list[str]:
    against = numbers.baseline(arm)
    auc = numbers.mean("auc_prequential", arm)
    cells = [f"{fixed(auc.value)}\n{_bounds(auc)}{_over_seeds(numbers, arm)}"]
    if against is None:
        cells.append("")
    else:
        gain = numbers.mean("auc_prequential_difference", arm, of=against)
        p = numbers.mean("p_value_holm", arm, of=against).value
        closed = numbers.gap_closed(arm)
        of_gap = f"\n{share(closed)}" if closed.value is not None else ""
        cells.append(f"{signed(gain.value)}\n{between(gain, sign=True).replace('…', ' ')}\n{p_value(p)}{of_gap}")
    loss, gauc = (numbers.prequential(metric, arm).value for metric in ("logloss", "gauc_impression"))
    cells.append(f"{fixed(loss)}\n{fixed(gauc)}")
    if numbers.has_holdouts:
        lost = numbers.mean("forgetting", arm, of="auc")
        back, ahead = (numbers.mean(m, arm, of="auc").value for m in ("bwt", "fwt"))
        few = "\ntoo few" if _of_too_few(numbers, arm) else ""
        cells += [f"{fixed(lost.value)}{few}", f"{signed(back)}\n{signed(ahead)}"]
    cells.append(f"{seconds(numbers.total('train_cpu_seconds', arm))}\n{count(numbers.rows_per_cpu_second(arm))}")
    cells.append(megabytes(numbers.at_end("knowledge_bytes", arm)))
    if numbers.rates():
        latencies = [numbers.latency(f"latency_{q}_ms", arm, numbers.rates()[0]).value for q in ("p50", "p99")]
        cells.append("\n".join(fixed(value, 1) for value in latencies))
    return cells


def _of_too_few(numbers: Numbers, arm: str) -> bool:
    """Whether holdouts hold so few clicks that what they say of an arm's forgetting has no interval, or any."""
    has_intervals = numbers.mean("auc_prequential", arm).low is not None and arm not in numbers.yardsticks
    return has_intervals and vague(numbers.mean("forgetting", arm, of="auc"), VAGUE_LOSS)


def _bounds(auc: Value) -> str:
    """The interval; a number without one says so, as of a few rows any AUC may come out."""
    return between(auc) or ("" if auc.value is None else "no interval")


def _over_seeds(numbers: Numbers, arm: str) -> str:
    """The lowest and the highest of several seeds, on a line of its own."""
    values = [row["value"] for row in numbers.rows("auc_prequential", arm) if row["value"] is not None]
    return f"\n{fixed(min(values))}–{fixed(max(values))}" if len(values) > 1 else ""


def _caption(numbers: Numbers) -> Text | None:
    against: dict[str, list[str]] = {}
    for arm in numbers.ranked:
        if baseline := numbers.baseline(arm):
            against.setdefault(baseline, []).append(arm)
    lines = [f"baseline {baseline}: of {', '.join(arms)}" for baseline, arms in sorted(against.items())]
    lines += [restart.told for restart in restarts(numbers)]
    goals = {numbers.goal(arm) or "" for arm in numbers.ranked if numbers.gap_closed(arm).value is not None}
    if goals:
        lines.append(f"of the gap: won back of what the baseline lacks against {', '.join(sorted(goals))}, 95 %")
    if any(_of_too_few(numbers, arm) for arm in numbers.ranked):
        lines.append("too few: the holdouts hold too few clicks to tell what was forgotten")
    if numbers.tuned_on:
        lines.append(f"means are over periods {numbers.counted_from} and later: arms were tuned by the earlier ones")
    caption = Text("\n".join(lines), style="dim")
    for arm, seed, reason in numbers.stopped():
        caption.append(f"\nstopped: {arm} (seed {seed}): {reason}", style="red")
    return caption if caption.plain else None
