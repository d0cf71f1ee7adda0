"""The table of what every arm was tuned to, and what that was worth."""

from __future__ import annotations

from typing import Any

from simulator.record.tuning import Trial, Tuning, untuned
from simulator.report.numbers import Numbers
from simulator.report.sheets import Cell, Line, Sheet
from simulator.report.words import between, fixed, signed


def tuned(numbers: Numbers, tuning: Tuning) -> Sheet:
    """List each arm's first and best trial; and what tuning gained in later periods, where arms were played untuned."""
    arms = [arm for arm in numbers.ranked if tuning.of(arm)]
    played_untuned = any(untuned(arm) in numbers.arms for arm in arms)
    headers = ["arm", "AUC as given", "AUC of the best", "trials", "chosen"]
    sheet = Sheet(headers=headers + ["tuned minus as given, later periods"] * played_untuned, numeric=False)
    for arm in arms:
        trials, best = tuning.of(arm), tuning.chosen(arm)
        cells = [Cell(text=text) for text in (fixed(trials[0].auc), fixed(best.auc), str(len(trials)))]
        cells.append(Cell(text=_changes(trials[0], best)))
        if played_untuned:
            gain = numbers.mean("auc_prequential_difference", arm, of=untuned(arm))
            cells.append(Cell(text=signed(gain.value), below=between(gain, sign=True)))
        sheet.lines.append(Line(name=arm, cells=cells))
    return sheet


def _changes(given: Trial, best: Trial) -> str:
    """Say in which settings the best trial differs from the first."""
    changed = {name: value for name, value in best.values.items() if value != given.values[name]}
    return ", ".join(f"{name} {_shown(value)}" for name, value in changed.items()) or "as given"


def _shown(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
