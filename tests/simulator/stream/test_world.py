from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pkb.errors import SettingError
from simulator.stream.log import Log
from simulator.stream.settings import StreamSettings
from simulator.stream.world import generate
from simulator.stream.world.clicks import REMEMBERED, Clicks
from simulator.stream.world.population import shares, spread, zipf_rank
from simulator.stream.world.presets import PRESETS
from simulator.stream.world_settings import DriftSettings, WorldSettings
from tests.simulator.stream.raw_files import DAY, MONDAY, contents, ingested, rows_of, settings_for

PERIODS, ROWS = 6, 20_000
STRONG = DriftSettings(wander=30.0, turnover=30.0, regimes=30.0, promotions=30.0, shifts=30.0, label_noise=1.0)


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Log:
    world = WorldSettings(periods=PERIODS, rows_per_period=ROWS, users=5_000, items=2_000)
    return ingested(settings_for(tmp_path_factory.mktemp("world"), source="world", world=world))


def small_world(**given: Any) -> WorldSettings:
    return dataclasses.replace(WorldSettings(periods=4, rows_per_period=1_000, users=100, items=100), **given)


def small(folder: Path, **world: Any) -> Log:
    return ingested(settings_for(folder, source="world", world=small_world(**world)))


def raw_files(folder: Path, **world: Any) -> dict[str, bytes]:
    folder.mkdir()
    generate(StreamSettings(world=small_world(**world)), folder)
    return contents(folder)


def test_every_period_has_its_rows_from_monday_midnight_on(log: Log) -> None:
    assert [period.rows for period in log.periods] == [ROWS] * PERIODS
    assert [period.start for period in log.periods] == [MONDAY + day * DAY for day in range(PERIODS)]


@pytest.mark.parametrize(("period", "offset"), [("6h", 8), ("30m", 0), ("7d", -7)])
def test_periods_of_any_width_and_clock_have_their_rows(tmp_path: Path, period: str, offset: int) -> None:
    world = WorldSettings(periods=3, rows_per_period=1_002, users=100, items=100)
    log = ingested(settings_for(tmp_path, source="world", world=world, period=period, utc_offset_hours=offset))
    assert [p.rows for p in log.periods] == [1_002] * 3


def test_where_rows_cut_the_periods_the_world_lives_by_days(tmp_path: Path) -> None:
    world = WorldSettings(periods=3, rows_per_period=1_000, users=100, items=100)
    log = ingested(settings_for(tmp_path, source="world", world=world, period="500rows"))
    assert len(log.periods) >= 5
    assert MONDAY + 2 * DAY < log.periods[-1].end <= MONDAY + 3 * DAY


@pytest.mark.parametrize(
    ("preset", "fields", "histories", "scenario"), [("eleme", 17, 8, "time_type"), ("alidisplay", 12, 2, "pid")]
)
def test_a_preset_has_the_paper_s_numbers_of_fields_and_histories(
    tmp_path: Path, preset: str, fields: int, histories: int, scenario: str
) -> None:
    log = small(tmp_path, preset=preset)
    assert len(log.schema.fields) == fields
    assert len(log.schema.histories) == histories
    assert log.schema.scenario == scenario
    assert log.schema.labels == ("click", "cart", "purchase")
    assert log.schema.has_request
    assert log.schema.has_p_true
    batch = log.read(log.periods[-1], histories=True)
    assert all((batch.ids_BF[:, column] > 0).any() for column in range(fields))
    assert all((ids > 0).any() for ids in batch.histories.values())


def test_it_stands_in_for_absent_files_in_the_shape_of_their_source_only(tmp_path: Path) -> None:
    def replayed(world: WorldSettings) -> Log:
        return ingested(settings_for(tmp_path, source="alidisplay", when_missing="synthetic", world=world))

    log = replayed(small_world(preset="alidisplay"))
    assert log.manifest.name == "alidisplay-synthetic"
    with pytest.raises(SettingError, match=r"stream\.world\.preset=eleme: must be alidisplay"):
        replayed(small_world())


@pytest.mark.parametrize("preset", list(PRESETS))
def test_the_smallest_of_worlds_has_its_rows(tmp_path: Path, preset: str) -> None:
    world = small_world(preset=preset, scale=1e-5, users=1, items=8, rows_per_period=7, drift=STRONG)
    assert [period.rows for period in ingested(settings_for(tmp_path, source="world", world=world)).periods] == [7] * 4


@pytest.mark.slow
@pytest.mark.parametrize(("preset", "features"), [("eleme", 16_516_885), ("alidisplay", 3_029_333)])
def test_at_scale_1_there_are_as_many_users_items_and_values_as_in_edk_s_table(preset: str, features: int) -> None:
    shape, rng = PRESETS[preset], np.random.default_rng(0)
    menu = shape.draw_menu(shape.items, rng)
    users = shape.draw_users(shape.users, menu.markets, rng)
    columns = [*users.columns.values(), *menu.columns.values()]
    if preset == "eleme":
        columns.append(users.places.reshape(-1))
    distinct = sum(np.count_nonzero(np.bincount(column - column.min())) for column in columns)
    values = shape.users + shape.items + len(menu.theme_of_kind) + distinct
    assert menu.places == shape.items
    assert users.count == shape.users
    assert values == pytest.approx(features, rel=0.01)


@pytest.mark.parametrize(("preset", "rate"), [("eleme", 0.02), ("alidisplay", 0.05)])
def test_the_click_rate_is_about_that_of_the_data_set(tmp_path: Path, preset: str, rate: float) -> None:
    world = WorldSettings(preset=preset, periods=2, rows_per_period=50_000)
    log = ingested(settings_for(tmp_path, source="world", world=world))
    assert log.periods[0].positives / log.periods[0].rows == pytest.approx(rate, rel=0.15)


def test_clicks_come_true_as_often_as_their_probability_says(log: Log) -> None:
    batches = [log.read(period) for period in log.periods]
    p_true = torch.cat([b.p_true for b in batches if b.p_true is not None]).numpy()
    label = torch.cat([b.label for b in batches]).numpy()
    for part in np.array_split(np.argsort(p_true), 10):
        expected, deviation = p_true[part].sum(), np.sqrt((p_true[part] * (1 - p_true[part])).sum())
        assert abs(label[part].sum() - expected) < 4 * deviation


def test_a_purchase_implies_a_cart_and_a_cart_a_click(tmp_path: Path) -> None:
    rows = rows_of(small(tmp_path, click_rate=0.3))
    assert {(row["click"], row["cart"], row["purchase"]) for row in rows} == {
        (0, 0, 0),
        (1, 0, 0),
        (1, 1, 0),
        (1, 1, 1),
    }


def test_another_seed_is_another_world_and_the_same_seed_the_same_to_the_byte(tmp_path: Path) -> None:
    files = [raw_files(tmp_path / name, seed=seed) for name, seed in (("a", 1), ("b", 1), ("c", 2))]
    assert files[0] == files[1]
    assert all(files[0][name] != files[2][name] for name in files[0])


def test_what_happens_does_not_depend_on_how_much_follows(tmp_path: Path) -> None:
    short, long = (raw_files(tmp_path / str(periods), periods=periods) for periods in (2, 9))
    assert short == {name: long[name] for name in short}


def test_a_request_shows_different_dishes_of_the_user_s_city_to_one_user(tmp_path: Path) -> None:
    requests: dict[int, list[dict[str, object]]] = {}
    for row in rows_of(small(tmp_path, items=2_000)):
        requests.setdefault(row["request_id"], []).append(row)
    cities = set()
    for rows in requests.values():
        assert len(rows) == 5
        assert len({row["user_id"] for row in rows}) == 1
        assert {row["city_id"] for row in rows} == {rows[0]["visit_city"]}
        assert len({row["item_id"] for row in rows}) == 5
        cities.add(rows[0]["visit_city"])
    assert len(cities) > 2


def test_an_item_s_attributes_follow_from_the_item(tmp_path: Path) -> None:
    names = [
        *("shop_id", "city_id", "district_id", "shop_aoi_id", "shop_geohash_6", "brand_id", "category_1_id"),
        "merge_standard_food_id",
    ]
    attributes: dict[str, list[object]] = {}
    for row in rows_of(small(tmp_path)):
        seen = [row[name] for name in names]
        assert attributes.setdefault(row["item_id"], seen) == seen
    assert len(attributes) > 50


def test_histories_are_the_user_s_own_earlier_clicks_oldest_first(tmp_path: Path) -> None:
    clicks: dict[str, list[tuple[int, str, str, str]]] = {}
    lengths = set()
    for row in rows_of(small(tmp_path, click_rate=0.3)):
        before = [click for click in clicks.get(row["user_id"], []) if click[0] < row["ts"]][-10:]
        assert row["item_id_list"] == [item for _, item, _, _ in before]
        assert row["hours_list"] == [hour for _, _, hour, _ in before]
        assert row["merge_standard_food_id_list"] == [food for _, _, _, food in before]
        lengths.add(len(row["shop_id_list"]))
        if row["click"]:
            click = (row["ts"], row["item_id"], row["hours"], row["merge_standard_food_id"])
            clicks.setdefault(row["user_id"], []).append(click)
    assert lengths == set(range(11))


def test_a_few_users_and_items_are_seen_most_often(log: Log) -> None:
    ids = np.concatenate([log.read(period).ids_BF.numpy() for period in log.periods])
    for column, exponent in ((log.schema.user_column, 0.6), (log.schema.item_column, 0.5)):
        seen = np.sort(np.unique(ids[:, column], return_counts=True)[1])[::-1]
        assert seen[0] > seen[99] * 100**exponent * 0.6


def test_ranks_are_as_frequent_as_the_law_s_density_says() -> None:
    ranks = zipf_rank(np.random.default_rng(0).random(200_000), 50, 0.6)
    expected = np.diff(np.arange(1, 52) ** 0.4) / (51**0.4 - 1)
    assert np.bincount(ranks, minlength=50) / len(ranks) == pytest.approx(expected, abs=0.003)


def test_every_value_occurs_where_there_is_room_and_every_part_has_its_least() -> None:
    assert set(spread(np.random.default_rng(0), 60, 40)) == set(range(40))
    assert set(spread(np.random.default_rng(0), 20, 40)) <= set(range(40))
    sizes = np.bincount(shares(1_000, 20, least=8))
    assert sizes.sum() == 1_000
    assert sizes.min() >= 8
    assert len(np.bincount(shares(17, 20, least=8))) == 2


@pytest.mark.parametrize("periods", [2, 7])
def test_memory_of_clicks_is_bounded_by_users_not_by_periods(periods: int) -> None:
    rng = np.random.default_rng(0)
    clicks = Clicks.none()
    for period in range(periods):
        time = np.sort(rng.integers(1_000, size=5_000)) + 1_000 * period
        clicks = clicks.with_later(rng.integers(50, size=5_000), time, rng.integers(9, size=5_000)).latest()
    assert len(clicks.item) == 50 * REMEMBERED
    assert clicks.time.min() >= 1_000 * (periods - 1)


def test_a_larger_world_has_more_of_everything_but_categories() -> None:
    few, many = (PRESETS["eleme"].draw_menu(places, np.random.default_rng(0)) for places in (2_000, 200_000))
    for name in few.columns.keys() - {"category_1_id"}:
        assert len(np.unique(many.columns[name])) > len(np.unique(few.columns[name]))
