"""Metrics of one period under the bootstrap over users: what they are when users are drawn again.

The AUC is taken anew from every redraw's weights. All other metrics here are ratios of sums over users, so a redraw
is one product of the users' counts with their sums, [1 + R, U] x [U, K]: a user drawn twice counts twice in the
grouped AUCs as well. PR-AUC and ECE are no such ratios and have no interval.
"""

from __future__ import annotations

import numpy as np

from simulator.measure.calibration import complement, entropy, negative_log
from simulator.measure.ranking import GroupedAuc
from simulator.measure.scored import Scored
from simulator.measure.significance import bootstrap_aucs
from simulator.measure.tally import Floats, sums

USERS_AT_ONCE = 8192


def redraws(pieces: list[Scored], replicates: int, seed: int) -> dict[str, Floats]:
    """Give each metric [len(pieces), 1 + R]: its value, then that of each redraw; nan where it is undefined.

    `pieces` are of the same rows. They pair up: each redraw takes the same users for all of them.
    """
    redrawn = [its.groups.redrawn(replicates, seed) for its in pieces]
    metrics = [_ratios(totals) for totals in _totals([drawn.times for drawn in redrawn], list(map(_of_users, pieces)))]
    found = {name: np.stack([metric[name] for metric in metrics]) for name in metrics[0]}
    if pieces[0].p.request is None:
        del found["auc_request"]
    aucs = [bootstrap_aucs(its.ranking, drawn) for its, drawn in zip(pieces, redrawn, strict=True)]
    return {"auc": np.stack(aucs), **found}


def _totals(times: list[np.ndarray], of_users: list[Floats]) -> list[Floats]:
    """[U, 1 + R] x [U, 11] of each piece, a few users at a time, since the counts of all would be large as floats."""
    totals = [np.zeros((its.shape[1], columns.shape[1])) for its, columns in zip(times, of_users, strict=True)]
    distinct = list({id(its): its for its in times}.values())  # pieces of the same rows have one
    for start in range(0, max(map(len, times)), USERS_AT_ONCE):
        few = slice(start, start + USERS_AT_ONCE)
        counts = {id(its): its[few].T.astype(np.float64) for its in distinct}
        for its, columns, total in zip(times, of_users, totals, strict=True):
            total += counts[id(its)] @ columns[few]
    return totals


def _of_users(its: Scored) -> Floats:
    """[U, 11]: what each user adds to the numerators and denominators of the metrics, in the order of `_ratios`."""
    groups, users = its.groups, len(its.groups.users)
    clicked, probability = its.p.label > 0, its.p.probability.astype(np.float64)
    nats = negative_log(np.where(clicked, probability, complement(probability)))
    of_rows = (np.ones(len(clicked)), clicked, nats, probability, (probability - clicked) ** 2)
    columns = [sums(groups.user, column, users) for column in of_rows]
    columns += _spread(its.by_user, its.by_user.names, users, by_size=True)
    columns += _spread(its.by_user, its.by_user.names, users, by_size=False)
    if its.by_request is None or groups.user_of_request is None:
        columns += [np.zeros(users)] * 2
    else:
        columns += _spread(its.by_request, groups.user_of_request[its.by_request.names], users, by_size=False)
    return np.stack(columns, axis=1)


def _spread(grouped: GroupedAuc, user: np.ndarray, users: int, *, by_size: bool) -> list[Floats]:
    """Sums over each user's groups of weight x AUC and of weight, which is the group's rows, or 1."""
    weight = grouped.sizes if by_size else np.ones(len(grouped.aucs))
    return [sums(user, part, users) for part in (weight * grouped.aucs, weight)]


def _ratios(totals: Floats) -> dict[str, Floats]:
    """Each metric from the totals [1 + R, 11] over the users drawn."""
    rows, clicks, nats, predicted, squares, *grouped = totals.T
    return {
        "logloss": _over(nats, rows),
        "ne": _over(_over(nats, rows), entropy(_over(clicks, rows))),
        "pcoc": _over(predicted, clicks),
        "brier": _over(squares, rows),
        "gauc_impression": _over(grouped[0], grouped[1]),
        "gauc_user": _over(grouped[2], grouped[3]),
        "auc_request": _over(grouped[4], grouped[5]),
    }


def _over(part: Floats, whole: Floats) -> Floats:
    return np.divide(part, whole, out=np.full_like(whole, np.nan), where=whole != 0)
