from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from pkb.backbones.popularity import Popularity
from pkb.batch import Batch
from pkb.errors import SettingError
from tests.pkb.backbones.check_backbone import SCHEMA, make_rows

OFTEN, SELDOM, LATE, NEVER = 10, 11, 12, 13  # items


def shown(first_row: int, clicks: dict[int, list[int]]) -> Batch:
    """Rows that show each item as often as it has labels."""
    items = [item for item, labels in clicks.items() for _ in labels]
    rows = make_rows(len(items))
    rows.ids_BF[:, SCHEMA.item_column] = torch.tensor(items)
    label = torch.tensor([float(label) for labels in clicks.values() for label in labels])
    return replace(rows, row_id=rows.row_id + first_row, label=label)


def rates(model: Popularity, *items: int) -> list[float]:
    asked = shown(0, {item: [0] for item in items})
    return [round(rate, 4) for rate in torch.sigmoid(model(asked)).tolist()]


def make(**settings: float) -> Popularity:
    return Popularity(SCHEMA, Popularity.Settings(**({"half_life": 1.0, "smoothing": 2.0} | settings)))


def test_an_items_rate_is_that_of_its_clicks_and_fades_with_every_fit() -> None:
    model = make()
    model.fit(shown(0, {OFTEN: [1, 1, 1, 0], SELDOM: [0, 0, 0, 0]}))
    overall = (3 + 1) / (8 + 2)
    assert rates(model, OFTEN, SELDOM) == [round((3 + 2 * overall) / 6, 4), round(2 * overall / 6, 4)]
    model.fit(shown(8, {OFTEN: [0, 0, 0, 0]}))
    overall = (1.5 + 1) / (8 + 2)
    assert rates(model, OFTEN) == [round((1.5 + 2 * overall) / 8, 4)]


def test_an_item_never_seen_has_the_overall_rate_and_then_that_of_items_new_in_their_fit() -> None:
    model = make()
    model.fit(shown(0, {OFTEN: [1, 0], SELDOM: [0, 0]}))
    assert rates(model, NEVER) == [round((1 + 1) / (4 + 2), 4)]
    model.fit(shown(4, {LATE: [1, 1, 1, 1, 1, 1], OFTEN: [0, 0]}))
    assert rates(model, NEVER)[0] > 0.8 > rates(model, OFTEN)[0]


def test_a_missing_item_is_no_new_one() -> None:
    model = make()
    model.fit(shown(0, {OFTEN: [1, 0, 0, 0]}))
    model.fit(shown(4, {LATE: [1] * 20}))
    overall = (0.5 + 20 + 1) / (2 + 20 + 2)
    assert rates(model, 0) == [round(overall, 4)]


def test_rows_that_come_again_are_not_counted_again() -> None:
    model, first = make(), shown(0, {OFTEN: [1, 1], SELDOM: [0, 0]})
    model.fit(first)
    before = rates(model, OFTEN, SELDOM, NEVER)
    model.fit(first)
    assert rates(model, OFTEN, SELDOM, NEVER) == before


def test_settings_that_cannot_be_are_refused() -> None:
    with pytest.raises(SettingError, match=r"^half_life=0: must be a number above 0"):
        Popularity.Settings(half_life=0)
