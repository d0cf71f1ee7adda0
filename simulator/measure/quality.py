"""The metrics of one set of predictions."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from simulator.measure.ranking import brier, grouped_auc, logloss, ne, pcoc
from simulator.measure.results import Result
from simulator.measure.significance import delong
from simulator.measure.stored import Predictions
from simulator.measure.value import Value, undefined

Metric = Callable[[np.ndarray, np.ndarray], Value]

SLICED: dict[str, Metric] = {"auc": delong, "logloss": logloss}  # also measured on slices, and the base of R
POOLED: dict[str, Metric] = {**SLICED, "ne": ne, "pcoc": pcoc, "brier": brier}
USER_METRICS = ("gauc_impression", "gauc_user", "gauc_impression_coverage", "gauc_user_coverage")
REQUEST_METRICS = ("auc_request", "auc_request_coverage")


def quality(p: Predictions) -> Iterator[Result]:
    """Every metric of these predictions; AUC and log loss of prequential ones also by what was new."""
    for name, value in _overall(p).items():
        yield _result(p, name, value)
    if p.holdout:
        return
    slices = {
        "new_user": p.new_user,
        "seen_user": ~p.new_user,
        "new_item": p.new_item,
        "seen_item": ~p.new_item,
    }
    for name, rows in slices.items():
        for metric, measure in SLICED.items():
            value = _not_finite(p.probability[rows]) or measure(p.label[rows], p.probability[rows])
            yield _result(p, metric, value, name)


def _overall(p: Predictions) -> dict[str, Value]:
    grouped = USER_METRICS + (REQUEST_METRICS if p.request is not None else ())
    if broken := _not_finite(p.probability):
        return dict.fromkeys((*POOLED, *grouped), broken)
    values = [measure(p.label, p.probability) for measure in POOLED.values()]
    users = grouped_auc(p.label, p.probability, p.user)
    values += [users.by_row(), users.by_group(), users.row_coverage(), users.group_coverage()]
    if p.request is not None:
        requests = grouped_auc(p.label, p.probability, p.request)
        values += [requests.by_group(), requests.group_coverage()]
    return dict(zip((*POOLED, *grouped), values, strict=True))


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
