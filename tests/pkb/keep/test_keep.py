"""KEEP as its paper states it: what is predicted over which rows, what is taken out of it, and how it enters."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch.nn.functional import binary_cross_entropy_with_logits

from pkb.backbones.base import make_click_model
from pkb.backbones.deepfm import DeepFM
from pkb.bases import KNOWLEDGE_BASES
from pkb.batch import Batch, Schema
from pkb.errors import SettingError
from pkb.keep import KEEP
from pkb.keep.pairs import pairwise_loss
from pkb.plug import INTO_USE
from pkb.step import Optimiser
from tests.pkb.backbones.check_backbone import IDS, make_rows, stir
from tests.pkb.base_case import SCHEMA as TWO
from tests.pkb.base_case import compress, losses_of

pytestmark = pytest.mark.usefixtures("one_thread")
SCHEMA = replace(TWO, labels=("click", "cart", "buy"))
SMALL = KEEP.Settings(user_width=6, width=4, hidden=(16, 8), attention=(8,))


def base(settings: KEEP.Settings = SMALL, schema: Schema = SCHEMA) -> KEEP:
    torch.manual_seed(0)
    made = KEEP(schema, settings)
    made.grow(IDS, torch.Generator().manual_seed(0))
    return made


def rows(number: int = 60, seed: int = 0) -> Batch:
    """Rows of five users, about half of them clicks; of these some put into the cart, and of those some bought."""
    made = make_rows(number, seed=seed, schema=SCHEMA)
    made.ids_BF[:, 0] = SCHEMA.first_value_id + made.row_id.int() % 5
    cart = made.label * (made.row_id % 3 == 0)
    return replace(made, further_labels={"cart": cart, "buy": cart * (made.row_id % 2)})


def logits(keep: KEEP, batch: Batch, task: str) -> torch.Tensor:
    """Score rows by one task's head on its K_ui."""
    number = keep.labels.index(task)
    known: torch.Tensor = keep.heads[number](keep.eval()._knowledge(batch)[f"interaction_{task}"][:, 0])
    return known.squeeze(1)


def test_the_first_task_is_told_of_all_rows_and_the_others_of_clicks_alone() -> None:
    keep, batch = stir(base()), rows()
    losses = losses_of(keep, batch, "compress")
    user_B, clicked = batch.ids_BF[:, 0], batch.label > 0
    total = torch.zeros(())
    for task, some in (("click", torch.ones_like(clicked)), ("cart", clicked), ("buy", clicked)):
        label_C = (batch.label if task == "click" else batch.further_labels[task])[some]
        logit_C = logits(keep, batch, task)[some].detach()
        point = binary_cross_entropy_with_logits(logit_C, label_C, reduction="sum") / len(batch)
        pair = pairwise_loss(logit_C, user_B[some], label_C) / len(batch)
        torch.testing.assert_close(losses[f"point_{task}"], point)
        torch.testing.assert_close(losses[f"pair_{task}"], pair)
        assert pair > 0
        total = total + point + 0.25 * pair
    torch.testing.assert_close(losses["total"], total)


def test_what_a_row_without_a_click_has_of_other_labels_is_nobodys() -> None:
    keep, batch = base(), rows()
    bought = batch.further_labels | {"cart": batch.further_labels["cart"].where(batch.label > 0, 1.0)}
    one, other = (losses_of(keep, b, "compress") for b in (batch, replace(batch, further_labels=bought)))
    assert all(torch.equal(loss, other[name]) for name, loss in one.items())


def test_a_row_that_does_not_tell_a_label_has_no_part_in_its_losses_nor_in_the_step() -> None:
    keep, batch = stir(base()), rows()
    cart, user = batch.further_labels["cart"].clone(), batch.ids_BF[:, 0].tolist()
    cart[::4] = math.nan  # as of a domain that does not know of carts
    batch = replace(batch, further_labels=batch.further_labels | {"cart": cart})
    losses, says = losses_of(keep, batch, "compress"), logits(keep, batch, "cart").double().tolist()
    told = [row for row in range(len(batch)) if batch.label[row] and not cart[row].isnan()]
    assert 0 < len(told) < int(batch.label.sum())
    point = sum(math.log1p(math.exp(-says[row] if cart[row] else says[row])) for row in told)
    pairs = [(i, j) for i in told for j in told if user[i] == user[j] and cart[i] and not cart[j]]
    pair = sum(math.log1p(math.exp(says[j] - says[i])) for i, j in pairs)
    assert pairs
    assert losses["point_cart"].item() == pytest.approx(point / len(batch), rel=1e-4)
    assert losses["pair_cart"].item() == pytest.approx(pair / len(batch), rel=1e-4)
    Optimiser(keep.train()).step(keep.compression_losses(batch, "compress")["total"], len(batch))
    assert all(weight.isfinite().all() for weight in keep.parameters())
    assert all(math.isfinite(value) for value in keep.health(batch).values())


def test_a_minibatch_without_clicks_is_learned_from() -> None:
    keep, batch = base(), rows()
    batch = batch.select(batch.label == 0)
    losses = losses_of(keep, batch, "compress")
    assert losses["point_click"] > 0
    assert not any(loss for name, loss in losses.items() if name not in ("total", "point_click"))
    Optimiser(keep.train()).step(keep.compression_losses(batch, "compress")["total"], len(batch))


def test_knowledge_is_the_users_embedding_those_of_the_items_fields_and_a_vector_of_each_task() -> None:
    keep, batch = base().eval(), rows()
    known = keep._knowledge(batch)
    assert [(p.name, p.vectors, p.width) for p in keep.parts] == [
        ("user", 1, 6),
        ("item", 2, 4),
        ("interaction_click", 1, 8),
        ("interaction_cart", 1, 8),
        ("interaction_buy", 1, 8),
    ]
    assert torch.equal(known["user"][:, 0], keep.table.look_up(batch.ids_BF[:, 0], 0)[:, :6])
    for place, column in enumerate((1, 2)):
        assert torch.equal(known["item"][:, place], keep.table.look_up(batch.ids_BF[:, column], column)[:, :4])


@pytest.mark.parametrize("parts", [("user",), ("interaction_cart", "user"), ("item", "interaction_click")])
def test_any_subset_of_the_parts_says_what_it_says_among_all(parts: tuple[str, ...]) -> None:
    whole, some = base().eval(), base(replace(SMALL, parts=parts)).eval()
    known, fewer = whole.knowledge(rows()), some.knowledge(rows())
    assert set(fewer) == set(parts)
    assert [part.name for part in some.parts] == [name for name in known if name in parts]
    assert all(torch.equal(part, known[name]) for name, part in fewer.items())


def test_tasks_that_are_left_out_are_not_learned() -> None:
    keep, batch = base(replace(SMALL, tasks=("click", "buy"))), rows()
    assert keep.labels == ("click", "buy")
    assert [part.name for part in keep.parts][2:] == ["interaction_click", "interaction_buy"]
    assert "point_cart" not in losses_of(keep, batch, "compress")


def test_a_history_is_read_and_a_log_without_any_is_none_the_worse() -> None:
    keep, batch = stir(base()).eval(), rows()
    other = replace(batch, histories={name: ids.flip(0) for name, ids in batch.histories.items()})
    one, another = keep.knowledge(batch), keep.knowledge(other)
    assert not torch.equal(one["interaction_click"], another["interaction_click"])
    assert torch.equal(one["user"], another["user"])
    keep = base(schema=replace(SCHEMA, histories=()))
    assert not len(keep.interests)
    compress(keep, replace(batch, histories={}), steps=2)
    assert all(part.isfinite().all() for part in keep.knowledge(replace(batch, histories={})).values())


def test_it_learns_what_tells_the_labels_and_its_health_says_so() -> None:
    keep, batch = base(), rows(600)
    keep.standardise(batch)
    before = keep.health(batch)
    compress(keep, batch, steps=60)
    after = keep.health(batch)
    assert list(before) == ["entropy_click", "entropy_cart", "entropy_buy"]
    assert after["entropy_click"] < 0.5 < 0.9 < before["entropy_click"]
    assert "entropy_click" not in keep.health(batch.select(batch.label == 0))


@pytest.mark.parametrize("plug", INTO_USE)
def test_plugged_into_a_model_in_use_it_changes_no_score_and_is_learned_from_then_on(plug: str) -> None:
    keep, batch = base(), rows()
    compress(keep, batch)
    keep.standardise(batch)
    torch.manual_seed(1)
    bare = make_click_model(DeepFM, SCHEMA, DeepFM.Settings(width=4, hidden=(16, 8)))
    torch.manual_seed(1)
    model = make_click_model(DeepFM, SCHEMA, DeepFM.Settings(width=4, hidden=(16, 8)), keep.parts, plug=plug)
    for each in (bare, model):
        each.backbone.grow(IDS, torch.Generator().manual_seed(0))
    stir(bare.backbone), stir(model.backbone)
    known = keep.knowledge(batch)
    before = bare.eval()(batch)
    assert torch.equal(model.eval()(batch), before)
    assert torch.equal(model(batch, known), before)
    adam = torch.optim.Adam(model.plug.parameters(), 0.01)  # type: ignore[union-attr]
    for _ in range(2):  # the last layer first, which lets the first one move
        binary_cross_entropy_with_logits(model(batch, known), batch.label).backward()
        adam.step()
    assert not torch.equal(model(batch, known), before)
    assert torch.equal(model(batch), before)


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"width": 0}, "width=0: must be at least 1"),
        ({"hidden": ()}, r"hidden=\(\): name at least one width"),
        ({"alpha": -0.1}, r"alpha=-0\.1: must be at least 0"),
        ({"parts": ("user", "user")}, "name each once"),
    ],
)
def test_a_setting_that_cannot_be_is_refused_by_name(wrong: dict[str, Any], named: str) -> None:
    with pytest.raises(SettingError, match=named):
        replace(SMALL, **wrong)


def test_a_part_or_a_task_that_there_is_not_is_named_with_those_there_are() -> None:
    with pytest.raises(SettingError, match=r"^KEEP's parts=.*interaction_fav is not one of user, item, interaction_cl"):
        base(replace(SMALL, parts=("interaction_fav",)))
    with pytest.raises(SettingError, match=r"^KEEP learns the label fav, but the log has click, cart, buy alone$"):
        base(replace(SMALL, tasks=("fav",)))


def test_keep_is_found_by_its_name() -> None:
    assert KNOWLEDGE_BASES["keep"] is KEEP
