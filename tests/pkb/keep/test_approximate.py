"""What stands for K_ui in a cache: which of a row decides it, how it is learned, and what that leaves alone (eq. 6)."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch.nn.functional import binary_cross_entropy_with_logits

from pkb.batch import Field, Schema
from pkb.errors import SettingError
from pkb.keep import KEEP
from pkb.keep.pairs import pairwise_loss
from tests.pkb.backbones.check_backbone import stir
from tests.pkb.base_case import compress, losses_of
from tests.pkb.keep.test_keep import SCHEMA, SMALL, base, rows

pytestmark = pytest.mark.usefixtures("one_thread")
BOTH = replace(SMALL, form="decomposed+degenerate")
DISTILLED = replace(BOTH, learned_by="distilling")


@pytest.mark.parametrize(
    ("form", "names"),
    [
        ("exact", ["user", "item", "interaction_click", "interaction_buy"]),
        (
            "decomposed",
            [f"{part}_{t}" for part in ("user_hat", "item_hat", "product") for t in ("click", "buy")],
        ),
        ("degenerate", ["user", "item", "category_click", "category_buy"]),
        (
            "decomposed+degenerate",
            [f"{part}_{t}" for part in ("user_hat", "item_hat", "product", "category") for t in ("click", "buy")],
        ),
    ],
)
def test_each_form_has_its_parts_by_task_and_each_part_what_decides_it(form: str, names: list[str]) -> None:
    keep = base(replace(SMALL, form=form, tasks=("click", "buy")))
    assert [part.name for part in keep.parts] == names
    history, item = ("items", "categories"), ("item", "category")
    decided = {
        "user": ("user",),
        "item": item,
        "interaction": ("user", *item, *history),
        "user_hat": ("user", *history),
        "item_hat": item,
        "product": ("user", *history, *item),
        "category": ("user", *history, "category"),
    }
    for part in keep.parts:
        kind = part.name if part.name in decided else part.name.rpartition("_")[0]
        assert set(part.fields) == set(decided[kind])
        assert part.vectors * part.width == {"user": 6, "item": 8}.get(part.name, 8)


def test_the_product_is_that_of_the_two_towers_and_each_tower_sees_its_own_side_alone() -> None:
    keep, batch = stir(base(BOTH)).eval(), rows()
    known = keep._knowledge(batch)
    for task in keep.labels:
        product = known[f"user_hat_{task}"] * known[f"item_hat_{task}"]
        torch.testing.assert_close(known[f"product_{task}"], product)
    other_item = replace(batch, ids_BF=batch.ids_BF.clone())
    other_item.ids_BF[:, 1] = batch.ids_BF.flip(0)[:, 1]
    same = keep._knowledge(other_item)
    for name, part in known.items():
        alike = torch.equal(part, same[name])
        assert alike == name.startswith(("user_hat", "category")), name


def test_by_labels_each_learns_as_the_extractor_does() -> None:
    keep, batch = stir(base(BOTH)), rows()
    losses = losses_of(keep, batch, "compress")
    known, clicked = keep.eval()._knowledge(batch), batch.label > 0
    for approximation in keep.stand_ins:
        for number, task in enumerate(keep.labels):
            some = torch.ones_like(clicked) if task == "click" else clicked
            label_C = (batch.label if task == "click" else batch.further_labels[task])[some]
            name = f"{approximation.stands}{task}"
            logit_C = approximation.heads[number](known[name][:, 0]).squeeze(1)[some]
            point = binary_cross_entropy_with_logits(logit_C, label_C, reduction="sum") / len(batch)
            torch.testing.assert_close(losses[f"point_{name}"], point.detach())
            pair = pairwise_loss(logit_C, batch.ids_BF[:, 0][some], label_C) / len(batch)
            torch.testing.assert_close(losses[f"pair_{name}"], pair.detach())


def test_by_distilling_they_come_near_the_extractor_and_move_nothing_else() -> None:
    keep, plain, batch = base(DISTILLED), base(), rows()
    for one in (keep, plain):
        one.grow(100, torch.Generator().manual_seed(0))
    plain.load_state_dict({name: keep.state_dict()[name] for name in plain.state_dict() if "scales" not in name}, False)
    before = keep.health(batch)
    compress(keep, batch, steps=80)
    compress(plain, batch, steps=80)
    learned, alone = keep.state_dict(), plain.state_dict()
    assert all(torch.equal(value, learned[name]) for name, value in alone.items() if "scales" not in name)
    after = keep.health(batch)
    names = [f"unlike_{part}_{task}" for task in ("click", "cart", "buy") for part in ("product", "category")]
    assert {name for name in after if name.startswith("unlike")} == set(names)
    assert all(after[f"unlike_product_{task}"] < 0.5 * before[f"unlike_product_{task}"] for task in keep.labels)


def test_the_category_is_the_items_one_further_field_or_must_be_named() -> None:
    shop = Field(name="shop", role="item")
    more: Schema = replace(SCHEMA, fields=(*SCHEMA.fields[:3], shop, *SCHEMA.fields[3:]))
    with pytest.raises(SettingError, match=r"the category is not named, but must be one of .*: category, shop$"):
        base(BOTH, schema=more)
    with pytest.raises(SettingError, match=r"the category is item, but must be one of .*: category, shop$"):
        base(replace(BOTH, category="item"), schema=more)
    with pytest.raises(SettingError, match=r"the log has none$"):
        KEEP(replace(SCHEMA, fields=(*SCHEMA.fields[:2], SCHEMA.fields[3]), histories=()), BOTH)
    [part, *_] = [p for p in base(replace(BOTH, category="shop"), schema=more).parts if p.name == "category_click"]
    assert "shop" in part.fields
    with pytest.raises(SettingError, match=r"form=twofold: is not one of exact, decomposed, degenerate"):
        replace(SMALL, form="twofold")
