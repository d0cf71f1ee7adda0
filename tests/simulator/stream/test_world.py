from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score

from simulator.settings import WorldSettings
from simulator.stream.log import Log
from tests.simulator.stream.raw_files import DAY, MONDAY, ingested, rows_of, settings_for

PERIODS, ROWS = 6, 20_000


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Log:
    world = WorldSettings(periods=PERIODS, rows_per_period=ROWS, users=5_000, items=2_000)
    return ingested(settings_for(tmp_path_factory.mktemp("world"), source="world", world=world))


def small(folder: Path, **world: float) -> Log:
    plain = {"periods": 4, "rows_per_period": 1_000, "users": 100, "items": 100}
    return ingested(settings_for(folder, source="world", world=WorldSettings(**(plain | world))))  # type: ignore[arg-type]


def test_every_period_has_its_rows_from_monday_midnight_on(log: Log) -> None:
    assert [period.rows for period in log.periods] == [ROWS] * PERIODS
    assert [period.start for period in log.periods] == [MONDAY + day * DAY for day in range(PERIODS)]


@pytest.mark.parametrize(("period", "offset"), [("6h", 8), ("30m", 0), ("7d", -7)])
def test_periods_of_any_width_and_clock_have_their_rows(tmp_path: Path, period: str, offset: int) -> None:
    world = WorldSettings(periods=3, rows_per_period=1_002, users=100, items=100)
    log = ingested(settings_for(tmp_path, source="world", world=world, period=period, utc_offset_hours=offset))
    assert [p.rows for p in log.periods] == [1_002] * 3


def test_its_schema_is_that_of_eleme_with_requests_and_probabilities(log: Log) -> None:
    assert len(log.schema.fields) == 17
    assert len(log.schema.histories) == 8
    assert log.schema.has_request
    assert log.schema.has_p_true


def test_the_click_rate_is_about_the_one_asked_for(log: Log) -> None:
    rate = sum(period.positives for period in log.periods) / (PERIODS * ROWS)
    assert 0.04 < rate < 0.065


def test_clicks_come_true_as_often_as_their_probability_says(log: Log) -> None:
    batches = [log.read(period) for period in log.periods]
    p_true = torch.cat([b.p_true for b in batches if b.p_true is not None]).numpy()
    label = torch.cat([b.label for b in batches]).numpy()
    for part in np.array_split(np.argsort(p_true), 10):
        expected, spread = p_true[part].sum(), np.sqrt((p_true[part] * (1 - p_true[part])).sum())
        assert abs(label[part].sum() - expected) < 4 * spread


def test_the_best_attainable_auc_is_high_but_far_from_perfect(log: Log) -> None:
    for period in log.periods:
        batch = log.read(period)
        assert batch.p_true is not None
        assert 0.72 < roc_auc_score(batch.label, batch.p_true) < 0.82


def test_another_seed_is_another_world_and_the_same_seed_the_same(tmp_path: Path) -> None:
    rows = [rows_of(small(tmp_path / name, seed=seed)) for name, seed in (("a", 1), ("b", 1), ("c", 2))]
    assert rows[0] == rows[1]
    assert rows[0] != rows[2]


def test_a_request_shows_different_dishes_of_the_user_s_city_to_one_user(tmp_path: Path) -> None:
    requests: dict[int, list[dict[str, object]]] = {}
    for row in rows_of(small(tmp_path, items=2_000)):
        requests.setdefault(row["request_id"], []).append(row)
    for rows in requests.values():
        assert len(rows) == 5
        assert len({row["user_id"] for row in rows}) == 1
        assert {row["city_id"] for row in rows} == {rows[0]["visit_city"]}
        assert len({row["item_id"] for row in rows}) == 5


def test_an_item_s_attributes_follow_from_the_item(tmp_path: Path) -> None:
    names = ["shop_id", "city_id", "district_id", "shop_aoi_id", "shop_geohash_6", "brand_id", "category_1_id"]
    attributes: dict[str, list[object]] = {}
    for row in rows_of(small(tmp_path)):
        seen = [row[name] for name in names]
        assert attributes.setdefault(row["item_id"], seen) == seen


def test_histories_are_the_user_s_own_earlier_clicks_oldest_first(tmp_path: Path) -> None:
    clicks: dict[str, list[tuple[int, str, str]]] = {}
    lengths = set()
    for row in rows_of(small(tmp_path, click_rate=0.3)):
        before = [click for click in clicks.get(row["user_id"], []) if click[0] < row["ts"]][-10:]
        assert row["item_id_list"] == [item for _, item, _ in before]
        assert row["hours_list"] == [hour for _, _, hour in before]
        lengths.add(len(row["shop_id_list"]))
        if row["click"]:
            clicks.setdefault(row["user_id"], []).append((row["ts"], row["item_id"], row["hours"]))
    assert lengths == set(range(11))


def test_items_appear_and_retire_only_where_there_is_drift(tmp_path: Path) -> None:
    def items(log: Log, period: int) -> set[int]:
        return set(log.read(log.periods[period]).ids_BF[:, log.schema.item_column].tolist())

    changing = small(tmp_path / "a", drift=1.0, rows_per_period=5_000)
    assert len(items(changing, 3) - items(changing, 0)) > 5
    assert len(items(changing, 0) - items(changing, 3)) > 5
    still = small(tmp_path / "b", drift=0.0, rows_per_period=20_000)
    assert items(still, 0) == items(still, 3)
