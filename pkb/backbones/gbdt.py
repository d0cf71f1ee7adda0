"""Gradient-boosted trees over what each value has been clicked so far (LightGBM: Ke et al., NeurIPS 2017).

A number is a column as it is, and so is each entry of a vector. An id is none and has too many levels for a tree to
split on, so every categorical field, and of a list the first value, becomes two columns:

lift  = (clicks of the value / overall rate + smoothing) / (impressions of the value + smoothing)
share = impressions of the value / all impressions

and a missing value is missing in both. A lift instead of a rate: that of a value never seen is 1 at all times, where
its rate would be the overall one, which moves, and trees cut close to what so many rows have in common. A share
instead of impressions, which grow. Knowledge is appended as it is.

Rows are described by the counts before them: a fit's by those of earlier fits, as the next period's will be by its
own. A first fit is cut by time into slices, each described by those before it, and learnt but for the first. Counts
out of fold, the usual way, tell the label where rows depend on each other: of a request with one click the other rows
say whether it is this one.

A fit grows new trees on its rows and on the latest earlier ones, as these were described. What stays for ever is the
counts: the trees, which say how lifts and clicks go together, do not add up over the periods, and neither does the
cost of a prediction.

Shapes: B rows, V fields that are categories or lists of them, W columns of fields, N ids, E examples kept, X columns of
knowledge.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from pkb.backbones.base import FittedBackbone
from pkb.backbones.before import NOBODY, newest_of, overall_rate, slices_in_time, tally, total_of, unlearned
from pkb.batch import MISSING, Batch, Schema
from pkb.errors import SettingError
from pkb.plug import EMPTY, Plugged, Sockets
from pkb.space import Between, OneOf

if TYPE_CHECKING:
    from lightgbm import Booster

SLICES = 8  # of a first fit
ROWS_PER_THREAD = 50_000  # a thread with fewer waits for the others longer than it works


class GBDT(FittedBackbone):
    """Says the overall click rate until it has grown trees, one half until it has been fitted."""

    @dataclass(frozen=True, kw_only=True)
    class Settings:
        trees: Annotated[int, OneOf((25, 50, 100, 200))] = 50
        leaves: Annotated[int, OneOf((7, 15, 31, 63))] = 15
        learning_rate: Annotated[float, Between(0.01, 0.3, log=True)] = 0.05
        smoothing: float = 20.0  # impressions at the overall rate that every value starts with
        examples: int = 50_000  # latest rows of earlier fits that trees grow on beside the new ones

        def __post_init__(self) -> None:
            for name, low in (("trees", 1), ("leaves", 2), ("examples", 0)):
                if getattr(self, name) < low:
                    raise SettingError(f"{name}={getattr(self, name)}: must be at least {low}")
            for name in ("learning_rate", "smoothing"):
                if not getattr(self, name) > 0:
                    raise SettingError(f"{name}={getattr(self, name)}: must be a number above 0")

    def __init__(self, schema: Schema, settings: Settings, sockets: Sockets = Sockets()) -> None:
        self.categorical, self.vectors = len(schema.names_of("category", "list")), tuple(schema.vectors)
        self.measured = len(schema.numbers) + sum(vector.length for vector in schema.vectors.values())
        width = 2 * self.categorical + self.measured + sockets.columns
        super().__init__(
            schema,
            settings,
            sockets,
            counts_N2=torch.zeros(1, 2),  # impressions and clicks of each id
            total_2=torch.zeros(2, dtype=torch.float64),
            trees=torch.empty(0, dtype=torch.uint8),  # LightGBM's text
            examples_EX=torch.empty(0, width),
            label_E=torch.empty(0),
            weight_E=torch.empty(0),
            newest_2=torch.full((2,), NOBODY),
        )
        self.counts_N2: Tensor
        self.total_2: Tensor
        self.trees: Tensor
        self.examples_EX: Tensor
        self.label_E: Tensor
        self.weight_E: Tensor
        self.newest_2: Tensor
        self._booster: Booster | None = None  # `trees` read, once asked for

    def fit(self, rows: Batch, plugged: Plugged = EMPTY) -> None:
        fresh = unlearned(rows, self.newest_2)
        rows, knowledge = rows.select(fresh), self._knowledge(plugged, len(rows))[fresh]
        if not len(rows):
            return
        features, learnable = self._described(rows)
        self.newest_2 = newest_of(rows, self.newest_2)
        examples = torch.cat([features, knowledge], dim=1)[learnable]
        weight = torch.ones(len(rows)) if rows.weight is None else rows.weight
        examples, label = torch.cat([self.examples_EX, examples]), torch.cat([self.label_E, rows.label[learnable]])
        weight = torch.cat([self.weight_E, weight[learnable]])
        self._grow_trees(examples, label, weight)
        kept = max(0, len(label) - self.settings.examples)
        self.examples_EX, self.label_E, self.weight_E = (part[kept:].clone() for part in (examples, label, weight))

    def forward(self, batch: Batch, plugged: Plugged = EMPTY) -> Tensor:
        if not len(self.trees):
            return torch.full((len(batch),), overall_rate(self.total_2)).logit()
        columns = torch.cat([self._features(batch), self._knowledge(plugged, len(batch))], dim=1).numpy()
        logits = self._read_trees().predict(columns, raw_score=True, num_threads=threads_for(len(batch)))
        return torch.from_numpy(np.asarray(logits, dtype=np.float32))

    def _described(self, rows: Batch) -> tuple[Tensor, Tensor]:
        """Features of rows by what was before them, [B, W], and which of them can be learnt, [B]; counts the rows."""
        first = not self.total_2[0]
        slice_B = slices_in_time(rows, SLICES if first else 1)
        features = torch.empty(len(rows), 2 * self.categorical + self.measured)
        for number in slice_B.unique():
            here = slice_B == number
            features[here] = self._features(some := rows.select(here))
            ids_BV = some.ids_BF[:, : self.categorical]
            size = max(len(self.counts_N2), int(ids_BV.max()) + 1)
            before_N2 = functional.pad(self.counts_N2, (0, 0, 0, size - len(self.counts_N2)))
            self.counts_N2 = before_N2 + tally(ids_BV, some.label, size)
            self.total_2 = self.total_2 + total_of(some)
        return features, slice_B > 0 if first else torch.ones_like(slice_B, dtype=torch.bool)

    def _features(self, rows: Batch) -> Tensor:
        """Lifts and shares of the values, then the numbers and the vectors, [B, W]; NaN where one is missing."""
        ids_BV = rows.ids_BF[:, : self.categorical].long()
        unseen = ids_BV >= len(self.counts_N2)
        counts_BV2 = self.counts_N2[ids_BV.masked_fill(unseen, MISSING)]  # as often as the missing one: never
        times, clicks = counts_BV2.unbind(dim=2)
        smoothing = self.settings.smoothing
        lifts = (clicks / overall_rate(self.total_2) + smoothing) / (times + smoothing)
        shares = times / max(1.0, float(self.total_2[0]))
        counted = torch.cat([lifts, shares], dim=1).masked_fill((ids_BV == MISSING).repeat(1, 2), torch.nan)
        numbers = [] if rows.numbers_BN is None else [rows.numbers_BN]
        return torch.cat([counted, *numbers, *(rows.vectors[name] for name in self.vectors)], dim=1)

    def _grow_trees(self, examples_EX: Tensor, label_E: Tensor, weight_E: Tensor) -> None:
        if len(label_E[weight_E > 0].unique()) < 2:  # one class teaches trees nothing but that there is no other
            return
        import lightgbm  # takes a second: only whoever fits or asks trees waits for it

        parameters = {
            "objective": "binary",
            "num_leaves": self.settings.leaves,
            "learning_rate": self.settings.learning_rate,
            "num_threads": threads_for(len(label_E)),
            "deterministic": True,
            "force_row_wise": True,  # with `deterministic`: the same trees with any number of threads
            "verbosity": -1,
        }
        data = lightgbm.Dataset(
            examples_EX.numpy(), label_E.numpy(), weight=None if (weight_E == 1).all() else weight_E.numpy()
        )
        booster = lightgbm.train(parameters, data, num_boost_round=self.settings.trees)
        self.trees = torch.frombuffer(bytearray(booster.model_to_string().encode()), dtype=torch.uint8)
        self._booster = None

    def _knowledge(self, plugged: Plugged, rows: int) -> Tensor:
        """Columns of knowledge, [B, X]; missing without any."""
        if plugged.columns_BX is None:
            return torch.full((rows, self.sockets.columns), torch.nan)
        return plugged.columns_BX

    def _read_trees(self) -> Booster:
        if self._booster is None:
            from lightgbm import Booster

            self._booster = Booster(model_str=self.trees.numpy().tobytes().decode())
        return self._booster

    def set_extra_state(self, state: Any) -> None:
        super().set_extra_state(state)
        self._booster = None


def threads_for(rows: int) -> int:
    return max(1, min(torch.get_num_threads(), rows // ROWS_PER_THREAD))
