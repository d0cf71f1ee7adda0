"""The table that a run ends with on the terminal."""

from __future__ import annotations

import pyarrow as pa
from rich import box
from rich.table import Table
from rich.text import Text

from simulator.book import BEST_ATTAINABLE
from simulator.report.numbers import Numbers
from simulator.report.words import between, count, fixed, megabytes, seconds, signed


def summary(table: pa.Table) -> Table:
    """A row per arm, best first, seeds averaged, in 100 columns; cells hold one number above another."""
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
    at = f", {rates[0]:g}/s" if rates else ""
    for header in (
        "AUC\n95 %",
        "minus without\nknowledge, 95 %",
        "log loss\nGAUC",
        "forget",
        "BWT\nFWT",
        "train s\nrows/s",
        "know.\nMB",
        f"p50, p99\nms{at}",
    ):
        shown.add_column(header, justify="right", no_wrap=True)
    stopped = {arm for arm, _, _ in numbers.stopped()}
    for arm in numbers.ranked:
        name = Text(arm) if arm not in stopped else Text.assemble(arm, ("\nstopped", "red"))
        shown.add_row(name, *_cells(numbers, arm))
    if numbers.has_best_attainable:
        shown.add_section()
        shown.add_row(Text("best\nattainable", style="dim"), *_cells(numbers, BEST_ATTAINABLE)[:3], *[""] * 5)
    return shown


def _cells(numbers: Numbers, arm: str) -> list[str]:
    reference, rates = numbers.reference(arm), numbers.rates(arm)
    auc = numbers.mean("auc_prequential", arm)
    cells = [f"{fixed(auc.value)}\n{between(auc)}"]
    if reference is None:
        cells.append("")
    else:
        gain = numbers.mean("auc_prequential_difference", arm, of=reference)
        cells.append(f"{signed(gain.value)}\n{between(gain, sign=True).replace(' … ', ' ')}")
    loss, gauc = (numbers.prequential(metric, arm).value for metric in ("logloss", "gauc_impression"))
    cells.append(f"{fixed(loss)}\n{fixed(gauc)}")
    lost, back, ahead = (numbers.mean(m, arm, of="auc").value for m in ("forgetting", "bwt", "fwt"))
    cells += [fixed(lost), f"{signed(back)}\n{signed(ahead)}"]
    cells.append(f"{seconds(numbers.total('train_seconds', arm))}\n{count(numbers.rows_per_second(arm))}")
    cells.append(megabytes(numbers.at_end("knowledge_bytes", arm)))
    latencies = [numbers.latency(f"latency_{q}_ms", arm, rates[0]).value for q in ("p50", "p99")] if rates else []
    cells.append("\n".join(fixed(value, 1) for value in latencies))
    return cells


def _caption(numbers: Numbers) -> Text | None:
    lines = [f"stopped: {arm} (seed {seed}): {reason}" for arm, seed, reason in numbers.stopped()]
    return Text("\n".join(lines), style="red") if lines else None
