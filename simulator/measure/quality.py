"""The metrics of one set of predictions, over all its rows and over slices of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import reduce
from itertools import pairwise
from operator import add

import numpy as np

from simulator.measure.calibration import brier, ece, logloss, ne, pcoc
from simulator.measure.ranking import grouped_auc, pr_auc
from simulator.measure.results import Result
from simulator.measure.significance import delong
from simulator.measure.tally import GroupedTally, Tally
from simulator.measure.users import auc_by_user
from simulator.measure.value import Value, undefined
from simulator.record.predictions import Predictions

TALLIED: dict[str, Callable[[Tally], Value]] = {
    "logloss": logloss,
    "ne": ne,
    "pcoc": pcoc,
    "brier": brier,
    "ece": ece,
    "pr_auc": pr_auc,
}
USER_METRICS = ("gauc_impression", "gauc_user", "gauc_impression_coverage", "gauc_user_coverage")
REQUEST_METRICS = ("auc_request", "auc_request_coverage")
SLICED = ("auc", "logloss", "pcoc")  # also measured on slices
DIRECTED = {  # whether larger is better; PCOC is best at 1 and has no direction
    **dict.fromkeys(("auc", "gauc_impression", "gauc_user", "auc_request", "pr_auc"), True),
    **dict.fromkeys(("logloss", "ne", "brier", "ece"), False),
}
ACTIVITY = (0, 50, 150, 300)  # impressions of the user before the period: KEEP's groups [0, 50), ..., 300 and more
NO_USER = "no_user"  # rows that are of no user: part of the whole, and no slice of users
MOST_SCENARIOS = 10  # slices by scenario, of the most frequent ones


def quality(p: Predictions, scenarios: Sequence[int]) -> Iterator[Result]:
    """Take every metric of these predictions; of prequential ones those in SLICED also by slice."""
    parts = {name: (p.label[rows], p.probability[rows]) for name, rows in activity_slices(p).items()}
    tallies = {name: Tally.of(*rows) for name, rows in parts.items() if np.isfinite(rows[1]).all()}
    del parts[NO_USER]
    for name, value in _overall(p, tallies).items():
        yield _result(p, name, value)
    if p.holdout:
        return
    others = {
        "new_user": p.new_user,
        "seen_user": ~p.new_user & ~p.no_user,
        "new_item": p.new_item,
        "seen_item": ~p.new_item & ~p.no_item,
        **({} if p.scenario is None else {f"scenario={each}": p.scenario == each for each in scenarios}),
    }
    parts |= {name: (p.label[rows], p.probability[rows]) for name, rows in others.items()}
    for name, (label, probability) in parts.items():
        broken = _not_finite(probability)
        values = dict.fromkeys(SLICED, broken) if broken else _sliced(label, probability, tallies.get(name))
        for metric, value in values.items():
            yield _result(p, metric, value, name)


def activity_slices(p: Predictions) -> dict[str, np.ndarray]:
    """Part the rows into the tail, the torso and the head of users, and those of nobody: each is in one slice."""
    known, activity = ~p.no_user, p.activity
    slices = {
        f"activity_{low}_{high}": known & (activity >= low) & (activity < high) for low, high in pairwise(ACTIVITY)
    }
    slices[f"activity_{ACTIVITY[-1]}"] = known & (activity >= ACTIVITY[-1])
    return {**slices, NO_USER: p.no_user}


def _sliced(label: np.ndarray, probability: np.ndarray, tally: Tally | None) -> dict[str, Value]:
    tally = Tally.of(label, probability) if tally is None else tally
    return {metric: TALLIED[metric](tally) if metric in TALLIED else delong(label, probability) for metric in SLICED}


def _overall(p: Predictions, parts: dict[str, Tally]) -> dict[str, Value]:
    """Over all rows; `parts` are the tallies of slices that every row is in one of."""
    requests = () if p.request is None else REQUEST_METRICS
    if broken := _not_finite(p.probability):
        return dict.fromkeys(("auc", *TALLIED, *USER_METRICS, *requests), broken)
    tally = reduce(add, parts.values())
    values = {"auc": delong(p.label, p.probability)}
    values |= {metric: measure(tally) for metric, measure in TALLIED.items()}
    users = auc_by_user(p)
    of_users = (users.by_row(), users.by_group(), users.row_coverage(), users.group_coverage())
    values |= dict(zip(USER_METRICS, of_users, strict=True))
    if p.request is not None:
        by_request = grouped_auc(GroupedTally.of(p.label, p.probability, p.request))
        of_requests = (by_request.by_group(), by_request.group_coverage())
        values |= dict(zip(REQUEST_METRICS, of_requests, strict=True))
    return values


def _not_finite(probability: np.ndarray) -> Value | None:
    broken = int(np.count_nonzero(~np.isfinite(probability)))
    if not broken:
        return None
    return undefined(f"{broken} of {len(probability)} probabilities are not finite", len(probability))


def _result(p: Predictions, metric: str, value: Value, slice: str = "all") -> Result:
    return Result(
        arm=p.arm,
        seed=p.seed,
        metric=metric,
        value=value,
        trained_through=p.trained_through,
        evaluated_on=p.evaluated_on,
        holdout=p.holdout,
        slice=slice,
    )
