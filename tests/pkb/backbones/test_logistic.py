from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.sparse import csr_matrix, vstack
from sklearn.linear_model import LogisticRegression

from pkb.backbones.base import make_click_model
from pkb.backbones.logistic import Logistic
from pkb.batch import Batch
from pkb.errors import SettingError
from tests.pkb.backbones.check_backbone import IDS, PART, SCHEMA, make_knowledge, make_rows

ROWS = 1500


def noisy(seed: int = 0, rows: int = ROWS) -> Batch:
    """Rows of one second, so that no value is new, whose labels their values make likelier or not."""
    made, draw = make_rows(rows, seed=seed), torch.Generator().manual_seed(seed)
    tastes = torch.randn(IDS, generator=torch.Generator().manual_seed(9))
    label = torch.bernoulli(torch.sigmoid(tastes[made.ids_BF.long()].sum(dim=1) - 1), generator=draw)
    return replace(made, label=label, ts=torch.zeros(rows, dtype=torch.int64))


def fitted(*fits: Batch, l2: float = 1.0) -> Logistic:
    model = Logistic(SCHEMA, Logistic.Settings(l2=l2))
    for rows in fits:
        model.fit(rows)
    return model


@pytest.mark.parametrize("l2", [0.1, 1.0, 10.0])
def test_it_is_the_regression_of_scikit_learn(l2: float) -> None:
    rows, unseen = noisy(), noisy(1, 200)

    def hot(batch: Batch) -> csr_matrix:
        place = (np.repeat(np.arange(len(batch)), 4), batch.ids_BF.numpy().ravel())
        return csr_matrix((np.ones(4 * len(batch)), place), shape=(len(batch), IDS))

    twice = np.append(rows.label.numpy(), [0, 1])  # one click and one missed one that belong to no value
    theirs = LogisticRegression(C=1 / l2, tol=1e-8, max_iter=5000)
    empty = csr_matrix((2, IDS))
    theirs.fit(vstack([hot(rows), empty]), twice)
    expected = torch.from_numpy(theirs.decision_function(hot(unseen))).float()
    torch.testing.assert_close(fitted(rows, l2=l2)(unseen), expected, atol=0.02, rtol=0)


def test_a_value_never_seen_reads_what_its_fields_new_values_were_worth() -> None:
    rows = make_rows(2 * ROWS)
    item = SCHEMA.item_column
    rows.ids_BF[:, item] = 100 + torch.arange(len(rows)) // 10  # ten rows each, so that new ones come all the time
    slices = torch.arange(len(rows)) // (len(rows) // 8)
    draw = torch.Generator().manual_seed(0)
    again = (torch.rand(len(rows), generator=draw) < 0.5) & (slices > 0)
    rows.ids_BF[again, item] = 100 + torch.randint(30, (int(again.sum()),), generator=draw).int()
    new = (rows.ids_BF[:, item] >= 130) & (slices > 0)
    rows = replace(rows, label=torch.bernoulli(torch.where(new, 0.8, 0.2), generator=draw))
    model, asked = fitted(rows), make_rows(200, seed=1)
    asked.ids_BF[:, item] = 10_000
    assert torch.sigmoid(model(asked)).mean() > 0.6
    asked.ids_BF[:, item] = 100
    assert torch.sigmoid(model(asked)).mean() < 0.4
    asked.ids_BF[:, item] = 0
    assert 0.2 < torch.sigmoid(model(asked)).mean() < 0.8


def test_a_second_fit_goes_on_from_the_first_and_keeps_what_it_does_not_meet() -> None:
    first, second = noisy(), noisy(1)
    second.ids_BF[:, 0] = 1000
    once, twice = fitted(first), fitted(first, second)
    asked = noisy(2, 100)
    assert not torch.allclose(once(asked), fitted(second)(asked), atol=0.5)
    kept = torch.isin(twice.ids_U, first.ids_BF[:, 0].long()) & ~torch.isin(twice.ids_U, second.ids_BF.long())
    before = once.weights_U[torch.isin(once.ids_U, twice.ids_U[kept])]
    torch.testing.assert_close(twice.weights_U[kept], before, atol=1e-4, rtol=0)


@pytest.mark.parametrize("label", [0.0, 1.0])
def test_labels_of_one_class_leave_it_finite(label: float) -> None:
    rows = replace(make_rows(100), label=torch.full((100,), label))
    said = torch.sigmoid(fitted(rows)(make_rows(50, seed=1)))
    assert ((said - label).abs() < 0.05).all()
    assert ((said > 0) & (said < 1)).all()


def test_knowledge_is_more_columns() -> None:
    model = make_click_model(Logistic, SCHEMA, parts=[PART])
    rows, knowledge = make_rows(ROWS), make_knowledge(ROWS)
    rows = replace(rows, label=(knowledge["vectors"][:, 0, 0] > 0).float())
    assert isinstance(model.backbone, Logistic)
    model.backbone.fit(rows, model.plugged(knowledge))
    assert ((model(rows, knowledge) > 0) == (rows.label > 0)).float().mean() > 0.97
    assert ((model(rows) > 0) == (rows.label > 0)).float().mean() < 0.8


def test_settings_that_cannot_be_are_refused() -> None:
    with pytest.raises(SettingError, match=r"^l2=0: must be a number above 0"):
        Logistic.Settings(l2=0)
