"""Logistic regression on ids, fitted until nothing moves any more: what `lr` would come to after many passes.

y = b + sum_f w[value of f]

minimises  sum of the rows' weighted log losses + l2 / 2 |w - w0|^2  with w0 = 0 in a first fit: l2 = 1 is the "C=1" of
scikit-learn. Nothing holds b but one click and one missed one that belong to no value, so that labels of one class
leave it finite. A later fit starts from what was learnt before and holds w to it.

Each field of users and items has one more weight, for new values: a value that no fit has seen reads it in place of its
own. A row with values that were new to it, in its fit or in its slice of time of a first fit, is learnt twice with half
a row's weight: as it is, and as it was while these were new. (Added to a value's own weight, that of new values says
nothing of a value without one.) Fields of context have none: in the first day every hour is new, which tells nothing
of the next. The weights of a list's values add up, numbers are read by their bins, and of a vector whether it is there.

Shapes: B rows, F fields, C columns of ids, one a field and those of lists behind the first value, U weights of values,
L rows as they are learnt, X columns of knowledge, W = U + X + 1 weights.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from pkb.backbones.base import FittedBackbone
from pkb.backbones.before import slices_in_time
from pkb.batch import MISSING, Batch, Schema
from pkb.errors import SettingError
from pkb.plug import EMPTY, Plugged, Sockets

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

SLICES = 8  # of a first fit
STEPS = 500  # at most
CONVERGED = 0.05  # of its standard error, about: how far a weight may still be from where it belongs


class Logistic(FittedBackbone):
    """Says a probability of one half until it has been fitted."""

    @dataclass(frozen=True, kw_only=True)
    class Settings:
        l2: float = 5.0  # beside the sum of the rows' losses; 5 was better than 1 on EB-NeRD and on the synthetic world

        def __post_init__(self) -> None:
            if not self.l2 > 0:
                raise SettingError(f"l2={self.l2}: must be a number above 0")

    def __init__(self, schema: Schema, settings: Settings, sockets: Sockets = Sockets()) -> None:
        super().__init__(
            schema,
            settings,
            sockets,
            ids_U=torch.arange(1 + len(schema.fields)),  # ascending: the missing one, new ones of each field, values
            weights_U=torch.zeros(1 + len(schema.fields), dtype=torch.float64),
            weights_X=torch.zeros(sockets.columns, dtype=torch.float64),
            bias_1=torch.zeros(1, dtype=torch.float64),
        )
        self.ids_U: Tensor
        self.weights_U: Tensor
        self.weights_X: Tensor
        self.bias_1: Tensor
        own = [place if field.role in ("user", "item") else MISSING for place, field in enumerate(schema.fields, 1)]
        self.new_F = torch.tensor(own)  # what stands for a field's new values
        self.lists = [(place, field.name) for place, field in enumerate(schema.fields) if field.kind == "list"]

    def fit(self, rows: Batch, plugged: Plugged = EMPTY) -> None:
        from scipy.sparse import csr_matrix  # takes half a second: only whoever fits waits for it

        ids_BC, of_new_C = self._ids(rows)
        new_BC, known_BX = self._new(rows, ids_BC, of_new_C), self._columns(plugged, len(rows))
        twice_B = new_BC.any(dim=1)
        ids_LC = torch.cat([ids_BC, torch.where(new_BC, of_new_C, ids_BC)[twice_B]])
        there_LC = ids_LC != MISSING
        ids_U = torch.cat([self.ids_U, ids_LC[there_LC]]).unique()
        columns = torch.searchsorted(ids_U, ids_LC[there_LC])
        starts = torch.cat([torch.zeros(1, dtype=torch.int64), there_LC.sum(dim=1).cumsum(0)])
        before_U = torch.zeros(len(ids_U), dtype=torch.float64)
        before_U[torch.searchsorted(ids_U, self.ids_U)] = self.weights_U
        weight_B = torch.where(twice_B, 0.5, 1.0).double() * (1.0 if rows.weight is None else rows.weight)
        learnt_W = _converged(
            csr_matrix((np.ones(len(columns)), columns.numpy(), starts.numpy()), shape=(len(ids_LC), len(ids_U))),
            torch.cat([known_BX, known_BX[twice_B]]).numpy(),
            torch.cat([rows.label, rows.label[twice_B]]).double().numpy(),
            torch.cat([weight_B, weight_B[twice_B]]).numpy(),
            before_W=torch.cat([before_U, self.weights_X, self.bias_1]).numpy(),
            l2=self.settings.l2,
        )
        self.ids_U, parts = ids_U, torch.from_numpy(learnt_W).split([len(ids_U), len(self.weights_X), 1])
        self.weights_U, self.weights_X, self.bias_1 = (part.clone() for part in parts)

    def forward(self, batch: Batch, plugged: Plugged = EMPTY) -> Tensor:
        ids_BC, of_new_C = self._ids(batch)
        read_BC = torch.where(self._seen(ids_BC), ids_BC, of_new_C)
        w_BC = self.weights_U[torch.searchsorted(self.ids_U, read_BC)]
        logit_B = self.bias_1 + w_BC.sum(dim=1) + self._columns(plugged, len(batch)) @ self.weights_X
        return logit_B.float()

    def _ids(self, rows: Batch) -> tuple[Tensor, Tensor]:
        """The ids of rows, [B, C], and what stands for new ones in each column, [C]."""
        behind = [(place, rows.lists[name][:, 1:]) for place, name in self.lists]
        of_new = [self.new_F, *(self.new_F[place].expand(ids.shape[1]) for place, ids in behind)]
        return torch.cat([rows.ids_BF, *(ids for _, ids in behind)], dim=1).long(), torch.cat(of_new)

    def _seen(self, ids_BC: Tensor) -> Tensor:
        """Whether a fit has seen the value, [B, C] bool; the missing one is never new."""
        place_BC = torch.searchsorted(self.ids_U, ids_BC).clamp(max=len(self.ids_U) - 1)
        return self.ids_U[place_BC] == ids_BC

    def _new(self, rows: Batch, ids_BC: Tensor, of_new_C: Tensor) -> Tensor:
        """Whether a row's value was new when the row was shown, and its field has a weight for that, [B, C] bool."""
        if len(self.ids_U) > 1 + len(self.new_F):
            new_BC = ~self._seen(ids_BC)
        else:
            slice_B1 = slices_in_time(rows, SLICES).unsqueeze(1)
            values, value_BC = ids_BC.unique(return_inverse=True)
            slice_of = slice_B1.expand_as(ids_BC).flatten()
            first = torch.full((len(values),), SLICES).scatter_reduce(0, value_BC.flatten(), slice_of, "amin")
            new_BC = (first[value_BC] == slice_B1) & (slice_B1 > 0) & (ids_BC != MISSING)
        return new_BC & (of_new_C != MISSING)

    def _columns(self, plugged: Plugged, rows: int) -> Tensor:
        """Columns of knowledge, [B, X] float64; zeros without any."""
        if plugged.columns_BX is None:
            return torch.zeros(rows, self.sockets.columns, dtype=torch.float64)
        return plugged.columns_BX.double()


def _converged(
    hot_LU: csr_matrix,
    known_LX: np.ndarray,
    label_L: np.ndarray,
    weight_L: np.ndarray,
    *,
    before_W: np.ndarray,
    l2: float,
) -> np.ndarray:
    """The weights that minimise the loss of the module's docstring, [W]; the last one is b.

    Steps are taken in units of a weight's standard error, were it alone: frequent and rare values then converge alike.
    A first fit starts at the overall rate: from b = 0 all fields' weights would share out what is b's, and as only l2
    tells these apart, no step would bring it back.
    """
    from scipy.optimize import minimize
    from scipy.special import expit

    values, held_W = hot_LU.shape[1], np.append(np.full(len(before_W) - 1, l2), 0.0)
    shown = weight_L.sum() + 2
    rate = (weight_L @ label_L + 1) / shown
    if not before_W.any():
        before_W = np.append(before_W[:-1], np.log(rate / (1 - rate)))
    squares_W = np.concatenate([hot_LU.T @ weight_L, weight_L @ known_LX**2, [shown]])
    unit_W = 1 / np.sqrt(rate * (1 - rate) * squares_W + held_W)

    def loss(steps_W: np.ndarray) -> tuple[float, np.ndarray]:
        moved_W = unit_W * steps_W
        w_W = before_W + moved_W
        bias = w_W[-1]
        logit_L = hot_LU @ w_W[:values] + known_LX @ w_W[values:-1] + bias
        lost = (
            weight_L @ (np.logaddexp(0, logit_L) - label_L * logit_L) + np.logaddexp(0, bias) + np.logaddexp(0, -bias)
        )
        wrong_L = weight_L * (expit(logit_L) - label_L)
        of_bias = wrong_L.sum() + 2 * expit(bias) - 1
        slope_W = np.concatenate([hot_LU.T @ wrong_L, known_LX.T @ wrong_L, [of_bias]]) + held_W * moved_W
        return float(lost + 0.5 * held_W @ moved_W**2), unit_W * slope_W

    options = {"maxiter": STEPS, "gtol": CONVERGED, "ftol": 0.0}
    found = minimize(loss, np.zeros(len(before_W)), jac=True, method="L-BFGS-B", options=options)
    learnt_W: np.ndarray = before_W + unit_W * found.x
    return learnt_W
