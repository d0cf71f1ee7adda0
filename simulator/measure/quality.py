"""The metrics of one set of predictions, over all its rows and over slices of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np

from simulator.measure.calibration import brier, ece, logloss, ne, pcoc
from simulator.measure.ranking import pr_auc
from simulator.measure.results import Result
from simulator.measure.scored import Scored
from simulator.measure.significance import delong
from simulator.measure.tally import Tally
from simulator.measure.value import Value, undefined
from simulator.record.predictions import Predictions

MEASURES: dict[str, Callable[[Tally], Value]] = {
    "auc": delong,
    "logloss": logloss,
    "ne": ne,
    "pcoc": pcoc,
    "brier": brier,
    "ece": ece,
    "pr_auc": pr_auc,
}
WEIGHTED = {f"{name}_weighted": MEASURES[name] for name in ("logloss", "ne", "pcoc", "brier")}  # by rows' weights
USER_METRICS = ("gauc_impression", "gauc_user", "gauc_impression_coverage", "gauc_user_coverage")
REQUEST_METRICS = ("auc_request", "auc_request_coverage")
SLICED = ("auc", "logloss", "pcoc")  # also measured on slices
DIRECTED = {  # whether larger is better; PCOC is best at 1 and has no direction
    **dict.fromkeys(("auc", "gauc_impression", "gauc_user", "auc_request", "pr_auc"), True),
    **dict.fromkeys(("logloss", "ne", "brier", "ece"), False),
}
ACTIVITY = (0, 50, 150, 300)  # impressions of the user before the period: KEEP's groups [0, 50), ..., 300 and more
MOST_SCENARIOS = 10  # slices by scenario, of the most frequent ones


def quality(its: Scored, scenarios: Sequence[int]) -> Iterator[Result]:
    """Take every metric of these predictions; of prequential ones those in SLICED also by slice."""
    p = its.p
    for name, value in _overall(its).items():
        yield _result(p, name, value)
    for name, rows in {} if p.holdout else slices(p, scenarios).items():
        broken = None if its.finite else _not_finite(p.probability[rows])
        if its.finite:
            tally = its.ranking.tally(rows)
        elif not broken:
            tally = Tally.of(p.label[rows], p.probability[rows])
        values = dict.fromkeys(SLICED, broken) if broken else {metric: MEASURES[metric](tally) for metric in SLICED}
        for metric, value in values.items():
            yield _result(p, metric, value, name)


def slices(p: Predictions, scenarios: Sequence[int]) -> dict[str, np.ndarray]:
    """Mark the rows of each slice; by activity the rows of users are in the tail, the torso or the head of these."""
    known, activity = ~p.no_user, p.activity
    by_scenario = {} if p.scenario is None else {f"scenario={each}": p.scenario == each for each in scenarios}
    return {
        **{f"activity_{low}_{high}": known & (activity >= low) & (activity < high) for low, high in pairwise(ACTIVITY)},
        f"activity_{ACTIVITY[-1]}": known & (activity >= ACTIVITY[-1]),
        "new_user": p.new_user,
        "seen_user": ~p.new_user & known,
        "new_item": p.new_item,
        "seen_item": ~p.new_item & ~p.no_item,
        **by_scenario,
    }


def _overall(its: Scored) -> dict[str, Value]:
    """Over all rows."""
    requests = () if its.p.request is None else REQUEST_METRICS
    if broken := _not_finite(its.p.probability):
        weighted = () if its.p.weight is None else WEIGHTED
        return dict.fromkeys((*MEASURES, *weighted, *USER_METRICS, *requests), broken)
    tally, users, p = its.ranking.tally(), its.by_user, its.p
    values = {metric: measure(tally) for metric, measure in MEASURES.items()}
    if p.weight is not None:
        by_weight = Tally.of(p.label, p.probability, p.weight)
        values |= {metric: replace(measure(by_weight), n=len(p.label)) for metric, measure in WEIGHTED.items()}
    of_users = (users.by_row(), users.by_group(), users.row_coverage(), users.group_coverage())
    values |= dict(zip(USER_METRICS, of_users, strict=True))
    if its.by_request is not None:
        of_requests = (its.by_request.by_group(), its.by_request.group_coverage())
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
