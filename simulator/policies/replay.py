"""Experience replay from a reservoir of a given size."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Annotated, Any

import numpy as np
import torch
from torch import Tensor

from pkb.batch import Batch, concatenate
from pkb.columns import from_tensors, to_tensors
from pkb.errors import SettingError
from pkb.seeding import generator
from pkb.space import Between
from simulator.policies.base import Learner, Lesson, Policy, Rows

SEEN = "seen"  # of what a checkpoint keeps, all but this is the sample


class Replay(Policy):
    """Learns the window's rows mixed with earlier ones, drawn from a uniform sample of all (Vitter 1985, algorithm R).

    One old row to four new ones, not as many of both (as in Chaudhry et al. 2019, "On tiny episodic memories in
    continual learning"): a click model learns a value's vector by heart when it meets the same rows again, so that as
    many old rows as new ones cost it what a second pass costs (docs/measured.md).
    """

    @dataclass(frozen=True, kw_only=True)
    class Settings:
        bytes: int = 8_000_000  # of the sample
        # Old rows in a lesson to each new one, while the sample has so many.
        ratio: Annotated[float, Between(0.05, 2.0, log=True)] = 0.25

        def __post_init__(self) -> None:
            if self.bytes < 1:
                raise SettingError(f"bytes={self.bytes}: must be at least 1")
            if not 0 <= self.ratio < math.inf:
                raise SettingError(f"ratio={self.ratio}: must be 0 or more")

    def __init__(self, settings: Any, seed: int) -> None:
        super().__init__(settings, seed)
        self.sample: Batch | None = None
        self.seen = 0  # rows that the sample stands for
        self._newest: Batch | None = None  # rows of the lesson at hand that the sample has not seen

    def lesson(self, learner: Learner, window: range, rows: Rows) -> Lesson:
        fresh = only_learned_columns(rows(window))
        self._newest = fresh if len(window) == 1 else only_learned_columns(rows(window[-1:]))
        if self.sample is None:
            return Lesson(rows=fresh)
        return Lesson(rows=concatenate([fresh, self._old(self.sample, len(fresh), window[-1])]))

    def finish(self, learner: Learner, lesson: Lesson, window: range) -> None:
        assert self._newest is not None
        self._add(self._newest, window[-1])

    def _old(self, sample: Batch, fresh: int, period: int) -> Batch:
        """The old rows of a lesson beside `fresh` new ones."""
        order = torch.randperm(len(sample), generator=generator(self.seed, "replayed", period))
        return sample.select(order[: round(self.settings.ratio * fresh)])

    def _add(self, rows: Batch, period: int) -> None:
        """Row number n of all that were ever seen takes a place of the sample with probability size / (n + 1)."""
        held = 0 if self.sample is None else len(self.sample)
        pool = rows if self.sample is None else concatenate([self.sample, rows])
        size = self.settings.bytes // row_bytes(pool)
        kept = np.arange(min(size, len(pool)))  # of the pool, by place
        late = np.arange(len(kept), len(pool))
        number = self.seen - held + late
        draw = torch.rand(len(late), generator=generator(self.seed, "replay", period), dtype=torch.float64).numpy()
        place = (draw * (number + 1)).astype(np.int64)
        taken = place < size
        kept[place[taken]] = late[taken]  # of several for one place, the last stays
        self.sample = pool.select(torch.from_numpy(kept))
        self.seen += len(rows)

    def state(self) -> dict[str, Tensor]:
        if self.sample is None:
            return {}
        return to_tensors(self.sample) | {SEEN: torch.tensor(self.seen)}

    def restore(self, state: dict[str, Tensor]) -> None:
        self.seen = int(state[SEEN])
        self.sample = from_tensors({name: column for name, column in state.items() if name != SEEN})

    def bytes_beside(self, model: int) -> int:
        return int(self.settings.bytes)


def only_learned_columns(rows: Batch) -> Batch:
    """Leave out the columns that learning does not need."""
    return replace(rows, further_labels={}, request=None, p_true=None)


def row_bytes(rows: Batch) -> int:
    """Bytes of one of these rows, lists and histories at their padded length."""
    return rows.nbytes // len(rows) if len(rows) else 1
