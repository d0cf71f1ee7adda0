"""Gradient-boosted trees over what each value has been clicked so far (LightGBM: Ke et al., NeurIPS 2017).

An id is no number and has too many levels for a tree to split on, so every field becomes two columns:

rate  = (clicks of the value + smoothing * overall rate) / (impressions of the value + smoothing)
times = impressions of the value

and a missing value is missing in both. Knowledge is appended as it is. Rows of a fold are fitted with the counts of
the other folds and of all earlier fits, so that no label tells of itself; predictions use all counts.

A fit grows new trees on its rows. What stays of earlier ones is the counts: the trees, which say how rates and clicks
go together, do not add up over the periods, and neither does the cost of a prediction.

Shapes: B rows, F fields, N ids, X columns of knowledge.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import torch
from safetensors.torch import load, save
from torch import Tensor
from torch.nn import functional

from pkb.backbones.base import FittedBackbone
from pkb.batch import MISSING, Batch, Schema
from pkb.plug import EMPTY, Plugged, Sockets
from pkb.space import Between, OneOf

if TYPE_CHECKING:
    from lightgbm import Booster

FOLDS = 5
ROWS_PER_THREAD = 50_000  # a thread with fewer waits for the others longer than it works
KEPT = ("counts_N2", "total_2", "trees")


class GBDT(FittedBackbone):
    """Says a probability of one half until it has been fitted."""

    @dataclass(frozen=True, kw_only=True)
    class Settings:
        trees: Annotated[int, OneOf((25, 50, 100, 200))] = 100
        leaves: Annotated[int, OneOf((7, 15, 31, 63))] = 31
        learning_rate: Annotated[float, Between(0.01, 0.3, log=True)] = 0.1
        smoothing: float = 20.0  # impressions at the overall rate that every value starts with

    def __init__(self, schema: Schema, settings: Settings, sockets: Sockets = Sockets()) -> None:
        super().__init__(schema, settings, sockets)
        self.settings = settings
        # Their sizes change, so they are stored as one tensor (`get_extra_state`) instead of as buffers.
        self.register_buffer("counts_N2", torch.zeros(1, 2), persistent=False)  # impressions and clicks of each id
        self.register_buffer("total_2", torch.zeros(2), persistent=False)
        self.register_buffer("trees", torch.empty(0, dtype=torch.uint8), persistent=False)  # LightGBM's text
        self.counts_N2: Tensor
        self.total_2: Tensor
        self.trees: Tensor
        self._booster: Booster | None = None  # `trees` read, once asked for

    def fit(self, rows: Batch, plugged: Plugged = EMPTY) -> None:
        import lightgbm  # takes a second: only whoever fits or asks trees waits for it

        counts = tally(rows, max(len(self.counts_N2), int(rows.ids_BF.max()) + 1))
        self.counts_N2 = counts + functional.pad(self.counts_N2, (0, 0, 0, len(counts) - len(self.counts_N2)))
        self.total_2 = self.total_2 + torch.stack([torch.tensor(float(len(rows))), rows.label.sum()])
        features = self._features_out_of_fold(rows)
        data = lightgbm.Dataset(self._columns(features, plugged), rows.label.numpy())
        parameters = {
            "objective": "binary",
            "num_leaves": self.settings.leaves,
            "learning_rate": self.settings.learning_rate,
            "num_threads": threads_for(len(rows)),
            "deterministic": True,
            "force_row_wise": True,  # with `deterministic`: the same trees with any number of threads
            "verbosity": -1,
        }
        booster = lightgbm.train(parameters, data, num_boost_round=self.settings.trees)
        self.trees = torch.frombuffer(bytearray(booster.model_to_string().encode()), dtype=torch.uint8)
        self._booster = None

    def forward(self, batch: Batch, plugged: Plugged = EMPTY) -> Tensor:
        if not len(self.trees):
            return torch.zeros(len(batch))
        features = features_of(batch.ids_BF, self.counts_N2, self.total_2, self.settings.smoothing)
        columns = self._columns(features, plugged)
        logits = self._read_trees().predict(columns, raw_score=True, num_threads=threads_for(len(batch)))
        return torch.from_numpy(np.asarray(logits, dtype=np.float32))

    def _features_out_of_fold(self, rows: Batch) -> Tensor:
        """[B, 2 F]; folds go by row id, so that a row's features depend on no order."""
        features = torch.empty(len(rows), 2 * rows.ids_BF.shape[1])
        fold = rows.row_id % FOLDS
        for number in range(FOLDS):
            here = fold == number
            own = rows.select(here)
            others = self.counts_N2 - tally(own, len(self.counts_N2))
            features[here] = features_of(own.ids_BF, others, self.total_2, self.settings.smoothing)
        return features

    def _columns(self, features: Tensor, plugged: Plugged) -> np.ndarray:
        """Features with the columns of knowledge behind them, [B, 2 F + X]; without knowledge they are missing."""
        columns_BX = plugged.columns_BX
        if columns_BX is None:
            columns_BX = features.new_full((len(features), self.sockets.columns), torch.nan)
        return torch.cat([features, columns_BX], dim=1).numpy()

    def _read_trees(self) -> Booster:
        if self._booster is None:
            from lightgbm import Booster

            self._booster = Booster(model_str=self.trees.numpy().tobytes().decode())
        return self._booster

    def get_extra_state(self) -> Tensor:
        """Counts and trees as the bytes of a safetensors file."""
        kept = {name: getattr(self, name).contiguous() for name in KEPT}
        return torch.frombuffer(bytearray(save(kept)), dtype=torch.uint8)

    def set_extra_state(self, state: Any) -> None:
        for name, value in load(state.numpy().tobytes()).items():
            setattr(self, name, value)
        self._booster = None


def threads_for(rows: int) -> int:
    return max(1, min(torch.get_num_threads(), rows // ROWS_PER_THREAD))


def tally(rows: Batch, size: int) -> Tensor:
    """Impressions and clicks of each id below `size`, [N, 2]; none of the missing one."""
    ids = rows.ids_BF.flatten().long()
    clicks = rows.label.double().repeat_interleave(rows.ids_BF.shape[1])
    counts = torch.stack([torch.bincount(ids, minlength=size), torch.bincount(ids, clicks, minlength=size)], dim=1)
    counts[MISSING] = 0
    return counts.float()


def features_of(ids_BF: Tensor, counts_N2: Tensor, total_2: Tensor, smoothing: float) -> Tensor:
    """Rates and times of the values, [B, 2 F]; NaN where one is missing."""
    unseen = ids_BF >= len(counts_N2)
    counts_BF2 = counts_N2[ids_BF.long().masked_fill(unseen, MISSING)]  # as often as the missing one: never
    times, clicks = counts_BF2.unbind(dim=2)
    overall = total_2[1] / total_2[0]
    features = torch.cat([(clicks + smoothing * overall) / (times + smoothing), times], dim=1)
    return features.masked_fill((ids_BF == MISSING).repeat(1, 2), torch.nan)
