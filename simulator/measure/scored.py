"""Predictions ranked once for all metrics; what those of the same rows have in common is worked out once for all."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from functools import cached_property

import numpy as np

from simulator.measure.ranking import GroupedAuc, Ranking, grouped_auc
from simulator.measure.significance import Placements, Redrawn
from simulator.measure.users import clusters
from simulator.record.predictions import Predictions


class Groups:
    """The users and the requests that rows are of, numbered from 0 up; a row of nobody is a user of its own."""

    def __init__(self, p: Predictions) -> None:
        self.users, self.user = np.unique(clusters(p), return_inverse=True)  # [U]; [N]
        self.nobodys = int(np.count_nonzero(p.no_user))  # rows
        self.request = self.user_of_request = None
        if p.request is not None:
            _, first, self.request = np.unique(p.request, return_index=True, return_inverse=True)  # [N]
            self.user_of_request = self.user[first]
        self._redrawn: dict[tuple[int, int], Redrawn] = {}

    def redrawn(self, replicates: int, seed: int) -> Redrawn:
        """Draw users again."""
        key = (replicates, seed)
        if key not in self._redrawn:
            self._redrawn[key] = Redrawn(self.users, self.user, replicates, seed)
        return self._redrawn[key]


class Scored:
    """One model's predictions with what follows from the order of their scores, which are finite where it is asked."""

    def __init__(self, p: Predictions, groups: Groups) -> None:
        self.p, self.groups = p, groups

    @cached_property
    def finite(self) -> bool:
        return bool(np.isfinite(self.p.probability).all())

    @cached_property
    def ranking(self) -> Ranking:
        return Ranking(self.p.label, self.p.probability)

    @cached_property
    def placements(self) -> Placements:
        return Placements(self.ranking)

    @cached_property
    def by_user(self) -> GroupedAuc:
        """Measure the AUC within each user, named by number; rows of nobody are in no group, but among all rows."""
        found = grouped_auc(self.ranking.within(self.groups.user))
        return replace(found, groups=found.groups - self.groups.nobodys)

    @cached_property
    def by_request(self) -> GroupedAuc | None:
        """Measure the AUC within each request, named by number; None where the log has none."""
        request = self.groups.request
        return None if request is None else grouped_auc(self.ranking.within(request))


def scored(pieces: Iterable[Predictions]) -> list[Scored]:
    """Get predictions ready for being measured; those read together have their users and requests in common."""
    groups: dict[tuple[int, int], Groups] = {}  # by the columns that they are from
    found = []
    for p in pieces:
        key = (id(p.user), id(p.request))
        if key not in groups:
            groups[key] = Groups(p)
        found.append(Scored(p, groups[key]))
    return found
