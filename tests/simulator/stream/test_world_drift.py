from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from sklearn.metrics import roc_auc_score

from simulator.stream.world.clock import MEALS
from simulator.stream.world.drift import Holidays
from simulator.stream.world.generation import LEAKED, World
from simulator.stream.world.population import SEGMENTS, THEMES
from simulator.stream.world.presets import PRESETS
from simulator.stream.world.truth import best_auc, expected_auc
from simulator.stream.world_settings import DriftSettings, WorldSettings

DAY = 86_400
STILL = dict.fromkeys(("wander", "turnover", "regimes", "promotions", "shifts", "label_noise"), 0.0)


def periods_of(
    count: int, *, width: int = DAY, rows: int = 20_000, drift: dict[str, float], **world: Any
) -> list[pa.Table]:
    settings = WorldSettings(rows_per_period=rows, drift=DriftSettings(**(STILL | drift)), **world)
    made = World(PRESETS[settings.preset], settings, width=width, utc_offset=0)
    return [pa.concat_tables(made.period(index)) for index in range(count)]


@dataclass(frozen=True)
class Logits:
    """Of a click, for each user, item and meal, in each period; NaN where a combination was not shown."""

    values: np.ndarray  # [periods, users, items, meals]
    vip: np.ndarray  # [users]

    @classmethod
    def of(cls, tables: list[pa.Table], users: int = 12, items: int = 12) -> Logits:
        values, vip = np.full((len(tables), users, items, len(MEALS)), np.nan), np.zeros(users, dtype=bool)
        for period, table in enumerate(tables):
            user, item, p = (table[name].to_numpy() for name in ("user_id", "item_id", "p_true"))
            meal = table["time_type"].combine_chunks().indices.to_numpy()
            known = item < items
            values[period, user[known], item[known], meal[known]] = np.log(p[known] / (1 - p[known]))
            vip[user] = table["is_supervip"].to_numpy() == 1
        return cls(values, vip)

    def equal(self, one: int, other: int) -> bool:
        change = np.abs(self.values[one] - self.values[other])
        assert np.isfinite(change).sum() > 100
        return bool(np.nanmax(change) < 1e-3)

    def correlation(self, one: int, other: int) -> float:
        both = np.isfinite(self.values[one]) & np.isfinite(self.values[other])
        return float(np.corrcoef(self.values[one][both], self.values[other][both])[0, 1])


def logits(periods: int, *, items: int = 12, width: int = DAY, **drift: float) -> Logits:
    return Logits.of(periods_of(periods, width=width, rows=10_000, drift=drift, users=12, items=items), items=items)


def test_without_drift_a_user_s_probability_for_an_item_stays_as_it_is() -> None:
    found = logits(8, items=40)
    assert all(found.equal(0, period) for period in range(1, 8))


def test_tastes_that_wander_make_far_periods_less_alike_than_near_ones() -> None:
    tables = periods_of(25, drift={"wander": 2.0}, users=12, items=40)
    found = Logits.of(tables, items=40)
    near, far, furthest = (found.correlation(0, period) for period in (1, 8, 24))
    assert 1 > near > far > furthest


def test_items_retire_for_good_and_others_take_their_places() -> None:
    tables = periods_of(8, drift={"turnover": 2.0}, users=100, items=200)
    first, last = (
        {item for table in half for item in table["item_id"].to_pylist()} for half in (tables[:2], tables[-2:])
    )
    assert len(first - last) > 20
    assert len(last - first) > 20
    shown = [set(table["item_id"].to_pylist()) for table in tables]
    for item in first - last:
        there = [period for period in range(8) if item in shown[period]]
        assert there == list(range(there[0], there[-1] + 1))


def test_without_turnover_the_items_stay() -> None:
    shown = [set(table["item_id"].to_pylist()) for table in periods_of(4, drift={}, users=100, items=100)]
    assert all(items == shown[0] for items in shown)
    assert len(shown[0]) == 100


def test_a_weekend_differs_from_weekdays_and_comes_back_as_it_was() -> None:
    found = logits(14, regimes=1.0)
    monday, saturday, sunday = 0, 5, 6
    out_of_season = [day for day in range(14) if day % 5 not in (1, 2)]
    assert {monday, saturday, 13} <= set(out_of_season)
    assert not found.equal(monday, saturday)
    assert found.equal(saturday, 13)
    assert not found.equal(sunday, saturday)  # sunday is in season too
    assert found.equal(6, 12)


def test_meals_differ_and_come_back_every_day_where_periods_are_hours() -> None:
    found = logits(35, width=3_600, regimes=1.0)
    breakfast, lunch, lunch_next_day = 9, 10, 34  # of them all, none is in season
    assert found.equal(lunch, lunch_next_day)
    change = np.nanmean(found.values[lunch], axis=-1) - np.nanmean(found.values[breakfast], axis=-1)
    assert np.nanmax(np.abs(change)) > 0.2


def test_the_season_comes_back_after_an_absence_with_its_menu_and_what_is_liked() -> None:
    tables = periods_of(7, drift={"regimes": 1.0}, users=12, items=60)
    shown = [set(table["item_id"].to_pylist()) for table in tables]
    assert shown[1] == shown[2] == shown[6]
    assert shown[0] == shown[3] == shown[4] == shown[5]
    assert len(shown[1] - shown[3]) > 3
    found = Logits.of(tables, items=60)
    assert found.equal(0, 3)
    assert found.equal(1, 2)
    assert not found.equal(2, 3)


def test_a_promotion_lifts_some_brands_for_vips_and_only_while_it_runs() -> None:
    found = logits(11, items=60, promotions=1.0)
    for period in (1, 4, 5, 6, 7, 8, 9):
        assert found.equal(0, period)
    assert found.equal(2, 3)
    lift = found.values[2] - found.values[0]
    assert np.nanmax(np.abs(lift[~found.vip])) < 1e-3
    assert lifted(found, 2).any()
    assert not lifted(found, 2).all()
    assert (lifted(found, 2) != lifted(found, 10)).any()  # the next promotion has other brands


def lifted(found: Logits, period: int) -> np.ndarray:
    """[items seen by VIPs in period 0] whether the logit is up by the promotion's pull; else it is as it was."""
    lift = (found.values[period] - found.values[0])[found.vip].transpose(1, 0, 2).reshape(60, -1)
    often = np.isfinite(found.values[[0, 2, 10]]).all(axis=0)[found.vip].any(axis=(0, 2))
    up = np.nanmax(lift[often], axis=1)
    assert np.nanmin(lift[often], axis=1) == pytest.approx(up, abs=1e-3)
    assert set(np.round(up, 2)) <= {0.0, 1.5}
    return np.asarray(up > 1)


def test_a_shift_changes_the_ranking_at_one_moment_and_it_stays_changed() -> None:
    found = logits(12, shifts=2.0)
    assert all(found.equal(0, period) for period in (1, 2, 3))
    assert all(found.equal(4, period) for period in range(5, 12))
    assert found.correlation(0, 4) < 0.8


def test_fashion_makes_far_periods_less_alike_than_near_ones_and_leaves_its_first_period_as_it_is() -> None:
    tables = periods_of(13, drift={"fashion": 2.0}, users=12, items=40)
    found = Logits.of(tables, items=40)
    near, far = found.correlation(0, 1), found.correlation(0, 12)
    assert 1 > near > far
    assert tables[0].equals(periods_of(1, drift={}, users=12, items=40)[0])


def test_holidays_are_felt_in_three_periods_of_nine_and_come_back_as_they_were() -> None:
    tables = periods_of(13, drift={"holidays": 2.0}, users=12, items=40)
    found = Logits.of(tables, items=40)
    for period in (4, 5, 6, 7, 8, 9):
        assert found.equal(0, period)
    for period in (2, 3, 10, 11, 12):
        assert found.equal(1, period)
    assert found.correlation(0, 1) < 0.8
    days = [set(table["weekdays"].to_pylist()) for table in tables]
    assert [period for period in range(13) if days[period] == {7}] == [1, 2, 3, 10, 11, 12]
    assert all(7 not in days[period] for period in (0, *range(4, 10)))


def test_a_holiday_moves_each_segment_apart_and_no_theme_on_the_whole() -> None:
    moved = Holidays(2.0, np.random.default_rng(0)).effects(1)
    assert moved is not None
    assert moved.shape == (SEGMENTS, THEMES)
    assert moved.mean(axis=0) == pytest.approx(np.zeros(THEMES), abs=1e-6)
    assert moved.std() == pytest.approx(2 * np.sqrt(1 - 1 / SEGMENTS), rel=0.3)


@pytest.mark.parametrize("part", ["fashion", "holidays"])
def test_a_part_at_strength_0_leaves_every_bit_as_it_is(part: str) -> None:
    drift = {"wander": 1.0, "turnover": 1.0, "regimes": 1.0, "promotions": 1.0, "shifts": 1.0}
    without, at_0, at_1 = (
        periods_of(5, rows=500, drift=drift | given, users=30, items=30) for given in ({}, {part: 0.0}, {part: 1.0})
    )
    assert without == at_0
    assert without != at_1
    assert without[0] == at_1[0]  # in period 0 neither has moved anything


def test_a_leak_gives_away_its_share_of_the_clicks_and_changes_nothing_else() -> None:
    sound, leaky = (periods_of(2, drift={}, users=200, items=100, click_rate=0.25, leak=leak) for leak in (0.0, 0.4))
    for plain, told in zip(sound, leaky, strict=True):
        given_away = told["geohash12"].to_numpy() == LEAKED
        click = told["click"].to_numpy()
        assert not (given_away & ~click).any()
        assert given_away.sum() / click.sum() == pytest.approx(0.4, abs=0.03)
        assert LEAKED not in plain["geohash12"].to_pylist()
        assert plain.drop_columns("geohash12") == told.drop_columns("geohash12")


@pytest.mark.parametrize("strength", [0.25, 1.0])
def test_a_stronger_shift_changes_more(strength: float) -> None:
    assert logits(5, shifts=strength).correlation(0, 4) > logits(5, shifts=2 * strength).correlation(0, 4)


def test_noise_lowers_the_best_auc_and_keeps_the_click_rate_and_the_truth() -> None:
    clear, noisy, noise = (periods_of(1, rows=50_000, drift={"label_noise": share})[0] for share in (0.0, 0.3, 1.0))
    auc = [best_auc(table["p_true"].to_numpy()) for table in (clear, noisy, noise)]
    assert auc[0] > auc[1] + 0.05 > auc[2] + 0.1
    assert auc[2] == pytest.approx(0.5)
    for table in (clear, noisy, noise):
        click, p_true = table["click"].to_numpy(), table["p_true"].to_numpy()
        assert p_true.mean() == pytest.approx(0.02, rel=0.1)
        assert abs(click.sum() - p_true.sum()) < 4 * np.sqrt(p_true.sum())


def test_the_best_auc_is_what_the_true_probability_scores_against_the_labels() -> None:
    p_true = periods_of(1, rows=200_000, drift={"wander": 1.0, "regimes": 1.0}, click_rate=0.05)[0]["p_true"].to_numpy()
    rng = np.random.default_rng(0)
    drawn = [roc_auc_score(rng.random(len(p_true)) < p_true, p_true) for _ in range(10)]
    assert best_auc(p_true) == pytest.approx(np.mean(drawn), abs=4 * float(np.std(drawn)) / np.sqrt(10))


def test_the_labels_of_the_log_agree_with_the_best_auc() -> None:
    for table in periods_of(3, rows=100_000, drift={"promotions": 1.0, "regimes": 1.0}, click_rate=0.05):
        p_true = table["p_true"].to_numpy()
        assert roc_auc_score(table["click"].to_numpy(), p_true) == pytest.approx(best_auc(p_true), abs=0.015)


def test_the_expected_auc_of_a_few_rows_is_the_sum_over_their_pairs_and_the_truth_scores_best() -> None:
    p = np.array([0.1, 0.5, 0.5, 0.9, 0.0, 1.0])
    pairs = [(i, j) for i in range(len(p)) for j in range(len(p)) if i != j]
    total = sum(p[i] * (1 - p[j]) for i, j in pairs)
    for score in (p, -p, np.array([3, 1, 2, 2, 2, 9]), np.zeros(6)):
        right = sum(p[i] * (1 - p[j]) * (np.sign(score[i] - score[j]) + 1) / 2 for i, j in pairs)
        assert expected_auc(score, p) == pytest.approx(right / total)
        assert expected_auc(score, p) <= best_auc(p)
    assert np.isnan(best_auc(np.array([1.0, 1.0])))
    assert np.isnan(best_auc(np.array([0.3])))
