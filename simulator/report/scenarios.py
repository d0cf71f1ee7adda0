"""The tables by scenario: quality, what is forgotten, and what becomes of a scenario while it is away."""

from __future__ import annotations

from itertools import groupby

from simulator.record.predictions import BEST_ATTAINABLE
from simulator.report.figures import colour
from simulator.report.finding import vague
from simulator.report.numbers import Numbers
from simulator.report.sheets import FEW_ROWS, TOO_FEW, Cell, Line, Sheet
from simulator.report.words import DASH, between, count, fixed, signed, size


def by_scenario(numbers: Numbers) -> Sheet | None:
    """List AUC, log loss and GAUC of each scenario, the largest first, and what one takes of an arm's weights.

    None where the log has no scenarios.
    """
    names = numbers.slices("scenario=")
    own = {name: value for name in numbers.arms if (value := numbers.at_end("scenario_parameters", name)) is not None}
    sheet = Sheet(headers=["arm", *map(_header, names), *(["parameters of one"] if own else [])])
    best = [BEST_ATTAINABLE] if numbers.has_best_attainable else []
    for arm in [*numbers.ranked, *numbers.yardsticks, *best]:
        line = _line(numbers, arm, [_quality(numbers, arm, name) for name in names])
        if own:
            bytes_of_one = numbers.at_end("scenario_bytes", arm)
            line.cells.append(Cell(text=count(own[arm]), below=size(bytes_of_one)) if arm in own else Cell(text=""))
        sheet.lines.append(line)
    sizes = [Cell(text=count(numbers.prequential_rows(name))) for name in names]
    sheet.lines.append(Line(name="impressions", cells=[*sizes, *([Cell(text="")] if own else [])]))
    return sheet if names else None


def forgotten(numbers: Numbers) -> Sheet | None:
    """List forgetting of the AUC by scenario; None where there is none."""
    names = [name for name in numbers.slices("scenario=") if numbers.rows("forgetting", slice=name)]
    sheet = Sheet(headers=["arm", *map(_header, names)])
    for arm in numbers.ranked:
        lost = [numbers.mean("forgetting", arm, slice=name, of="auc") for name in names]
        cells = [Cell(text=signed(value.value), below=between(value, sign=True)) for value in lost]
        sheet.lines.append(_line(numbers, arm, cells))
    return sheet if names else None


def away(numbers: Numbers) -> Sheet | None:
    """List for each absence of a scenario what the models of its periods score on it; None where none was away."""
    stays = [(name, periods) for name in numbers.slices("scenario=") for periods in _absences(numbers, name)]
    headers = [f"{_header(name)}, away in {_span(periods)}" for name, periods in stays]
    sheet = Sheet(headers=["arm", *headers])
    for arm in numbers.ranked:
        sheet.lines.append(_line(numbers, arm, [_away(numbers, arm, name, periods) for name, periods in stays]))
    return sheet if stays else None


def _quality(numbers: Numbers, arm: str, name: str) -> Cell:
    auc, loss, gauc = (
        numbers.mean(f"{metric}_prequential", arm, slice=name) for metric in ("auc", "logloss", "gauc_impression")
    )
    few = numbers.prequential_rows(name) < FEW_ROWS
    bounds = TOO_FEW if auc.value is not None and (few or vague(auc)) else between(auc)
    return Cell(
        text=fixed(auc.value), below=f"{bounds or DASH}\nlog loss {fixed(loss.value)}\nGAUC {fixed(gauc.value)}"
    )


def _away(numbers: Numbers, arm: str, name: str, periods: list[int]) -> Cell:
    aucs = [numbers.mean("auc_while_absent", arm, slice=name, trained_through=period).value for period in periods]
    lost = numbers.mean("lost_while_absent", arm, slice=name, trained_through=periods[-1])
    told = f"lost {signed(lost.value)}"
    return Cell(text=" → ".join(fixed(auc) for auc in aucs), below=f"{told}\n{between(lost, sign=True)}".strip())


def _absences(numbers: Numbers, name: str) -> list[list[int]]:
    """The periods without the scenario, of each absence."""
    periods = sorted({row["trained_through"] for row in numbers.rows("auc_while_absent", slice=name)})
    runs = groupby(enumerate(periods), key=lambda pair: pair[1] - pair[0])
    return [[period for _, period in run] for _, run in runs]


def _span(periods: list[int]) -> str:
    if len(periods) == 1:
        return f"period {periods[0]}"
    return f"periods {periods[0]} to {periods[-1]}"


def _header(name: str) -> str:
    return name.replace("=", " ")


def _line(numbers: Numbers, arm: str, cells: list[Cell]) -> Line:
    if arm == BEST_ATTAINABLE:
        return Line(name="best attainable", cells=cells)
    return Line(name=arm, colour=colour(numbers, arm), cells=cells)
