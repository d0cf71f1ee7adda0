"""What the log's earliest rows tell of its numbers: the knots that bound their bins, mean and deviation.

All is learned on the first period that holds a value of the field, which for most is the log's first, and then stays
as it is, so that a bin keeps its meaning and its embedding. That period is the one whose rows are encoded by what they
tell themselves: no label plays a part, and no model has learned the field before it predicts them. Values beyond the
first and the last knot, which later periods may show, fall into the first and the last bin. Where they are sure to
come, as ages and counts grow from a log's first row on, further knots stand beyond the last one, each twice the one
before it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from pkb.batch import Schema
from pkb.numbers import Number
from simulator.stream.periods import Span

Values = Callable[[str, int, int], NDArray[np.float32]]  # of a number in rows with start <= ts < end, ascending


DOUBLINGS = 10  # of a growing number: a day becomes three years


def with_knots(
    schema: Schema, values_of: Values, spans: Sequence[Span], bins: int, growing: Sequence[str] = ()
) -> Schema:
    """The schema, each of its numbers with the knots of at most so many bins, or DOUBLINGS more where it is growing."""

    def of_field(name: str, number: Number) -> Number:
        for span in spans:
            if len(values := values_of(name, span.start, span.end)):
                learned = of_values(values, bins, number)
                return doubled(learned) if name in growing else learned
        return number

    fields = [f if f.number is None else replace(f, number=of_field(f.name, f.number)) for f in schema.fields]
    return replace(schema, fields=tuple(fields))


def of_values(values: NDArray[np.float32], bins: int, number: Number) -> Number:
    """The number with what these values, which ascend, tell of it.

    Knots are the distinct values where these are few, else the quantiles 0, 1 / (bins - 1), .., 1; equal ones are one.
    """
    knots = np.unique(values)
    if len(knots) > bins:
        places = np.linspace(0, len(values) - 1, bins).round().astype(np.int64)
        knots = np.unique(values[places])
    mean, deviation = values.mean(dtype=np.float64), values.std(dtype=np.float64)
    return replace(number, knots=tuple(knots.tolist()), mean=float(mean), deviation=float(deviation))


def doubled(number: Number) -> Number:
    """The number with DOUBLINGS further knots, for values of at least 0 that later rows have."""
    last = max(1.0, number.knots[-1])
    first = (1.0,) if number.knots[-1] < 1 else ()
    return replace(number, knots=(*number.knots, *first, *(last * 2**j for j in range(1, DOUBLINGS + 1))))
