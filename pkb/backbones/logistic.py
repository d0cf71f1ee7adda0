"""Logistic regression on ids, fitted until nothing moves any more: what `lr` would come to after many passes.

y = b + sum_f w[value of f]

minimises  sum of the rows' log losses + l2 / 2 |w - w0|^2  with w0 = 0 in a first fit: l2 = 1 is the "C=1" of
scikit-learn. Nothing holds b but one click and one missed one that belong to no value, so that labels of one class
leave it finite. A later fit starts from what was learnt before and holds w to it.

Each field has one more weight, for new values: added to a value's own in the rows of the fit, or the slice of time of
a first fit, that brought the value. A value that no fit has seen reads this weight alone.

Shapes: B rows, F fields, U weights of values, G = 2 F ids of a row, X columns of knowledge, W = U + X + 1 weights.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from scipy.optimize import minimize
from scipy.sparse import csr_matrix
from scipy.special import expit
from torch import Tensor

from pkb.backbones.base import FittedBackbone
from pkb.backbones.before import slices_in_time
from pkb.batch import MISSING, Batch, Schema
from pkb.errors import SettingError
from pkb.plug import EMPTY, Plugged, Sockets

SLICES = 8  # of a first fit
STEPS = 500  # at most
CONVERGED = 0.01  # of its standard error, about: how far a weight may still be from where it belongs


class Logistic(FittedBackbone):
    """Says a probability of one half until it has been fitted."""

    @dataclass(frozen=True, kw_only=True)
    class Settings:
        l2: float = 1.0  # beside the sum of the rows' losses

        def __post_init__(self) -> None:
            if not self.l2 > 0:
                raise SettingError(f"l2={self.l2}: must be a number above 0")

    def __init__(self, schema: Schema, settings: Settings, sockets: Sockets = Sockets()) -> None:
        super().__init__(
            schema,
            settings,
            sockets,
            ids_U=torch.arange(schema.first_value_id),  # ascending: the missing one, new ones of each field, values
            weights_U=torch.zeros(schema.first_value_id, dtype=torch.float64),
            weights_X=torch.zeros(sockets.columns, dtype=torch.float64),
            bias_1=torch.zeros(1, dtype=torch.float64),
        )
        self.ids_U: Tensor
        self.weights_U: Tensor
        self.weights_X: Tensor
        self.bias_1: Tensor
        self.new_F = 1 + torch.arange(len(schema.fields))

    def fit(self, rows: Batch, plugged: Plugged = EMPTY) -> None:
        ids_BG = torch.cat([rows.ids_BF.long(), self._new(rows)], dim=1)
        there_BG = ids_BG != MISSING
        ids_U = torch.cat([self.ids_U, ids_BG[there_BG]]).unique()
        columns = torch.searchsorted(ids_U, ids_BG[there_BG])
        starts = torch.cat([torch.zeros(1, dtype=torch.int64), there_BG.sum(dim=1).cumsum(0)])
        ones = np.ones(len(columns))
        hot_BU = csr_matrix((ones, columns.numpy(), starts.numpy()), shape=(len(rows), len(ids_U)))
        before_U = torch.zeros(len(ids_U), dtype=torch.float64)
        before_U[torch.searchsorted(ids_U, self.ids_U)] = self.weights_U
        before_W = torch.cat([before_U, self.weights_X, self.bias_1]).numpy()
        label_B, known_BX = rows.label.double().numpy(), self._columns(plugged, len(rows)).numpy()
        learnt_W = torch.from_numpy(_converged(hot_BU, known_BX, label_B, before_W, self.settings.l2))
        self.ids_U, parts = ids_U, learnt_W.split([len(ids_U), len(self.weights_X), 1])
        self.weights_U, self.weights_X, self.bias_1 = (part.clone() for part in parts)

    def forward(self, batch: Batch, plugged: Plugged = EMPTY) -> Tensor:
        ids_BF = batch.ids_BF.long()
        read_BF = torch.where(self._seen(ids_BF), ids_BF, self.new_F)
        w_BF = self.weights_U[torch.searchsorted(self.ids_U, read_BF)]
        logit_B = self.bias_1 + w_BF.sum(dim=1) + self._columns(plugged, len(batch)) @ self.weights_X
        return logit_B.float()

    def _seen(self, ids_BF: Tensor) -> Tensor:
        """Whether a fit has seen the value, [B, F] bool; the missing one is never new."""
        place_BF = torch.searchsorted(self.ids_U, ids_BF).clamp(max=len(self.ids_U) - 1)
        return self.ids_U[place_BF] == ids_BF

    def _new(self, rows: Batch) -> Tensor:
        """The id of its field's new values where a row's value is new, the missing one elsewhere, [B, F]."""
        ids_BF = rows.ids_BF.long()
        if len(self.ids_U) > 1 + len(self.new_F):
            new_BF = ~self._seen(ids_BF)
        else:
            slice_B1 = slices_in_time(rows, SLICES).unsqueeze(1)
            slice_BF = slice_B1.expand_as(ids_BF)
            values, value_BF = ids_BF.unique(return_inverse=True)
            first = torch.full((len(values),), SLICES).scatter_reduce(0, value_BF.flatten(), slice_BF.flatten(), "amin")
            new_BF = (first[value_BF] == slice_B1) & (slice_B1 > 0) & (ids_BF != MISSING)
        return torch.where(new_BF, self.new_F, MISSING)

    def _columns(self, plugged: Plugged, rows: int) -> Tensor:
        """Columns of knowledge, [B, X] float64; zeros without any."""
        if plugged.columns_BX is None:
            return torch.zeros(rows, self.sockets.columns, dtype=torch.float64)
        return plugged.columns_BX.double()


def _converged(
    hot_BU: csr_matrix, known_BX: np.ndarray, label_B: np.ndarray, before_W: np.ndarray, l2: float
) -> np.ndarray:
    """The weights that minimise the loss of the module's docstring, [W]; the last one is b.

    Steps are taken in units of a weight's standard error, were it alone: frequent and rare values then converge alike.
    """
    values, rate = hot_BU.shape[1], (label_B.sum() + 1) / (len(label_B) + 2)
    held_W = np.append(np.full(len(before_W) - 1, l2), 0.0)
    squares_W = np.concatenate([hot_BU.T @ np.ones(len(label_B)), (known_BX**2).sum(axis=0), [len(label_B) + 2]])
    unit_W = 1 / np.sqrt(rate * (1 - rate) * squares_W + held_W)

    def loss(steps_W: np.ndarray) -> tuple[float, np.ndarray]:
        moved_W = unit_W * steps_W
        w_W = before_W + moved_W
        bias = w_W[-1]
        logit_B = hot_BU @ w_W[:values] + known_BX @ w_W[values:-1] + bias
        wrong_B = expit(logit_B) - label_B
        lost = np.logaddexp(0, logit_B).sum() - label_B @ logit_B + np.logaddexp(0, bias) + np.logaddexp(0, -bias)
        of_bias = wrong_B.sum() + 2 * expit(bias) - 1
        slope_W = np.concatenate([hot_BU.T @ wrong_B, known_BX.T @ wrong_B, [of_bias]]) + held_W * moved_W
        return float(lost + 0.5 * held_W @ moved_W**2), unit_W * slope_W

    options = {"maxiter": STEPS, "gtol": CONVERGED, "ftol": 0.0}
    found = minimize(loss, np.zeros(len(before_W)), jac=True, method="L-BFGS-B", options=options)
    learnt_W: np.ndarray = before_W + unit_W * found.x
    return learnt_W
