"""Metrics of one period under the bootstrap over users: what they are when users are drawn again.

The AUC is taken anew from every redraw's weights. All other metrics here are ratios of sums over users, so a redraw
is one product of the users' counts with their sums, [1 + R, U] x [U, K]: a user drawn twice counts twice in the
grouped AUCs as well. PR-AUC and ECE are no such ratios and have no interval.
"""

from __future__ import annotations

import numpy as np

from simulator.measure.calibration import complement, entropy, negative_log
from simulator.measure.ranking import GroupedAuc, Ranking, grouped_auc
from simulator.measure.significance import bootstrap_aucs, user_counts
from simulator.measure.tally import Floats, GroupedTally, sums
from simulator.measure.users import auc_by_user, clusters
from simulator.record.predictions import Predictions

USERS_AT_ONCE = 8192


def redraws(pieces: list[Predictions], replicates: int, seed: int) -> dict[str, Floats]:
    """Give each metric [len(pieces), 1 + R]: its value, then that of each redraw; nan where it is undefined.

    `pieces` are of the same rows. They pair up: each redraw takes the same users for all of them.
    """
    label, user = pieces[0].label, clusters(pieces[0])
    users, of_row = np.unique(user, return_inverse=True)
    drawn = np.ones((1 + replicates, len(users)), dtype=np.uint8)  # a count stays far below 256
    for replicate in range(replicates):
        drawn[1 + replicate] = user_counts(users, replicate, seed)
    metrics = [_ratios(_totals(drawn, _of_users(p, users, of_row))) for p in pieces]
    found = {name: np.stack([metric[name] for metric in metrics]) for name in metrics[0]}
    if pieces[0].request is None:
        del found["auc_request"]
    scores = [p.probability for p in pieces]
    points = [[Ranking(label, score).auc()] for score in scores]
    return {"auc": np.hstack([points, bootstrap_aucs(label, scores, user, replicates, seed)]), **found}


def _totals(drawn: np.ndarray, of_users: Floats) -> Floats:
    """[1 + R, U] x [U, 11], a few users at a time, since the counts of all would be large as floats."""
    totals = np.zeros((len(drawn), of_users.shape[1]))
    for start in range(0, len(of_users), USERS_AT_ONCE):
        few = slice(start, start + USERS_AT_ONCE)
        totals += drawn[:, few].astype(np.float64) @ of_users[few]
    return totals


def _of_users(p: Predictions, users: np.ndarray, of_row: np.ndarray) -> Floats:
    """[U, 11]: what each user adds to the numerators and denominators of the metrics, in the order of `_ratios`."""
    clicked, probability = p.label > 0, p.probability.astype(np.float64)
    nats = np.where(clicked, negative_log(probability), negative_log(complement(probability)))
    of_rows = (np.ones(len(clicked)), clicked, nats, probability, (probability - clicked) ** 2)
    columns = [sums(of_row, column, len(users)) for column in of_rows]
    by_user = auc_by_user(p)
    themselves = np.searchsorted(users, by_user.names)
    columns += _spread(by_user, themselves, len(users), by_size=True)
    columns += _spread(by_user, themselves, len(users), by_size=False)
    if p.request is None:
        columns += [np.zeros(len(users))] * 2
    else:
        by_request = grouped_auc(GroupedTally.of(p.label, p.probability, p.request))
        requests, first = np.unique(p.request, return_index=True)  # a request is of one user
        owner = of_row[first][np.searchsorted(requests, by_request.names)]
        columns += _spread(by_request, owner, len(users), by_size=False)
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
