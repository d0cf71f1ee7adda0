"""The world's sub-domain: its size, and how much of what users like elsewhere they like there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from pkb.errors import SettingError
from simulator.stream.settings import StreamSettings
from simulator.stream.world.clicks import REMEMBERED
from simulator.stream.world.generation import World
from simulator.stream.world.impressions import Impressions, Market
from simulator.stream.world.presets import PRESETS
from simulator.stream.world.truth import expected_auc
from simulator.stream.world_settings import DomainSettings, WorldSettings
from tests.simulator.stream.raw_files import ingested, rows_of, settings_for

DAY = 86_400
SIXTH = 1 / 6


def settings_of(shared: float = 1.0, impressions: float = SIXTH, users: float = 0.5, **world: Any) -> WorldSettings:
    domains = DomainSettings(impressions=impressions, users=users, shared=shared)
    sizes: dict[str, Any] = {"users": 4_000, "items": 1_500, "click_rate": 0.2}
    return WorldSettings(domains=domains, **(sizes | world))


def market_of(settings: WorldSettings, *, period: int = 0) -> Market:
    market = Market(PRESETS[settings.preset], settings, DAY)
    for index in range(period + 1):
        market.begin(index)
    return market


def correlation(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.corrcoef(one.ravel(), other.ravel())[0, 1])


def shown_by(market: Market, requests: int = 40_000) -> tuple[Impressions, np.ndarray]:
    """Impressions, and which requests are of the sub-domain."""
    shown = market.impressions(market.rng("test"), 0, 1, requests)
    assert shown.requests.there is not None
    return shown, shown.requests.there


@pytest.mark.parametrize("preset", list(PRESETS))
@pytest.mark.parametrize("shared", [0.0, 0.6, 1.0])
def test_the_setting_is_the_correlation_of_what_a_user_likes_here_and_there(preset: str, shared: float) -> None:
    market = market_of(settings_of(shared, preset=preset, taste=1.0), period=3)
    everyone = np.arange(market.users.count)
    there, elsewhere = market.liking_there, market.liking
    assert correlation(there.taste(everyone), elsewhere.taste(everyone)) == pytest.approx(shared, abs=0.04)
    assert correlation(there.habit(everyone), elsewhere.habit(everyone)) == pytest.approx(shared, abs=0.06)
    for liking in (there, elsewhere):
        assert liking.habit(everyone).std() == pytest.approx(0.35, rel=0.05)
        assert liking.taste(everyone).std() == pytest.approx(np.hypot(1, 0.24), rel=0.05)
    appeals = there.worth[:, 1:], elsewhere.worth[:, 1:]
    assert correlation(*appeals) == pytest.approx(shared, abs=0.25), "of few kinds"
    assert (shared < 1) or np.array_equal(*appeals)


def test_what_items_are_worth_is_of_each_domain_even_where_users_are_the_same() -> None:
    market = market_of(settings_of(1.0, preset="alidisplay", items=20_000))
    assert abs(correlation(market.liking_there.worth[:, 0], market.liking.worth[:, 0])) < 0.3


@pytest.mark.parametrize("shared", [0.0, 1.0])
def test_what_a_user_likes_elsewhere_ranks_the_sub_domain_s_rows_only_if_it_is_shared(shared: float) -> None:
    market = market_of(settings_of(shared, preset="alidisplay", taste=0.4, habit=0.7))
    shown, there = shown_by(market)
    user, place = shown.requests.user[there], shown.place[there]
    likes = market.liking.habit(user)[:, None] + np.einsum(
        "rd,rkd->rk", market.liking.taste(user), market.liking.worth[place, 1:]
    )
    auc = expected_auc(likes.ravel(), shown.p_true[there].ravel())
    assert auc == pytest.approx(0.5, abs=0.03) if shared == 0 else auc > 0.65


def test_it_has_its_share_of_the_impressions_of_the_users_and_of_the_clicks() -> None:
    """Each of its users has about as many requests there, of all that the user has, as any other of its users."""
    market = market_of(settings_of(users=0.5))
    shown, there = shown_by(market, 60_000)
    assert there.mean() == pytest.approx(SIXTH, abs=4 * np.sqrt(SIXTH / 60_000))
    seen = np.unique(shown.requests.user)
    served = np.unique(shown.requests.user[there])
    assert market.visits is not None
    assert market.visits.members.sum() == 2_000
    assert market.visits.members[served].all()
    assert 0.85 < len(served) / (len(seen) / 2) <= 1.1
    members = market.visits.members[shown.requests.user]
    busy = shown.requests.user < 100
    assert there[members & busy].mean() == pytest.approx(there[members & ~busy].mean(), rel=0.1)
    for part in (there, ~there):
        assert shown.p_true[part].mean() == pytest.approx(0.2, rel=0.1)


def test_its_rows_are_a_domain_of_the_log_with_every_label_and_histories_over_both(tmp_path: Path) -> None:
    world = settings_of(users=0.5, periods=2, rows_per_period=6_000, preset="alidisplay")
    log = ingested(settings_for(tmp_path, source="world", world=world))
    assert log.schema.names[-1] == "domain"
    rows = rows_of(log)
    ads = [row for row in rows if row["domain"] == "ad"]
    assert {row["domain"] for row in rows} == {"ad", "feed"}
    assert len(ads) == pytest.approx(SIXTH * len(rows), rel=0.2)
    assert all(sum(row[label] for row in ads) > 0 for label in ("click", "cart", "purchase"))
    requests = {row["request_id"]: row["domain"] for row in rows}
    assert all(requests[row["request_id"]] == row["domain"] for row in rows), "a request is of one domain"
    clicks = [row for row in rows if row["click"]]  # in order of time
    for row in ads[::50]:
        mine = [c["cate_id"] for c in clicks if c["userid"] == row["userid"] and c["ts"] < row["ts"]]
        assert row["cate_list"] == mine[-REMEMBERED:]


def test_a_world_without_it_has_no_such_field_and_is_otherwise_the_same() -> None:
    plain = settings_of(impressions=0.0)
    table = pa.concat_tables(World(PRESETS["eleme"], plain, width=DAY, utc_offset=0).period(0))
    assert "domain" not in table.column_names
    with_ads = pa.concat_tables(World(PRESETS["eleme"], settings_of(), width=DAY, utc_offset=0).period(0))
    feed = pc.equal(with_ads["domain"].cast(pa.string()), "feed")
    assert with_ads["p_true"].filter(feed).equals(table["p_true"].filter(feed)), "the rest is as it was"


def test_more_impressions_than_its_users_see_are_refused() -> None:
    with pytest.raises(SettingError, match=r"stream\.world\.domains\.impressions=0\.8: its users see 0\.[12]\d of all"):
        market_of(settings_of(impressions=0.8, users=0.2))
    with pytest.raises(SettingError, match=r"shared=1\.5: must lie between 0 and 1"):
        StreamSettings(world=settings_of(1.5))
