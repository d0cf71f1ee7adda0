"""A plug that is applied to keys says what it says of rows, however much of it is computed ahead."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from pkb.backbones.base import ClickModel, make_click_model
from pkb.backbones.deepfm import DeepFM
from pkb.batch import Batch
from pkb.center import Cached, Folded
from pkb.knowledge import KnowledgeBase
from pkb.plug import AddedToHidden
from tests.pkb.backbones.check_backbone import IDS, stir
from tests.pkb.base_case import SCHEMA, UNSEEN
from tests.pkb.center.test_look_up import Crossed, cached, compressed, rows

NOTHING, EVERYTHING = 0, 1 << 20  # bytes that may be kept in memory
WIDTH = 8


def model_of(source: Cached, plug: str) -> ClickModel:
    model = make_click_model(DeepFM, SCHEMA, DeepFM.Settings(width=4, hidden=(WIDTH,)), source.parts, plug=plug)
    model.backbone.grow(IDS, torch.Generator().manual_seed(0))
    return stir(model).eval()


def folded(source: Cached, model: ClickModel, most_bytes: int) -> Folded:
    assert isinstance(model.plug, AddedToHidden)
    return Folded(source.version, SCHEMA, model.plug, most_bytes)


def asked() -> Batch:
    """Rows that were learned, in part, and some of a user, an item or both that are new."""
    ids_BF = rows(90, seed=1).ids_BF.clone()
    ids_BF[:20, SCHEMA.user_column] = UNSEEN
    ids_BF[10:30, SCHEMA.item_column] = UNSEEN
    return replace(rows(90, seed=1), ids_BF=ids_BF)


def of_items(source: Cached) -> int:
    """Bytes of what an item's parts add."""
    entries = source.version.manifest.entries
    assert entries["item"] < min(entries["user"], entries["pair"])
    return 4 * WIDTH * (1 + entries["item"])


@pytest.mark.parametrize("plug", ["hidden", "gate"])
@pytest.mark.parametrize(
    "make",
    [compressed, lambda: Crossed(("ui",)), lambda: Crossed(("u", "i", "ui"))],
    ids=["keep", "product", "factors"],
)
@pytest.mark.parametrize("most_bytes", [NOTHING, 600, EVERYTHING])
def test_it_says_what_the_plug_says_of_each_row(
    tmp_path: Path, make: Callable[[], KnowledgeBase], plug: str, most_bytes: int
) -> None:
    base = make()
    base.standardise(rows())
    source = cached(tmp_path, base, rows())
    model, wanted = model_of(source, plug), asked()
    said = torch.sigmoid(model(wanted, folded(source, model, most_bytes).plugged(wanted)))
    by_row = torch.sigmoid(model(wanted, source.knowledge(wanted)))
    torch.testing.assert_close(said, by_row, rtol=0, atol=1e-6)
    assert not torch.allclose(said, torch.sigmoid(model(wanted)), atol=1e-3), "knowledge changes what is said"


def added(by: Folded, wanted: Batch) -> Tensor:
    added_BH = by.plugged(wanted).added_BH
    assert added_BH is not None
    return added_BH


def test_what_is_kept_in_memory_is_bounded_and_what_many_rows_share_comes_first(tmp_path: Path) -> None:
    source, wanted = cached(tmp_path, compressed(), rows()), asked()
    model = model_of(source, "hidden")
    bounds = (NOTHING, of_items(source) - 1, of_items(source), EVERYTHING)
    ahead = [folded(source, model, most_bytes) for most_bytes in bounds]
    whole = added(ahead[-1], wanted)
    assert model.plug is not None
    for parameter in model.plug.parameters():
        parameter.data.zero_()  # what is left was computed before
    nothing, less, of_item, everything = (added(each, wanted) for each in ahead)
    assert not nothing.any()
    assert not less.any()
    rows_B = source.version.rows("item", wanted.ids_BF[:, SCHEMA.item_column].long().numpy())
    assert len(of_item.unique(dim=0)) == len({*rows_B.tolist()}) > 10
    assert torch.equal(everything, whole)


def test_a_version_of_nobody_says_what_is_said_of_new_keys(tmp_path: Path) -> None:
    source, wanted = cached(tmp_path, compressed()), asked()
    model = model_of(source, "hidden")
    assert isinstance(model.plug, AddedToHidden)
    for most_bytes in (NOTHING, EVERYTHING):
        said = added(folded(source, model, most_bytes), wanted)
        assert len(said.unique(dim=0)) == 1
        torch.testing.assert_close(said, model.plug.summed(source.knowledge(wanted)))
