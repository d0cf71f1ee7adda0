"""What is looked up is what the base said: by user and item to the bit, by pair through the category."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pkb.backbones.base import make_click_model
from pkb.backbones.deepfm import DeepFM
from pkb.batch import Batch, Field, Schema, concatenate
from pkb.center import Cached, Center, Roster, Version, build, category_of
from pkb.center.keys import Ids, Key, keys_of, pairs_of
from pkb.center.manifest import Manifest
from pkb.errors import SettingError
from pkb.keep import KEEP
from pkb.knowledge import Knowledge, KnowledgeBase, Part
from tests.pkb.backbones.check_backbone import IDS, make_rows, stir
from tests.pkb.base_case import SCHEMA, UNSEEN, compress
from tests.pkb.test_kinds_contract import OF_EVERY_KIND

SMALL = KEEP.Settings(user_width=6, width=4, hidden=(16, 8), attention=(8,))
CATEGORY = SCHEMA.names.index("category")
KINDS = replace(OF_EVERY_KIND, labels=SCHEMA.labels)


def rows(number: int = 60, *, seed: int = 0, schema: Schema = SCHEMA) -> Batch:
    """Rows in which an item is always of one category; some may be new to a base that learned others."""
    made = make_rows(number, seed=seed, schema=schema)
    made.ids_BF[:, CATEGORY] = schema.first_value_id + made.ids_BF[:, schema.item_column] % 4
    return replace(made, further_labels={"cart": made.label * (made.row_id % 2)})


def compressed(schema: Schema = SCHEMA) -> KEEP:
    torch.manual_seed(0)
    base = KEEP(schema, SMALL)
    base.grow(IDS, torch.Generator().manual_seed(0))
    stir(base)
    compress(base, rows(schema=schema))
    base.standardise(rows(schema=schema))
    return base


def cached(folder: Path, base: KnowledgeBase, *learned: Batch, schema: Schema = SCHEMA) -> Cached:
    roster = Roster(schema)
    for some in learned:
        roster.add(some)
    build(base, roster, folder, 0, built_until=7)
    return Cached(Center(folder).version(0), schema)


def test_of_users_and_items_that_were_learned_it_says_what_the_base_says_to_the_bit(tmp_path: Path) -> None:
    base = compressed()
    source = cached(tmp_path, base, rows())
    found, live = source.knowledge(rows()), base.knowledge(rows())
    assert source.parts == base.parts
    assert source.built_until == 7
    assert list(found) == list(live)
    assert torch.equal(found["user"], live["user"])
    assert torch.equal(found["item"], live["item"])


@pytest.mark.parametrize("schema", [SCHEMA, KINDS], ids=["categories", "every kind of field"])
def test_of_a_pair_it_says_what_the_base_says_of_the_users_latest_row_with_the_category_alone(
    tmp_path: Path, schema: Schema
) -> None:
    base, learned = compressed(schema), rows(schema=schema)
    found = cached(tmp_path, base, learned, schema=schema).knowledge(learned)
    user_B = learned.ids_BF[:, 0]
    latest = torch.tensor([int((user_B == user).nonzero().max()) for user in user_B])
    asked = learned.select(latest)
    ids_BF, single = asked.ids_BF.clone(), len(schema.names_of("category"))
    ids_BF[:, schema.item_column] = 1 + schema.item_column  # new to the model
    ids_BF[:, CATEGORY] = learned.ids_BF[:, CATEGORY]
    if schema == KINDS:
        numbers = asked.numbers_BN.clone()  # type: ignore[union-attr]
        numbers[:, schema.names_of("number").index("price")] = torch.nan
        vectors = {"text": torch.full_like(asked.vectors["text"], torch.nan)}
        lists = {"tags": torch.zeros_like(asked.lists["tags"])}
        asked = replace(asked, numbers_BN=numbers, vectors=vectors, lists=lists)
        ids_BF = schema.ids(ids_BF[:, :single], lists, numbers, vectors)
    live = base.knowledge(replace(asked, ids_BF=ids_BF))
    for part in ("interaction_click", "interaction_cart"):
        torch.testing.assert_close(found[part], live[part])
        assert found[part].flatten(1).unique(dim=0).shape[0] > 10


def test_unknown_keys_read_the_row_of_a_new_user_a_new_item_and_a_new_pair(tmp_path: Path) -> None:
    base, learned = compressed(), rows()
    source = cached(tmp_path, base, learned)
    ids_BF = learned.ids_BF[:3].clone()
    ids_BF[0, SCHEMA.user_column] = UNSEEN
    ids_BF[1, SCHEMA.item_column] = UNSEEN
    ids_BF[2, CATEGORY] = UNSEEN
    found = source.knowledge(replace(learned.select(slice(3)), ids_BF=ids_BF))
    new = torch.full((1, len(SCHEMA.fields)), UNSEEN, dtype=torch.int32)
    nothing = {name: torch.zeros(1, 1, dtype=torch.int32) for name in learned.histories}
    live = base.knowledge(replace(learned.select(slice(1)), ids_BF=new, histories=nothing))
    known = source.knowledge(learned.select(slice(3)))
    for part, of_new in {"user": [0], "item": [1], "interaction_click": [0, 2]}.items():
        for row in range(3):
            expected = live[part][0] if row in of_new else known[part][row]
            torch.testing.assert_close(found[part][row], expected)


def test_a_roster_grown_period_by_period_is_that_of_all_rows_and_comes_back_from_its_file(tmp_path: Path) -> None:
    periods = [rows(30, seed=seed) for seed in range(3)]
    whole, grown = Roster(SCHEMA), Roster(SCHEMA)
    whole.add(concatenate(periods))
    for period in periods:
        grown.add(period)
        grown.add(period.select(slice(0)))
        grown = Roster.from_tensors(SCHEMA, grown.category, grown.to_tensors())
    one, other = whole.to_tensors(), grown.to_tensors()
    assert one.keys() == other.keys()
    assert all(torch.equal(tensor, other[name]) for name, tensor in one.items())
    empty = Roster.from_tensors(SCHEMA, "category", Roster(SCHEMA).to_tensors())
    assert not len(empty.keys("user"))


def test_a_version_before_anything_was_learned_answers_for_new_keys_alone(tmp_path: Path) -> None:
    found = cached(tmp_path, compressed()).knowledge(rows())
    assert all(len(part.flatten(1).unique(dim=0)) == 1 for part in found.values())


IDS_OF = st.integers(0, 2**31 - 1)


@given(st.sets(st.tuples(IDS_OF, IDS_OF), max_size=20), st.lists(st.tuples(IDS_OF, IDS_OF), max_size=20))
def test_a_look_up_is_that_of_a_dictionary(known: set[tuple[int, int]], strangers: list[tuple[int, int]]) -> None:
    wanted = [*strangers, *known, *sorted(known, reverse=True)]
    user_B, category_B = np.array(wanted, np.int64).reshape(-1, 2).T
    keys: dict[Key, Ids] = {"pair": np.sort(pairs_of(*np.array(sorted(known), np.int64).reshape(-1, 2).T))}
    values = np.arange(2 * (1 + len(known)), dtype=np.float32).reshape(-1, 2)
    part = Part(name="one", vectors=1, width=2, fields=())
    manifest = Manifest(
        version=0,
        built_until=None,
        category="",
        parts=(part,),
        keys={"one": "pair"},
        entries={"pair": len(known)},
        seconds=0,
        bytes=0,
        files={},
    )
    found = Version(manifest, keys, {"one": values}).knowledge(user_B, user_B, category_B)["one"]
    places = {pair: 1 + place for place, pair in enumerate(sorted(known))}
    assert found[:, 0].tolist() == [values[places.get(pair, 0)].tolist() for pair in wanted]


def test_a_model_trained_with_the_base_takes_the_cache_in_its_place(tmp_path: Path) -> None:
    base, learned = compressed(), rows()
    parts = replace(SMALL, parts=("user", "item"))
    torch.manual_seed(0)
    some = KEEP(SCHEMA, parts)
    some.table.restore(base.table.rows_in_use())
    some.standardise(learned)
    model = make_click_model(DeepFM, SCHEMA, DeepFM.Settings(width=4, hidden=(8,)), some.parts, plug="hidden")
    model.backbone.grow(IDS, torch.Generator().manual_seed(0))
    stir(model)
    source = cached(tmp_path, some, learned)
    assert torch.equal(model.eval()(learned, source.knowledge(learned)), model(learned, some.knowledge(learned)))


def test_parts_are_looked_up_by_what_decides_them() -> None:
    base = KEEP(SCHEMA, SMALL)
    assert keys_of(base.parts, SCHEMA, "category") == {
        "user": "user",
        "item": "item",
        "interaction_click": "pair",
        "interaction_cart": "pair",
    }
    by_hour = Part(name="patterns", vectors=1, width=2, fields=("user", "hour"))
    with pytest.raises(SettingError, match=r"^knowledge patterns: is decided by hour, which is neither"):
        keys_of([by_hour], SCHEMA, "category")


def test_the_category_is_the_one_named_or_found_by_its_name() -> None:
    assert category_of(SCHEMA) == "category"
    assert category_of(SCHEMA, "item") == "item"
    assert category_of(replace(SCHEMA, fields=SCHEMA.fields[:2], histories=())) == "item"
    with pytest.raises(SettingError, match=r"^category=hour: is no categorical field of the item; they are item"):
        category_of(SCHEMA, "hour")


class Crossed(KnowledgeBase):
    """Two towers and their product, as decomposed KEEP has them (eq. 6)."""

    def __init__(self, told: tuple[str, ...]) -> None:
        fields = {"u": ("user", "items"), "i": ("item", "category"), "ui": ("user", "items", "item", "category")}
        factors = {"ui": ("u", "i")}
        super().__init__(
            SCHEMA, [Part(name=n, vectors=1, width=3, fields=fields[n], factors=factors.get(n)) for n in told]
        )

    def grow(self, size: int, generator: torch.Generator) -> None:
        pass

    def compression_losses(self, batch: Batch, stage: str) -> dict[str, torch.Tensor]:
        raise NotImplementedError

    def _knowledge(self, batch: Batch) -> Knowledge:
        known = {
            name: (torch.arange(1, 4) + batch.ids_BF[:, column, None]).sin().unsqueeze(1) + shift
            for name, column, shift in (("u", SCHEMA.user_column, 2), ("i", SCHEMA.item_column, -3))
        }
        known["ui"] = known["u"] * known["i"]
        return {part.name: known[part.name] for part in self.parts}


@pytest.mark.parametrize("told", [("ui",), ("u", "i", "ui"), ("ui", "i")])
def test_a_product_is_made_of_its_factors_whether_these_are_told_or_not(tmp_path: Path, told: tuple[str, ...]) -> None:
    base, learned = Crossed(told), rows()
    base.standardise(learned)
    source = cached(tmp_path, base, learned)
    found, live = source.knowledge(learned), base.knowledge(learned)
    assert source.version.manifest.entries == {
        "user": len(set(learned.ids_BF[:, 0].tolist())),
        "item": len(set(learned.ids_BF[:, 1].tolist())),
    }
    assert list(found) == list(told)
    for name in told:
        torch.testing.assert_close(found[name], live[name])


def test_the_category_is_the_one_that_knowledge_of_a_pair_reads(tmp_path: Path) -> None:
    of_category = Part(name="k_uc", vectors=1, width=2, fields=("user", "items", "category"))
    schema = replace(SCHEMA, fields=(*SCHEMA.fields, Field(name="shop", role="item")))
    assert category_of(schema, parts=[of_category]) == "category"
    of_shop = replace(of_category, fields=("user", "shop"))
    assert category_of(schema, parts=[of_shop]) == "shop"
    with pytest.raises(SettingError, match=r"^category=category: knowledge k_uc reads shop in its place"):
        keys_of([of_shop], schema, "category")
