"""The shapes that a world can take: which fields it has, how many values, and how often it is clicked.

Numbers of users, items and features at scale 1 are those of EDK, Table 1 (features are the values of all fields
together). How the features divide among the fields is not published; the division here is an assumption.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace

import numpy as np

from pkb.batch import History, Schema
from simulator.stream.sources import alidisplay, eleme
from simulator.stream.world.clock import HOLIDAY, MEAL_OF_HOUR, MEALS, at_work, hour_of, weekday_of
from simulator.stream.world.population import THEMES, Menu, Users, grown, shares, spread

LABELS = ("click", "cart", "purchase")
VIPS = 0.25  # share of users
UNBRANDED = 0.15  # share of shops, or of ads


@dataclass(frozen=True, kw_only=True)
class Requests:
    """Who asked, when and where; [R] each."""

    user: np.ndarray
    time: np.ndarray  # seconds of the local clock
    slot: np.ndarray  # of the page: the ad slot; 0 where there is one only
    holiday: bool  # whether all of them fell on one
    there: np.ndarray | None = None  # bool, in the sub-domain; None where there is none

    def some(self, chosen: np.ndarray) -> Requests:
        """Those of a mask, [R] bool."""
        return Requests(user=self.user[chosen], time=self.time[chosen], slot=self.slot[chosen], holiday=self.holiday)


class Preset(ABC):
    """One shape."""

    schema: Schema
    users: int  # at scale 1
    items: int  # at scale 1
    click_rate: float
    slots: int  # of a page
    leaks: str  # the field that gives clicks away, if one does

    @abstractmethod
    def draw_users(self, count: int, markets: int, rng: np.random.Generator) -> Users: ...

    @abstractmethod
    def draw_menu(self, places: int, rng: np.random.Generator) -> Menu: ...

    @abstractmethod
    def context(self, requests: Requests, users: Users) -> dict[str, np.ndarray]:
        """[R] each: the fields that neither user nor item decides, as numbers."""

    def words(self, field: str) -> tuple[str, ...] | None:
        """What the numbers of a field stand for, if it is written as text."""
        return None

    def clicked(self, field: str, items: dict[str, np.ndarray], time: np.ndarray) -> np.ndarray:
        """What a history of `field` keeps of clicks, given their item's fields and times."""
        return hour_of(time) if field == "hours" else items[field]


class Eleme(Preset):
    """Dishes of the user's city: 17 fields, 8 histories (`sources/eleme.py`)."""

    schema = replace(eleme.schema(synthetic=True), labels=LABELS)
    users, items, click_rate, slots = 5_782_482, 1_853_764, 0.02, 1
    leaks = "geohash12"
    districts, aois, cells = 5, 8, 3  # each is per unit of the one before; districts per city
    foods = 8  # per category
    whereabouts = 3.4  # geohash12 per user of a city; what the other fields leave of EDK's features

    def draw_users(self, count: int, markets: int, rng: np.random.Generator) -> Users:
        gender, vip = rng.integers(2, size=count), (rng.random(count) < VIPS).astype(np.int32)
        city = rng.permutation(shares(count, markets, least=1))
        segment = (2 * gender + vip).astype(np.int32)
        cells = np.ceil(self.whereabouts * np.bincount(city)).astype(np.int64)  # of each city, that users may be at
        first_cell = np.cumsum(cells) - cells
        return Users(
            columns={
                "gender": np.where(rng.random(count) < 0.1, -99, gender).astype(np.int32),
                "visit_city": city,
                "is_supervip": vip,
            },
            market=city,
            segment=segment,
            group=segment * markets + city,
            places=(first_cell[city] + rng.integers(cells[city], size=(2, count))).astype(np.int32),
        )

    def draw_menu(self, places: int, rng: np.random.Generator) -> Menu:
        size = places / self.items
        city = shares(places, grown(150, size, 0.5), least=8)
        first = np.flatnonzero(np.diff(city, prepend=-1))  # place of each city
        shops = np.maximum(1, np.diff(first, append=places) // 8)
        shop = ((np.cumsum(shops) - shops)[city] + rng.integers(shops[city])).astype(np.int32)
        in_city = self.districts * self.aois * self.cells
        shop_city = np.repeat(np.arange(len(shops)), shops)
        cell = (shop_city * in_city + rng.integers(in_city, size=len(shop_city))).astype(np.int32)[shop]
        brands = grown(2_200, size, 0.5)
        unbranded = rng.random(len(shop_city)) < UNBRANDED
        brand = np.where(unbranded, -1, spread(rng, len(shop_city), brands)).astype(np.int32)
        category = rng.integers(THEMES, size=len(shop_city), dtype=np.int32)[shop]
        return Menu(
            columns={
                "shop_id": shop,
                "city_id": city,
                "district_id": cell // (self.cells * self.aois),
                "shop_aoi_id": cell // self.cells,
                "shop_geohash_6": cell,
                "brand_id": brand[shop],
                "category_1_id": category,
            },
            item_field="item_id",
            kind_field="merge_standard_food_id",
            market=city,
            markets=len(shops),
            shop=shop,
            brand=brand[shop],
            brands=brands,
            first_kind=category * self.foods,
            kinds_of_place=self.foods,
            theme_of_kind=np.repeat(np.arange(THEMES), self.foods),
        )

    def context(self, requests: Requests, users: Users) -> dict[str, np.ndarray]:
        hour, weekday = hour_of(requests.time), weekday_of(requests.time)
        return {
            "hours": hour,
            "time_type": MEAL_OF_HOUR[hour],
            "weekdays": np.full_like(weekday, HOLIDAY) if requests.holiday else weekday,
            "geohash12": users.places[at_work(requests.time).astype(int), requests.user],
        }

    def words(self, field: str) -> tuple[str, ...] | None:
        return MEALS if field == "time_type" else None


class AliDisplay(Preset):
    """Ads in two slots of a page: 12 fields, 2 histories.

    The fields are those of `sources/alidisplay.py` with its behaviours, without cms_group_id: brand is one of 12
    then. Users' histories are clicks on ads here, not a log of behaviours of its own.
    """

    schema = Schema(
        fields=tuple(field for field in alidisplay.schema(behaviors=True).fields if field.name != "cms_group_id"),
        user="userid",
        item="adgroup_id",
        histories=tuple(History(name=name, field=field) for name, field in alidisplay.HISTORIES.items()),
        labels=LABELS,
        has_request=True,
        has_p_true=True,
    )
    users, items, click_rate, slots = 1_061_768, 827_009, 0.05, 2
    leaks = "shopping_level"
    ages, segments_of_age = 7, 7

    def draw_users(self, count: int, markets: int, rng: np.random.Generator) -> Users:
        gender, vip = rng.integers(2, size=count), (rng.random(count) < VIPS).astype(np.int32)
        age = rng.integers(self.ages, size=count)
        micro = (gender * self.ages + age) * self.segments_of_age + rng.integers(self.segments_of_age, size=count)
        return Users(
            columns={
                "cms_segid": np.minimum(micro, 96).astype(np.int32),
                "final_gender_code": (1 + gender).astype(np.int32),
                "age_level": age.astype(np.int32),
                "shopping_level": np.where(vip == 1, 3, 1 + rng.integers(2, size=count)).astype(np.int32),
                "occupation": (rng.random(count) < 0.06).astype(np.int32),
            },
            market=np.zeros(count, dtype=np.int32),
            segment=(2 * gender + vip).astype(np.int32),
            group=np.minimum(micro, 96),
            places=np.zeros((2, count), dtype=np.int32),
        )

    def draw_menu(self, places: int, rng: np.random.Generator) -> Menu:
        size = places / self.items
        kinds = grown(12_977, size, 0.75)
        brands = grown(448_148, size, 1.0)
        customer = spread(rng, places, grown(255_875, size, 1.0))
        kind, brand = spread(rng, places, kinds), np.full(places, -1, dtype=np.int32)
        branded = np.flatnonzero(rng.random(places) >= UNBRANDED)
        brand[branded] = spread(rng, len(branded), brands)
        return Menu(
            columns={
                "campaign_id": spread(rng, places, grown(423_436, size, 1.0)),
                "customer": customer,
                "brand": brand,
            },
            item_field="adgroup_id",
            kind_field="cate_id",
            market=np.zeros(places, dtype=np.int32),
            markets=1,
            shop=customer,
            brand=brand,
            brands=brands,
            first_kind=kind,
            kinds_of_place=1,
            theme_of_kind=rng.integers(THEMES, size=kinds),
        )

    def context(self, requests: Requests, users: Users) -> dict[str, np.ndarray]:
        return {"pid": requests.slot}

    def words(self, field: str) -> tuple[str, ...] | None:
        return ("430548_1007", "430539_1007") if field == "pid" else None


PRESETS: dict[str, Preset] = {"eleme": Eleme(), "alidisplay": AliDisplay()}
