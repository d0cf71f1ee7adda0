"""The table of how lessons went: what the settings fixed, and what they left to the log."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from statistics import median

from simulator.record.costs import Lesson, PeriodCosts
from simulator.report.numbers import Numbers
from simulator.report.sheets import Cell, Line, Sheet
from simulator.report.words import count


def lessons(numbers: Numbers, costs: Sequence[PeriodCosts]) -> Sheet:
    """List each arm's rows, minibatches and passes a lesson, of its first seed, as they changed over the periods."""
    sheet = Sheet(headers=["arm", "rows a lesson", "minibatch", "passes"], numeric=False)
    for name in numbers.ranked:
        told = [lesson for lesson in lessons_of(name, costs) if lesson is not None]
        if told:
            rows = count(median(lesson.rows for lesson in told))
            texts = (rows, runs([lesson.batch_size for lesson in told]), runs([lesson.passes for lesson in told]))
            sheet.lines.append(Line(name=name, cells=[Cell(text=text) for text in texts]))
    return sheet


def lessons_of(name: str, costs: Sequence[PeriodCosts]) -> list[Lesson | None]:
    """Give an arm's lessons with its first seed, period by period."""
    found = [next((arm for arm in period.arms if arm.arm == name), None) for period in costs]
    return [None if arm is None else arm.lesson for arm in found]


def runs(values: Sequence[int]) -> str:
    """Write equal neighbours once: `2, then 1`."""
    return ", then ".join(str(value) for value, _ in groupby(values))
