from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from pkb.batch import Batch
from retrieval.dense import DenseIndex
from retrieval.faiss_kinds import DenseSettings
from retrieval.models.dert import DERT, corrupted, info_nce
from retrieval.pool import Pool
from tests.pkb.backbones.check_backbone import IDS, SCHEMA, make_rows
from tests.pkb.backbones.lively import lively
from tests.retrieval.models.rows import make_met_rows


def new_model(**settings: float) -> DERT:
    torch.manual_seed(0)
    model = DERT(SCHEMA, DERT.Settings(**settings))  # type: ignore[arg-type]
    model.grow(IDS, torch.Generator().manual_seed(0))
    return model


def encoder_loss(model: DERT, rows: Batch) -> torch.Tensor:
    auxiliary = model.with_auxiliary(rows)[1]
    assert auxiliary is not None
    return auxiliary


def test_vectors_have_length_one() -> None:
    model, rows = lively(DERT, vector_width=6), make_rows()
    vectors = model.encode(rows)
    assert vectors.shape == (len(rows), 6)
    torch.testing.assert_close(vectors.norm(dim=1), torch.ones(len(rows), dtype=torch.float64))


def test_the_dense_index_searches_by_its_vectors() -> None:
    model, rows = new_model().eval(), make_rows(50)
    pool = Pool(SCHEMA)
    pool.append(rows, start=0, end=50)
    found = DenseIndex(pool, model.encode, model.vector_width, DenseSettings()).search(
        replace(rows, ts=None), 1, until=50
    )
    assert np.array_equal(found.rows_BK[:, 0], np.arange(50)), "a row is not most alike to itself"


def test_a_corrupted_view_takes_its_values_from_other_rows_and_the_same_field() -> None:
    ids_BF = torch.arange(40).reshape(10, 4)
    view_BF = corrupted(ids_BF, 1.0)
    assert torch.equal(view_BF % 4, ids_BF % 4), "a value has changed its field"
    assert (view_BF != ids_BF).all()
    assert torch.equal(corrupted(ids_BF, 0.0), ids_BF)


def test_so_many_values_are_replaced_as_the_setting_says() -> None:
    torch.manual_seed(0)
    ids_BF = torch.arange(40_000).reshape(10_000, 4)
    replaced = corrupted(ids_BF, 0.6) != ids_BF
    assert math.isclose(replaced.float().mean(), 0.6, abs_tol=0.01)


def test_the_seed_decides_the_corrupted_view() -> None:
    ids_BF, views = torch.arange(40).reshape(10, 4), []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        views.append(corrupted(ids_BF, 0.5))
    assert torch.equal(views[0], views[1])
    assert not torch.equal(views[0], views[2])


def test_a_row_alone_is_its_own_view() -> None:
    ids_BF = torch.arange(4).reshape(1, 4)
    assert torch.equal(corrupted(ids_BF, 1.0), ids_BF)


def test_the_contrast_is_the_formula() -> None:
    z_BV, view_BV = torch.randn(2, 5, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    similarity = [[math.exp(float(z @ view) / 0.5) for view in view_BV] for z in z_BV]
    expected = -sum(math.log(similarity[i][i] / sum(similarity[i])) for i in range(5)) / 5
    assert math.isclose(info_nce(z_BV, view_BV, 0.5).item(), expected)


def test_the_contrast_falls_in_training() -> None:
    model, rows = new_model(supervised=0.0, contrast=1.0, corruption=0.3, temperature=0.2).train(), make_rows()
    dense = [weight for name, weight in model.encoder.named_parameters() if name != "table.weight"]
    optimisers = [torch.optim.Adam(dense, lr=0.01), torch.optim.SparseAdam([model.encoder.table.weight], lr=0.01)]
    losses = []
    for _ in range(60):
        for optimiser in optimisers:
            optimiser.zero_grad()
        loss = encoder_loss(model, rows)
        loss.backward()
        for optimiser in optimisers:
            optimiser.step()
        losses.append(loss.item())
    assert sum(losses[-10:]) < 0.7 * sum(losses[:10])


@pytest.mark.parametrize("of_encoder", [True, False])
def test_the_encoder_and_the_prediction_share_no_gradient(of_encoder: bool) -> None:
    model, rows = new_model().train(), make_met_rows("dense")
    (encoder_loss(model, rows) if of_encoder else model(rows).sum()).backward()
    for name, weight in model.named_parameters():
        assert (weight.grad is not None) == (name.startswith(("encoder", "click")) == of_encoder), name


def test_evaluation_adds_no_loss() -> None:
    assert new_model().eval().with_auxiliary(make_met_rows("dense"))[1] is None
