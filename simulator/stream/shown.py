"""Rows with what was known of them when they were shown."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray

from pkb.batch import MISSING, Batch, Schema
from pkb.dated import Dated

Counts = NDArray[np.int32]


class Activity:
    """How often each user was shown something before a period; counts by id, which grow period by period."""

    def __init__(self) -> None:
        self._counts: Counts = np.zeros(0, np.int32)
        self._until: int | None = None

    def counts(self) -> Dated[Counts]:
        """[largest id + 1]."""
        return Dated(what="the users' activity", value=self._counts, built_until=self._until)

    def add(self, users: Counts, until: int) -> None:
        """Count the impressions of a period that ends at `until`."""
        grown = np.bincount(users, minlength=len(self._counts)).astype(np.int32)
        grown[: len(self._counts)] += self._counts
        grown[MISSING : MISSING + 1] = 0  # nobody is active
        self._counts, self._until = grown, until


@dataclass(frozen=True, kw_only=True)
class Shown:
    """N rows of a period."""

    rows: Batch
    new_user: np.ndarray  # [N] bool, not seen before the period
    new_item: np.ndarray  # [N] bool
    no_item: np.ndarray  # [N] bool, the row does not say which
    activity: Counts  # [N] impressions of the user before the period
    user: Counts  # [N] ids
    scenario: Counts | None  # [N] ids; None where the log has no scenarios

    def select(self, mask: torch.Tensor) -> Self:
        chosen = mask.numpy()
        return type(self)(
            rows=self.rows.select(mask),
            new_user=self.new_user[chosen],
            new_item=self.new_item[chosen],
            no_item=self.no_item[chosen],
            activity=self.activity[chosen],
            user=self.user[chosen],
            scenario=None if self.scenario is None else self.scenario[chosen],
        )


def shown(rows: Batch, schema: Schema, start: int, vocabulary: Dated[int], activity: Dated[Counts]) -> Shown:
    """The rows of a period that begins at `start`; FutureError if something given was built beyond it."""
    known, counts, ids = vocabulary.at(start), activity.at(start), rows.ids_BF.numpy()
    user, item = ids[:, schema.user_column], ids[:, schema.item_column]
    counted = user < len(counts)
    seen = np.zeros(len(user), np.int32)
    seen[counted] = counts[user[counted]]
    return Shown(
        rows=rows,
        new_user=user >= known,
        new_item=item >= known,
        no_item=item == MISSING,
        activity=seen,
        user=user,
        scenario=None if schema.scenario is None else ids[:, schema.names.index(schema.scenario)],
    )
