"""The table of what is lost while the next model is in the making."""

from __future__ import annotations

from simulator.report.numbers import Numbers
from simulator.report.sheets import Cell, Line, Sheet
from simulator.report.words import between, fixed, percent, signed


def as_served(numbers: Numbers) -> Sheet | None:
    """Hold each arm's answers to those of models in service at once; None where nobody asked for it."""
    headers = ["arm", "AUC as answered", "minus at once", "log loss, minus at once", "answered by the model before"]
    sheet = Sheet(headers=headers)
    for arm in (*numbers.ranked, *numbers.yardsticks):
        if not numbers.rows("auc_as_served", arm):
            continue
        auc, lost, entropy, share = (
            numbers.mean(metric, arm)
            for metric in ("auc_as_served", "auc_as_served_difference", "logloss_as_served_difference", "stale_share")
        )
        cells = [Cell(text=fixed(auc.value), below=auc.reason or between(auc))]
        cells += [Cell(text=signed(value.value), below=between(value, sign=True)) for value in (lost, entropy)]
        sheet.lines.append(Line(name=arm, cells=[*cells, Cell(text=percent(share.value))]))
    return sheet if sheet.lines else None
