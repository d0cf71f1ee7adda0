from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from pkb.batch import Batch, Neighbours
from pkb.step import click_loss as loss_of
from retrieval.models.sim import (
    GAPS,
    SIM,
    Behaviours,
    ExactSearch,
    SIMHard,
    SIMSoft,
    SoftSearch,
    best_places,
    gap_bucket,
)
from retrieval.user import UserBehavioursIndex, UserSimilarityIndex
from tests.pkb.backbones.check_backbone import Case, cases, every_parameter_gets_a_finite_gradient, make_rows, train
from tests.pkb.backbones.lively import lively
from tests.pkb.neighbours import make_neighbours
from tests.retrieval import worlds
from tests.retrieval.models.candidates import candidates_of
from tests.retrieval.models.rows import make_met_rows, with_neighbours
from tests.retrieval.models.test_contract import (
    MetCase,
    absent_neighbours_change_nothing,
    neighbours_are_a_set,
    nothing_but_missing_values_is_scored,
    without_neighbours_the_score_is_that_of_absent_ones,
)

LATE = 10**6
VARIANTS = (SIMHard, SIMSoft)
CATEGORY = 2


def make_behaviours(present: list[int], *, columns: int = 6, width: int = 4) -> Behaviours:
    """So many of each row; in double precision."""
    shape = (len(present), columns)
    return Behaviours(
        vectors_BKE=torch.randn(*shape, width, dtype=torch.float64, generator=torch.Generator().manual_seed(1)),
        age_BK=torch.randint(10_000, shape, dtype=torch.int32, generator=torch.Generator().manual_seed(2)),
        present_BK=torch.arange(columns) < torch.tensor(present).unsqueeze(1),
    )


def make_target(rows: int, width: int = 4) -> Tensor:
    return torch.randn(rows, width, dtype=torch.float64, generator=torch.Generator().manual_seed(3))


def behaviours_of(model: SIM, near: Neighbours) -> Behaviours:
    vectors_BKE = model.table.look_up(near.ids_BKF[:, :, model.of_item], model.of_item).flatten(2)
    return Behaviours(vectors_BKE=vectors_BKE, age_BK=near.age_BK, present_BK=near.present_BK)


def make_rows_that_only_neighbours_tell_apart(retriever: str, number: int = 32) -> Batch:
    """Alike in every field; the behaviours of those that click are of one category, those of the others of another."""
    rows = make_rows(number)
    rows = replace(rows, ids_BF=rows.ids_BF[:1].expand(number, -1).contiguous())
    near = make_neighbours(rows)
    ids_BKF = near.ids_BKF.clone()
    ids_BKF[:, :, CATEGORY] = (20 + rows.label.int().unsqueeze(1)).expand(near.present_BK.shape)
    present_BK = near.present_BK.clone()
    present_BK[:, 0] = True
    return with_neighbours(rows, retriever, replace(near, ids_BKF=ids_BKF, present_BK=present_BK))


@pytest.mark.parametrize(
    ("case", "check"),
    [
        pytest.param(case, check, id=f"{variant.__name__}-{label}-{case.plug or 'no_plug'}-{check.__name__}")
        for variant in VARIANTS
        for alone, check in cases(variant)
        for label, case in (("alone", alone), ("met", MetCase(variant, alone.plug)))
        # Without neighbours plugs meet nothing new, and what reads neighbours gets no gradient.
        if label == "met" or not (alone.plug or check is every_parameter_gets_a_finite_gradient)
    ],
)
def test_as_a_backbone_with_neighbours_and_without(case: Case, check: Callable[[Case], None]) -> None:
    check(case)


@pytest.mark.parametrize(
    "check",
    [
        without_neighbours_the_score_is_that_of_absent_ones,
        absent_neighbours_change_nothing,
        neighbours_are_a_set,
        nothing_but_missing_values_is_scored,
    ],
)
@pytest.mark.parametrize("variant", VARIANTS)
def test_as_a_model_that_reads_neighbours(variant: type[SIM], check: Callable[[MetCase], None]) -> None:
    check(MetCase(variant))


def test_buckets_of_time_double_in_length_and_hold_every_time() -> None:
    ages = torch.tensor([0, 1, 2, 3, 4, 7, 8, 2**30 - 1, 2**30, 2**31 - 1], dtype=torch.int32)
    assert gap_bucket(ages).tolist() == [0, 1, 2, 2, 3, 3, 4, 30, 31, 31]
    assert gap_bucket(ages).max() < GAPS


def test_exact_search_follows_its_equations() -> None:
    exact, behaviours, target = ExactSearch(4, 3, 2, 5).double(), make_behaviours([3]), make_target(1)
    heads = []
    for key, query in zip(exact.key.weight.chunk(2), exact.query.weight.chunk(2), strict=True):
        z = [
            torch.cat([vector, exact.gap.weight[gap_bucket(age)]])
            for vector, age in zip(behaviours.vectors_BKE[0, :3], behaviours.age_BK[0, :3], strict=True)
        ]
        weights = torch.stack([(key @ z_k) @ (query @ target[0]) for z_k in z]).exp()
        heads.append(sum(w * z_k for w, z_k in zip(weights / weights.sum(), z, strict=True)))
    torch.testing.assert_close(exact(behaviours, target)[0], torch.cat([torch.as_tensor(head) for head in heads]))


def test_no_behaviours_are_no_interest() -> None:
    interest = ExactSearch(4, 3, 2, 5).double()(make_behaviours([0, 2]), make_target(2))
    assert interest[0].abs().sum() == 0
    assert interest[1].abs().sum() > 0


def test_how_long_ago_a_behaviour_was_counts() -> None:
    exact, behaviours, target = ExactSearch(4, 3, 2, 5).double(), make_behaviours([3]), make_target(1)
    older = replace(behaviours, age_BK=behaviours.age_BK * 1000)
    assert not torch.allclose(exact(older, target), exact(behaviours, target))


def test_the_best_come_first_and_among_equals_the_first_and_what_is_absent_last() -> None:
    scores = torch.tensor([[0.0, 1.0, 5.0, 1.0, 2.0]])
    found = torch.tensor([[True, True, False, True, True]])
    assert best_places(scores, found, 9).tolist() == [[4, 1, 3, 0, 2]]
    assert best_places(scores, found, 2).tolist() == [[4, 1]]


@settings(max_examples=20)
@given(seed=st.integers(0, 500), k=st.integers(1, 30))
def test_a_new_soft_search_chooses_as_the_index_does_by_the_same_embeddings(seed: int, k: int) -> None:
    model = SIMSoft(worlds.SCHEMA, SIMSoft.Settings(width=4)).eval()
    model.grow(60, torch.Generator().manual_seed(seed))
    model.table.weight.data.mul_(200).round_()  # whole numbers: what is equal ties, however it was added up

    def embedding(rows: Batch) -> Tensor:
        vectors_BFD: Tensor = model.table(rows)
        return vectors_BFD[:, model.of_item].flatten(1)

    pool, queries = worlds.make_pool([80, 0, 120], seed=seed), worlds.make_rows(8, start=LATE, seed=seed + 1)
    candidates = UserBehavioursIndex(pool).search(queries, 200, until=LATE)
    found = UserSimilarityIndex(pool, embedding, model.item_width).search(queries, k, until=LATE)
    near = candidates_of(pool, queries, 200, LATE)
    behaviours = behaviours_of(model, near)
    relevance_BK = model.soft(behaviours, embedding(queries))
    places = best_places(relevance_BK, behaviours.present_BK, k)
    assert torch.equal(candidates.rows_BK.gather(1, places), found.rows_BK)
    torch.testing.assert_close(relevance_BK.gather(1, places)[found.mask].double(), found.scores_BK[found.mask])


def test_the_soft_search_is_learnt_from_the_behaviours_as_far_as_they_are_relevant() -> None:
    soft, behaviours, target = SoftSearch(4, (5,)).double(), make_behaviours([3, 0]), make_target(2)
    with torch.no_grad():
        soft.of_target.weight.add_(torch.randn(4, 4))
    label = torch.tensor([1.0, 0.0])
    pooled = torch.zeros(2, 4, dtype=torch.float64)
    for vector in behaviours.vectors_BKE[0, :3]:
        pooled[0] += (vector @ soft.of_target.weight @ target[0]) * vector
    logits = soft.click(torch.cat([pooled, target], dim=1)).squeeze(1)
    expected = binary_cross_entropy_with_logits(logits, label.double())
    torch.testing.assert_close(soft.loss(soft(behaviours, target), behaviours, target, label), expected)


def test_behaviours_that_the_soft_search_leaves_out_do_not_count() -> None:
    model, rows = lively(SIMSoft, keep=2), make_met_rows("user_behaviours")
    near = rows.neighbours["user_behaviours"]
    behaviours = behaviours_of(model, near)
    target = model.table(rows)[:, model.of_item].flatten(1)
    kept = best_places(model.soft(behaviours, target), near.present_BK, 2)
    alone = Neighbours(
        ids_BKF=near.ids_BKF.take_along_dim(kept.unsqueeze(2), dim=1),
        label_BK=near.label_BK.gather(1, kept),
        age_BK=near.age_BK.gather(1, kept),
        present_BK=near.present_BK.gather(1, kept),
    )
    assert (near.present_BK.sum(dim=1) > 2).any()
    torch.testing.assert_close(model(with_neighbours(rows, "user_behaviours", alone)), model(rows))


def test_only_training_learns_the_soft_search_and_a_weight_of_zero_leaves_it_out() -> None:
    rows = make_met_rows("user_behaviours")
    assert lively(SIMSoft).with_auxiliary(rows)[1] is None
    assert lively(SIMSoft, auxiliary=0.0).train().with_auxiliary(rows)[1] is None
    once, twice = (lively(SIMSoft, auxiliary=weight).train() for weight in (1.0, 2.0))
    for model in (once, twice):
        model.table.new_value_rate = 0.0
    losses = [model.with_auxiliary(rows)[1] for model in (once, twice)]
    assert losses[0] is not None
    torch.testing.assert_close(losses[1], 2 * losses[0])


@pytest.mark.parametrize("variant", VARIANTS)
def test_it_learns_what_only_the_neighbours_tell(variant: type[SIM]) -> None:
    case, rows = Case(variant), make_rows_that_only_neighbours_tell_apart(variant.retriever)
    model = case.make().eval()
    before = loss_of(model, rows, None).item()
    train(model, rows, None, steps=40)
    assert loss_of(model, rows, None).item() < 0.2 * before
    assert loss_of(model, replace(rows, neighbours={}), None).item() > 0.5 * before
