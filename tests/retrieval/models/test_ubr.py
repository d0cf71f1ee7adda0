from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from math import log

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from pkb.batch import MISSING, Batch, Neighbours
from pkb.errors import SettingError
from pkb.step import click_loss as loss_of
from retrieval.models.ubr import UBR, likeliest, match_scores, policy_loss, reward
from retrieval.user import UserBehavioursIndex, UserMatchIndex
from tests.pkb.backbones.check_backbone import Case, cases, every_parameter_gets_a_finite_gradient, make_rows, train
from tests.pkb.backbones.lively import lively
from tests.retrieval import worlds
from tests.retrieval.models.candidates import candidates_of
from tests.retrieval.models.rows import make_met_rows, with_neighbours
from tests.retrieval.models.test_contract import (
    MetCase,
    absent_neighbours_change_nothing,
    neighbours_are_a_set,
    nothing_but_missing_values_is_scored,
)

LATE = 10**6
ITEM, CATEGORY, HOUR = 1, 2, 3
RETRIEVER = "user_behaviours"


def make_telling_world(number: int = 256, *, candidates: int = 8) -> Batch:
    """Rows that are alike. Each has one behaviour of its hour, whose item tells the label, behind newer ones of its
    category whose items tell nothing. To ask with the hour alone is the one way to find it."""
    draw = torch.Generator().manual_seed(0)
    ids_BF = torch.tensor([10, 11, 12, 13], dtype=torch.int32).repeat(number, 1)
    label = torch.randint(2, (number,), generator=draw).float()
    ids_BKF = ids_BF.unsqueeze(1).repeat(1, candidates, 1)
    ids_BKF[:, :, ITEM] = torch.randint(20, 22, (number, candidates), generator=draw)
    ids_BKF[:, :-1, HOUR] = 30
    ids_BKF[:, -1, CATEGORY] = 31
    ids_BKF[:, -1, ITEM] = 20 + label.int()
    shape = (number, candidates)
    near = Neighbours(
        ids_BKF=ids_BKF,
        label_BK=torch.ones(shape),
        age_BK=torch.ones(shape, dtype=torch.int32),
        present_BK=torch.ones(shape, dtype=torch.bool),
        idf_BF=torch.ones(number, 4),
    )
    return with_neighbours(replace(make_rows(number), ids_BF=ids_BF, label=label), RETRIEVER, near)


@pytest.mark.parametrize(
    ("case", "check"),
    [
        pytest.param(case, check, id=f"{label}-{case.plug or 'no_plug'}-{check.__name__}")
        for alone, check in cases(UBR)
        for label, case in (("alone", alone), ("met", MetCase(UBR, alone.plug)))
        # Without neighbours plugs meet nothing new, and what reads neighbours gets no gradient.
        if label == "met" or not (alone.plug or check is every_parameter_gets_a_finite_gradient)
    ],
)
def test_as_a_backbone_with_neighbours_and_without(case: Case, check: Callable[[Case], None]) -> None:
    check(case)


@pytest.mark.parametrize(
    "check", [absent_neighbours_change_nothing, neighbours_are_a_set, nothing_but_missing_values_is_scored]
)
def test_as_a_model_that_reads_neighbours(check: Callable[[MetCase], None]) -> None:
    check(MetCase(UBR))


def test_the_fields_of_more_than_one_half_are_asked_with_or_else_the_likeliest() -> None:
    logits = torch.tensor([[0.1, -0.1, 2.0], [-3.0, -0.2, -1.0]])
    assert likeliest(logits).tolist() == [[True, False, True], [False, True, False]]


@settings(max_examples=40)
@given(
    seed=st.integers(0, 500),
    k=st.integers(1, 30),
    asked=st.lists(st.lists(st.booleans(), min_size=3, max_size=3), min_size=8, max_size=8),
)
def test_the_choice_among_all_of_a_users_behaviours_is_that_of_the_index(
    seed: int, k: int, asked: list[list[bool]]
) -> None:
    pool, queries = worlds.make_pool([80, 0, 120], seed=seed), worlds.make_rows(8, start=LATE, seed=seed + 1)
    candidates = UserBehavioursIndex(pool).search(queries, 200, until=LATE)
    expected = UserMatchIndex(pool, ["item", "category", "hour"]).search_by(queries, torch.tensor(asked), k, until=LATE)
    model = UBR(worlds.SCHEMA, UBR.Settings(retrieved=k))
    near = candidates_of(pool, queries, 200, LATE)
    places_BK, found_BK = model.search(queries.ids_BF, torch.tensor(asked), near)
    assert torch.equal(found_BK, expected.mask)
    assert torch.equal(candidates.rows_BK.gather(1, places_BK)[found_BK], expected.rows_BK[expected.mask])


def test_a_missing_value_matches_nothing_and_every_field_counts_alike_without_idf() -> None:
    rows = make_met_rows(RETRIEVER)
    near, everything = rows.neighbours[RETRIEVER], torch.ones_like(rows.ids_BF, dtype=torch.bool)
    shared_BKF = (near.ids_BKF == rows.ids_BF.unsqueeze(1)) & near.present_BK.unsqueeze(2)
    assert torch.equal(match_scores(everything, rows.ids_BF, near), shared_BKF.sum(dim=2).double())
    nothing = replace(near, ids_BKF=torch.full_like(near.ids_BKF, MISSING))
    assert match_scores(everything, torch.full_like(rows.ids_BF, MISSING), nothing).sum() == 0


def test_the_reward_is_how_much_better_than_a_coin_a_row_was_predicted() -> None:
    rewards = reward(torch.tensor([0.0, 50.0, 1.0, -50.0]), torch.tensor([1.0, 1.0, 0.0, 1.0]))
    logloss = -log(1 - 1 / (1 + torch.e**-1))
    torch.testing.assert_close(rewards, torch.tensor([0.0, 1.0, 1 - logloss / log(2), -1.0]))


def test_the_loss_of_asking_is_that_of_reinforce_with_the_mean_reward_as_its_baseline() -> None:
    logits = torch.tensor([[0.3, -1.0], [2.0, 0.1]])
    asked = torch.tensor([[True, False], [True, True]])
    rewards = torch.tensor([0.5, -0.5])
    expected = 0.0
    for logits_F, asked_F, gain in zip(logits.sigmoid().tolist(), asked.tolist(), (0.5, -0.5), strict=True):
        for p, chosen in zip(logits_F, asked_F, strict=True):
            expected -= log(p if chosen else 1 - p) * gain / 2
    torch.testing.assert_close(policy_loss(logits, asked, rewards), torch.tensor(expected))


def test_equal_rewards_teach_nothing() -> None:
    logits = torch.randn(3, 2, requires_grad=True)
    policy_loss(logits, torch.rand(3, 2) < 0.5, torch.ones(3)).backward()
    assert logits.grad is not None
    assert logits.grad.abs().sum() == 0


def test_a_row_is_read_with_what_asking_retrieves() -> None:
    """In plain steps, row by row."""
    model, rows = lively(UBR, retrieved=2), make_met_rows(RETRIEVER)
    near, v_BFD = rows.neighbours[RETRIEVER], model.table(rows)
    asked_BA = likeliest(model.asking(v_BFD[:, 1:]))
    expected = []
    for b in range(len(rows)):
        fields = [f for f, wanted in zip((ITEM, CATEGORY, HOUR), asked_BA[b].tolist(), strict=True) if wanted]
        scored = [
            (-sum(int(near.ids_BKF[b, k, f] == rows.ids_BF[b, f]) for f in fields), k)
            for k in near.present_BK[b].nonzero().squeeze(1).tolist()
        ]
        best = [k for score, k in sorted(scored)[:2] if score < 0]
        query = model.query(v_BFD[b].flatten())
        read = torch.zeros_like(query)
        vectors = [model.table.look_up(near.ids_BKF[b, k, 1:], torch.tensor([1, 2, 3])).flatten() for k in best]
        weights = [torch.exp(query @ e) for e in vectors]
        for weight, e in zip(weights, vectors, strict=True):
            read = read + weight / torch.stack(weights).sum() * e
        expected.append(model.tower(torch.cat([v_BFD[b].flatten(), read]).unsqueeze(0)).squeeze())
    torch.testing.assert_close(model(rows), torch.stack(expected))


def test_asking_does_not_move_the_embeddings() -> None:
    model, rows = lively(UBR).train(), make_met_rows(RETRIEVER)
    _, asking = model.with_auxiliary(rows)
    assert asking is not None
    asking.backward()
    assert model.table.weight.grad is None
    assert all(weight.grad is not None for weight in model.asking.parameters())


def test_only_training_learns_to_ask_and_a_weight_of_zero_leaves_it_out() -> None:
    rows = make_met_rows(RETRIEVER)
    assert lively(UBR).with_auxiliary(rows)[1] is None
    assert lively(UBR, policy=0.0).train().with_auxiliary(rows)[1] is None


def test_training_asks_at_random_and_scoring_does_not() -> None:
    model, rows = lively(UBR), make_met_rows(RETRIEVER)
    model.table.new_value_rate = 0.0
    assert torch.equal(model(rows), model(rows))
    model.train()
    assert not torch.allclose(model(rows), model(rows))


def test_heads_must_divide_the_width() -> None:
    with pytest.raises(SettingError, match="heads=3: must divide the width, 16"):
        UBR(worlds.SCHEMA, UBR.Settings(heads=3))


def test_it_learns_to_ask_with_the_telling_field_alone() -> None:
    rows = make_telling_world()
    model = Case(UBR, settings={"retrieved": 1, "hidden": (16,)}).make().eval()
    train(model, rows, None, steps=60)
    backbone = model.backbone
    assert isinstance(backbone, UBR)
    p_BA: Tensor = backbone.asking(backbone.table(rows)[:, backbone.to_ask]).sigmoid()
    assert p_BA[:, HOUR - 1].min() > 0.9
    assert p_BA[:, CATEGORY - 1].max() < 0.1
    assert loss_of(model, rows, None).item() < 0.1
