"""Models that read older rows with their labels pass `check_backbone` with neighbours, and what follows from them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch

from pkb.batch import MISSING, Batch, Neighbours
from pkb.step import click_loss
from retrieval.models import RETRIEVAL_MODELS
from tests.pkb.backbones.check_backbone import Case, cases, train
from tests.pkb.backbones.lively import lively
from tests.retrieval.models.rows import absent, make_met_rows, padded, reordered, with_neighbours

MODELS = ("rim", "dert", "pet")


class MetCase(Case):
    """Its rows have met their neighbours."""

    @property
    def retriever(self) -> str:
        assert self.backbone.retriever is not None
        return self.backbone.retriever

    @property
    def rows(self) -> Batch:
        return make_met_rows(self.retriever)

    def having(self, change: Callable[[Neighbours], Neighbours]) -> Batch:
        """The rows with other neighbours."""
        return with_neighbours(self.rows, self.retriever, change(self.rows.neighbours[self.retriever]))

    @property
    def met(self) -> torch.Tensor:
        """Which rows have a neighbour at all."""
        return self.rows.neighbours[self.retriever].present_BK.any(dim=1)


def without_neighbours_the_score_is_that_of_absent_ones(case: MetCase) -> None:
    model, scores = case.make_lively(), case.make_lively()(case.rows)
    alone = model(replace(case.rows, neighbours={}))
    torch.testing.assert_close(alone, model(case.having(absent)))
    torch.testing.assert_close(alone[~case.met], scores[~case.met])
    assert not torch.isclose(alone, scores)[case.met].any()


def absent_neighbours_change_nothing(case: MetCase) -> None:
    model = case.make_lively()
    torch.testing.assert_close(model(case.having(lambda near: padded(near, 3))), model(case.rows))


def neighbours_are_a_set(case: MetCase) -> None:
    model, order = case.make_lively(), torch.tensor([3, 0, 4, 2, 1])
    torch.testing.assert_close(model(case.having(lambda near: reordered(near, order))), model(case.rows))


def the_label_of_a_neighbour_counts(case: MetCase) -> None:
    model = case.make_lively()
    other = model(case.having(lambda near: replace(near, label_BK=1 - near.label_BK)))
    assert torch.equal(torch.isclose(other, model(case.rows), atol=1e-6), ~case.met)


def the_age_of_a_neighbour_does_not_count(case: MetCase) -> None:
    model = case.make_lively()
    older = model(case.having(lambda near: replace(near, age_BK=near.age_BK + 1000)))
    assert torch.equal(older, model(case.rows))


def nothing_but_missing_values_is_scored(case: MetCase) -> None:
    blank = case.having(absent)
    blank = replace(blank, ids_BF=torch.full_like(blank.ids_BF, MISSING))
    for model in (case.make_lively(), case.make_lively().train()):
        assert model(blank).isfinite().all()


def it_learns_from_the_labels_of_neighbours_alone(case: MetCase) -> None:
    """All rows and all neighbours have the same values."""
    rows = make_met_rows(case.retriever)
    near = rows.neighbours[case.retriever]
    same_BF = rows.ids_BF[:1].expand_as(rows.ids_BF)
    told = replace(
        near,
        ids_BKF=same_BF.unsqueeze(1).expand_as(near.ids_BKF),
        label_BK=rows.label.unsqueeze(1).expand_as(near.label_BK),
        present_BK=torch.ones_like(near.present_BK),
    )
    rows = with_neighbours(replace(rows, ids_BF=same_BF), case.retriever, told)
    model = case.make()
    train(model, rows, None, steps=40)
    assert click_loss(model, rows, None).item() < 0.1


CHECKS = (
    without_neighbours_the_score_is_that_of_absent_ones,
    absent_neighbours_change_nothing,
    neighbours_are_a_set,
    the_label_of_a_neighbour_counts,
    the_age_of_a_neighbour_does_not_count,
    nothing_but_missing_values_is_scored,
    it_learns_from_the_labels_of_neighbours_alone,
)


def named_cases(name: str) -> Iterator[Any]:
    for case, check in cases(RETRIEVAL_MODELS[name], dropout=0.0):  # with it, Adam leaps once the loss is zero
        if name != "dert" or case.plug is None:  # knowledge enters RIM's prediction net
            met = MetCase(case.backbone, case.plug, case.settings)
            yield pytest.param(met, check, id=f"{name}-{case.plug or 'no_plug'}-{check.__name__}")


@pytest.mark.parametrize(("case", "check"), [param for name in MODELS for param in named_cases(name)])
def test_as_a_backbone(case: Case, check: Callable[[Case], None]) -> None:
    check(case)


@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize("name", MODELS)
def test_with_neighbours(name: str, check: Callable[[MetCase], None]) -> None:
    check(MetCase(RETRIEVAL_MODELS[name]))


@pytest.mark.parametrize("name", RETRIEVAL_MODELS)
def test_each_can_teach_what_it_reads(name: str) -> None:
    case, model = MetCase(RETRIEVAL_MODELS[name]), lively(RETRIEVAL_MODELS[name])
    r_BAD = model.aggregated(case.rows)
    assert r_BAD.shape == (len(case.rows), model.aggregated_vectors, model.embedding_width)
    says = r_BAD.flatten(1).any(dim=1)
    assert not says[~case.met].any()
    assert says[case.met].float().mean() > 0.8
    assert not model.aggregated(replace(case.rows, neighbours={})).any()
