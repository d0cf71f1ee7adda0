"""What the log's earliest rows tell of its numbers: the knots that bound their bins, mean and deviation; and of its
vectors, how large their entries are.

All is learned on the first period that holds a value of the field, which for most is the log's first, and then stays
as it is, so that a bin keeps its meaning and its embedding. That period is the one whose rows are encoded by what they
tell themselves: no label plays a part, and no model has learned the field before it predicts them. Values beyond the
first and the last knot, which later periods may show, fall into the first and the last bin. Where they are sure to
come, as ages and counts grow from a log's first row on, further knots stand beyond the last one, each twice the one
before it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from pkb.batch import Schema
from pkb.numbers import Number
from pkb.vectors import Vector
from simulator.stream.deriving import Derived
from simulator.stream.periods import Span

VECTORS = 10_000  # earliest of a field, whose entries are measured

DOUBLINGS = 10  # of a growing number: a day becomes three years


def measured(schema: Schema, derived: Derived, spans: Sequence[Span], bins: int) -> Schema:
    """The schema, each of its numbers with its knots, each vector with its scale.

    A number has the knots of at most so many bins, and DOUBLINGS more where it is growing.
    """

    def number(name: str, told: Number) -> Number:
        for span in spans:
            if len(values := derived.sorted_numbers(name, span.start, span.end)):
                learned = of_values(values, bins, told)
                return doubled(learned) if name in derived.growing else learned
        return told

    def vector(name: str, told: Vector) -> Vector:
        for span in spans:
            if len(values := derived.staged.first_vectors(name, span.start, span.end, VECTORS)):
                return replace(told, scale=usual_size(values))
        return told

    fields = [
        replace(
            f,
            number=None if f.number is None else number(f.name, f.number),
            vector=None if f.vector is None else vector(f.name, f.vector),
        )
        for f in schema.fields
    ]
    return replace(schema, fields=tuple(fields))


def usual_size(values: NDArray[np.float32]) -> float:
    """The root mean square of the entries of vectors, [rows, W]; 1 where all are 0."""
    size = float(np.sqrt(np.square(values, dtype=np.float64).mean()))
    return size if size > 0 else 1.0


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
