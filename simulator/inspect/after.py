"""Columns that are known only after the click: by their names, and by how well one alone tells the label."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from simulator.inspect.columns import Column
from simulator.inspect.sample import SEED, Sample
from simulator.measure.ranking import auc

TELLS = 0.99  # AUC of one column, from which on it was written after the label
FEWEST = 50  # rows of either class in the half that is scored
SMOOTHED = 1.0  # rows at the mean rate that every value has beside its own
NAMES = (  # words of a name, all of which it has
    *(
        {"next"},
        {"dwell"},
        {"scroll"},
        {"scrolled"},
        {"read", "time"},
        {"watch", "time"},
        {"watched"},
        {"watch", "ratio"},
    ),
    *({"play", "time"}, {"playing", "time"}, {"stay", "time"}, {"click", "time"}, {"clicked", "at"}, {"click", "at"}),
    *({"attributed"}, {"attribution"}, {"conversion"}, {"converted"}, {"revenue"}, {"time", "spent"}, {"feedback"}),
    *({"time", "to", "click"}, {"completion"}, {"engagement"}, {"purchase"}, {"purchased"}, {"post", "click"}),
    *(
        {"played"},
        {"play", "ratio"},
        {"watching"},
        {"nonclk"},
        {"noclick"},
        {"nonclick"},
        {"paid"},
        {"payment"},
        {"viewing", "time"},
        {"session", "end"},
    ),
)


def named(column: Column) -> bool:
    """Whether the name tells of what happens after a click."""
    return any(words <= column.tokens for words in NAMES)


def tells(sample: Sample, columns: Sequence[Column], label: Column) -> dict[str, float]:
    """The columns that tell the label almost perfectly on rows that they were not fitted to, and the AUC of each.

    A column is tried as a number, as a category (the click rate of its values in one half of the sample, on the other
    half) and by whether there is a value.
    """
    y = _labels(sample, label)
    rows = y >= 0
    half = np.random.default_rng(SEED).random(len(y)) < 0.5
    scored = rows & ~half
    clicks = int(y[scored].sum())
    if min(clicks, int(scored.sum()) - clicks) < FEWEST:
        return {}
    found = {}
    for column in columns:
        value = f"len({column.key})::VARCHAR" if column.is_list else column.key
        texts = sample.arrow(f"SELECT {value} AS x FROM sample").column("x").combine_chunks()
        best = max(_auc(y[scored], score[scored]) for score in _scores(texts, y, rows & half))
        if best > TELLS:
            found[column.name] = best
    return found


def holds_what_was_clicked(sample: Sample, values: str, item: Column, label: Column) -> bool:
    """Whether a list, given as an expression, holds the row's item where it was clicked, and hardly ever elsewhere."""
    y = _labels(sample, label)
    held = sample.arrow(f"""
        SELECT coalesce(list_contains({values}, {item.key}), false)::TINYINT AS x FROM sample""")
    return bool((y > 0).any() and (y == 0).any()) and _auc(y[y >= 0], held.column("x").to_numpy()[y >= 0]) > TELLS


def _labels(sample: Sample, label: Column) -> np.ndarray:
    """[rows] 0, 1, or -1 where there is none."""
    said = f"CASE lower({label.key}) WHEN 'true' THEN 1 WHEN 'false' THEN 0 ELSE TRY_CAST({label.key} AS DOUBLE) END"
    column = sample.arrow(f"SELECT coalesce({said}, -1)::TINYINT AS y FROM sample").column("y")
    held: np.ndarray = column.to_numpy()
    return held


def _scores(texts: pa.Array, y: np.ndarray, fitted: np.ndarray) -> list[np.ndarray]:
    coded = texts.dictionary_encode(null_encoding="encode")
    codes = coded.indices.to_numpy()
    size = len(coded.dictionary)
    seen = np.bincount(codes[fitted], minlength=size)
    clicked = np.bincount(codes[fitted], weights=y[fitted], minlength=size)
    mean = y[fitted].mean() if fitted.any() else 0.0
    rates = (clicked + SMOOTHED * mean) / (seen + SMOOTHED)
    scores = [rates[codes]]
    numbers = pc.if_else(pc.match_substring_regex(coded.dictionary, _NUMBER), coded.dictionary, None)
    values = numbers.cast(pa.float64()).to_numpy(zero_copy_only=False)
    if np.isfinite(values).any():
        lowest = np.nanmin(values[np.isfinite(values)]) - 1
        scores.append(np.where(np.isfinite(values), values, lowest)[codes])
    return scores


_NUMBER = r"^[+-]?\d+(\.\d*)?([eE][+-]?\d+)?$"


def _auc(y: np.ndarray, score: np.ndarray) -> float:
    value = auc(y, score).value
    return 0.0 if value is None else max(value, 1 - value)
