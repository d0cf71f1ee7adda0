"""Two bases as one: each learns and knows what it would alone, and the second is plugged in later."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from pkb.backbones.base import make_click_model
from pkb.backbones.deepfm import DeepFM
from pkb.bases import KNOWLEDGE_BASES
from pkb.beside import Beside
from pkb.center import Cached, Center, Roster, build
from pkb.knowledge import KnowledgeBase
from pkb.plug import INTO_USE, SecondPlug
from pkb.pretrained.bert4rec import BERT4Rec
from tests.pkb.backbones.check_backbone import IDS, stir
from tests.pkb.base_case import SCHEMA, Case, compress
from tests.pkb.keep.test_keep import SMALL

pytestmark = pytest.mark.usefixtures("one_thread")
KEEP = Case(base=KNOWLEDGE_BASES["keep"], settings=vars(SMALL) | {"tasks": ("click",)})
OTHER = Case(base=BERT4Rec, settings={"width": 8, "layers": 1, "passes": 2, "negatives": 16})


def both() -> Beside:
    return Beside(SCHEMA, KEEP.make(), OTHER.make())


def test_each_learns_in_its_own_stages_and_knows_what_it_knows_alone() -> None:
    made, alone, rows = both(), KEEP.make(), KEEP.rows
    assert made.stages == ("compress", "pass_1", "pass_2")
    for base in (made, alone):
        compress(base, rows, stages=["compress"])
    first: KnowledgeBase = made.first
    assert all(torch.equal(v, first.state_dict()[name]) for name, v in alone.state_dict().items())
    assert all(torch.equal(v, made.second.state_dict()[n]) for n, v in OTHER.make().state_dict().items())
    compress(made, rows, stages=["pass_1"])
    assert all(torch.equal(v, first.state_dict()[name]) for name, v in alone.state_dict().items())
    for base in (made, alone):
        base.standardise(rows)
    known, its = made.knowledge(rows), alone.knowledge(rows)
    assert list(known) == [*its, "beside_sequence"]
    assert all(torch.equal(part, known[name]) for name, part in its.items())
    assert set(made.health(rows)) == {"entropy_click"}
    assert set(made.compression_losses(rows, "pass_2")) == {"total", "beside_cloze"}


def test_a_center_makes_the_second_bases_products_of_its_own_factors(tmp_path: Path) -> None:
    decomposed = Case(base=KNOWLEDGE_BASES["keep"], settings={**KEEP.settings, "form": "decomposed"})
    made, rows = Beside(SCHEMA, OTHER.make(), decomposed.make()), KEEP.rows
    stir(made.second)
    made.standardise(rows)
    products = [part for part in made.parts if part.factors]
    made.parts, made.scales = tuple(products), made.scales[-len(products) :]
    roster = Roster(SCHEMA)
    one = rows.select(slice(1))
    roster.add(one)
    build(made, roster, tmp_path, 0, built_until=None)
    found, live = Cached(Center(tmp_path).version(0), SCHEMA).knowledge(one), made.knowledge(one)
    torch.testing.assert_close(found["beside_product_click"], live["beside_product_click"])
    assert live["beside_product_click"].std() > 0.01


@pytest.mark.parametrize("plug", INTO_USE)
def test_the_second_plug_counts_once_it_is_opened_and_changes_no_score_then(plug: str) -> None:
    made, rows = both(), KEEP.rows
    made.standardise(rows)
    known = made.knowledge(rows)
    torch.manual_seed(1)
    model = make_click_model(DeepFM, SCHEMA, DeepFM.Settings(width=4, hidden=(16, 8)), made.parts, plug=plug)
    model.backbone.grow(IDS, torch.Generator().manual_seed(0))
    second = model.plug
    assert isinstance(second, SecondPlug)
    stir(model.backbone), stir(second.first)
    before = model.eval()(rows, known)
    fewer = {name: part for name, part in known.items() if not name.startswith("beside_")}
    assert torch.equal(model(rows, fewer), before)
    shut, second.is_open = second.state_dict(), True
    second.load_state_dict(shut)
    assert torch.equal(model(rows, fewer), before), "a state that is loaded is shut or open as it was"
    second.open()
    opened = second.state_dict()
    second.is_open = False
    second.load_state_dict(opened)
    assert torch.equal(model(rows, known), before), "it is new, and neutral"
    stir(second.second)
    assert not torch.isclose(model(rows, known), before).any()
    other = replace(rows, histories={name: ids.flip(0) for name, ids in rows.histories.items()})
    assert not torch.equal(model(rows, known | {"beside_sequence": made.knowledge(other)["beside_sequence"]}), before)
