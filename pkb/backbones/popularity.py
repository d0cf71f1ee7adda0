"""Popularity: an item will be clicked as often as it was lately. What every click model should beat.

rate = (clicks of the item + smoothing * overall rate) / (impressions of the item + smoothing)

Counts fade by half in `half_life` fits. An item that was never seen gets the rate that others had in the fit that
brought them, smoothed alike.

Shapes: B rows, N ids.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional

from pkb.backbones.base import FittedBackbone
from pkb.backbones.before import NOBODY, newest_of, overall_rate, smoothed_rate, tally, total_of, unlearned
from pkb.batch import MISSING, Batch, Schema
from pkb.errors import SettingError
from pkb.plug import EMPTY, Plugged, Sockets


class Popularity(FittedBackbone):
    """Says a probability of one half until it has been fitted; it reads nothing but the item."""

    takes_knowledge: ClassVar[bool] = False

    @dataclass(frozen=True, kw_only=True)
    class Settings:
        half_life: float = 7.0  # fits, one a period, in which a click comes to count half
        smoothing: float = 10.0  # impressions at the overall rate that every item starts with

        def __post_init__(self) -> None:
            for name in ("half_life", "smoothing"):
                if not getattr(self, name) > 0:
                    raise SettingError(f"{name}={getattr(self, name)}: must be a number above 0")

    def __init__(self, schema: Schema, settings: Settings, sockets: Sockets = Sockets()) -> None:
        super().__init__(
            schema,
            settings,
            sockets,
            counts_N2=torch.zeros(1, 2),  # impressions and clicks of each id, of items alone
            total_2=torch.zeros(2, dtype=torch.float64),
            new_2=torch.zeros(2, dtype=torch.float64),  # of items in the fit that brought them
            newest_2=torch.full((2,), NOBODY),
        )
        self.item_column = schema.item_column
        self.counts_N2: Tensor
        self.total_2: Tensor
        self.new_2: Tensor
        self.newest_2: Tensor

    def fit(self, rows: Batch, plugged: Plugged = EMPTY) -> None:
        rows = rows.select(unlearned(rows, self.newest_2))
        if not len(rows):
            return
        fade = 0.5 ** (1 / self.settings.half_life)
        items = rows.ids_BF[:, self.item_column].long()
        size = max(len(self.counts_N2), int(items.max()) + 1)
        before_N2 = functional.pad(fade * self.counts_N2, (0, 0, 0, size - len(self.counts_N2)))
        if self.total_2[0]:  # in a first fit all are new, which tells nothing
            brought = rows.select((before_N2[items, 0] == 0) & (items != MISSING))
            self.new_2 = fade * self.new_2 + total_of(brought)
        self.counts_N2 = before_N2 + tally(items, rows.label, size)
        self.total_2 = fade * self.total_2 + total_of(rows)
        self.newest_2 = newest_of(rows, self.newest_2)

    def forward(self, batch: Batch, plugged: Plugged = EMPTY) -> Tensor:
        items = batch.ids_BF[:, self.item_column].long()
        counts_B2 = self.counts_N2[items.masked_fill(items >= len(self.counts_N2), MISSING)]
        overall, smoothing = overall_rate(self.total_2), self.settings.smoothing
        unseen = (counts_B2[:, 0] == 0) & (items != MISSING)
        rate = smoothed_rate(counts_B2, overall, smoothing)
        new_rate = smoothed_rate(self.new_2, overall, smoothing).float()
        return torch.logit(torch.where(unseen, new_rate, rate))
