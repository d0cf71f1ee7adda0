"""Arms whose model was replaced on the way: when each was level again with itself without restarts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

from simulator.measure.value import Value
from simulator.report.finding import Finding
from simulator.report.numbers import Numbers
from simulator.report.sheets import Cell, Line, Sheet
from simulator.report.words import DASH, between, counted, fixed, interval, listed, signed

FIRST = 4  # periods after a restart that the table shows


@dataclass(frozen=True, kw_only=True)
class Restart:
    """One restart of an arm."""

    arm: str
    twin: str | None  # the same arm without restarts
    period: int
    recovery: Value  # periods until the two were level
    gaps: dict[int, Value]  # AUC minus the twin's, by period that the new model predicted

    @property
    def told(self) -> str:
        """Say in a line what came of it."""
        start = f"{self.arm}, restarted in period {self.period}"
        if self.recovery.value is None:
            return f"{start}: not shown level again ({self.recovery.reason})"
        after = int(self.recovery.value)
        when = f"after {counted(after, 'period')}" if after else "at once"
        return f"{start}: level with {self.twin} {when}"


def restarts(numbers: Numbers) -> list[Restart]:
    """List the restarts of all arms, the arms in their rank."""
    found = []
    for arm in numbers.ranked:
        told = {row["evaluated_on"]: row["of"] for row in numbers.rows("recovery_periods", arm)}
        gaps = sorted({row["evaluated_on"] for row in numbers.rows("restart_auc_difference", arm)})
        for period, end in pairwise([*sorted(told), *numbers.periods[-1:]]):
            its = [at for at in gaps if period < at <= end]
            found.append(
                Restart(
                    arm=arm,
                    twin=told[period],
                    period=period,
                    recovery=numbers.mean("recovery_periods", arm, evaluated_on=period),
                    gaps={at: numbers.mean("restart_auc_difference", arm, evaluated_on=at) for at in its},
                )
            )
    return found


def recoveries(numbers: Numbers) -> Iterator[Finding]:
    """Find of each restart whether the arm came level, and what it lost before."""
    for restart in restarts(numbers):
        text = restart.told
        if known := {at: gap for at, gap in restart.gaps.items() if gap.value is not None}:
            shown = dict.fromkeys((min(known), max(known)))
            parts = [f"{signed(known[at].value)} AUC{interval(known[at], sign=True)} in period {at}" for at in shown]
            text += f"; against {restart.twin} it scored {listed(parts)}"
        yield Finding(tag="recovery", tone="plain", text=f"{text}.")


def recovery(numbers: Numbers) -> Sheet | None:
    """List each restart with its first periods; None where no arm was restarted."""
    found = restarts(numbers)
    columns = range(min(FIRST, max((len(restart.gaps) for restart in found), default=0)))
    headers = ["arm", "restarted in", "against", "periods until level"]
    sheet = Sheet(headers=headers + [f"period {place + 1} after" for place in columns])
    for restart in found:
        reached = restart.recovery
        shown = reached.reason or f"shown by {counted(reached.n, 'period')}"
        after = Cell(text=fixed(reached.value, 0), below=shown)
        cells = [Cell(text=str(restart.period)), Cell(text=restart.twin or DASH), after]
        gaps = [*restart.gaps.values()][: len(columns)]
        cells += [Cell(text=signed(gap.value), below=between(gap, sign=True)) for gap in gaps]
        cells += [Cell(text="")] * (len(columns) - len(gaps))
        sheet.lines.append(Line(name=restart.arm, cells=cells))
    return sheet if found else None
