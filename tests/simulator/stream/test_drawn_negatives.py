"""Every draw is held against what a loop over the whole log says may be drawn."""

from __future__ import annotations

from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pkb.errors import SettingError
from simulator.config.typed import plain, typed
from simulator.stream.log import Log
from simulator.stream.settings import NegativeSettings, StreamSettings
from tests.simulator.stream.raw_files import DAY, MONDAY, contents, rows_of
from tests.simulator.stream.tables import Row, log_of, write_csv

PERIODS: dict[str, Any] = {"days": {"period": "1d"}, "rows": {"period": "150rows"}}


def random_rows(seed: int, *, rows: int = 400, days: int = 4, items: int = 15, users: int = 6) -> list[Row]:
    """Few users and items, so that many may not be drawn; many rows of one second; items whose fields change."""
    draw = np.random.default_rng(seed)
    made: list[Row] = []
    for second in np.sort(draw.integers(0, days * DAY // 3_600, rows)) * 3_600:
        user, item = draw.integers(users), min(draw.geometric(0.15), items)
        made.append(
            {
                "t": MONDAY + int(second),
                "user": f"u{user}" if user else "",
                "item": f"i{item}" if item > 1 else "",
                "kind": f"k{draw.integers(3)}",
                "device": len(made),
                "click": int(draw.random() < 0.8),
            }
        )
    return made


def drawn_log(folder: Path, rows: list[Row], told: list[str] | None = None, **stream: Any) -> Log:
    write_csv(folder / "raw" / "a.csv", rows)
    return log_of(folder, told, stream=stream, item=["item", "kind"])


@pytest.mark.parametrize("cut", PERIODS)
@pytest.mark.parametrize("source", ["catalogue", "popularity", "user"])
@pytest.mark.parametrize("seed", range(2))
def test_a_negative_is_known_by_then_and_no_choice_of_its_user_in_the_period(
    tmp_path: Path, source: str, cut: str, seed: int
) -> None:
    """There are as many as asked for, wherever there is an item at all."""
    each, told = 1 + seed, list[str]()
    rows = random_rows(seed)
    log = drawn_log(tmp_path, rows, told, negatives=NegativeSettings(per_positive=each, from_=source), **PERIODS[cut])
    found: dict[int, list[Row]] = defaultdict(list)  # the raw row and the negatives behind it
    for logged in rows_of(log):
        found[int(logged["device"])].append(logged)
    period = np.searchsorted([p.start for p in log.periods], [row["t"] for row in rows], side="right")
    chosen = defaultdict(set)
    for row, number in zip(rows, period, strict=True):
        if row["click"] and row["user"]:
            chosen[row["user"], number].add(row["item"])
    fewer = 0
    for place, row in enumerate(rows):
        logged, *negatives = found[place]
        assert (logged["item"], logged["click"]) == (row["item"] or None, row["click"])
        latest = {one["item"]: one["kind"] for one in rows if one["t"] < row["t"] and one["item"]}
        barred = chosen[row["user"], period[place]]
        for negative in negatives:
            assert (negative["click"], negative["ts"], negative["user"]) == (0, row["t"], row["user"] or None)
            assert negative["kind"] == latest[negative["item"]]
            assert negative["item"] not in barred
        if not row["click"]:
            assert not negatives
        elif cut == "days":
            assert len(negatives) == (each if set(latest) - barred else 0)
        fewer += (each - len(negatives)) * row["click"]
    asked = each * sum(row["click"] for row in rows)
    assert 0 < fewer < asked / 2
    assert [line.split(":")[1] for line in told if "negatives" in line] == [f" {fewer} of {asked} are not there"]


def drawn(folder: Path, rows: list[Row], source: str, each: int) -> Counter[str]:
    """How often each item was drawn for rows of the last day."""
    log = drawn_log(folder, rows, negatives=NegativeSettings(per_positive=each, from_=source))
    return Counter(row["item"] for row in rows_of(log) if row["ts"] >= log.periods[-1].start and row["click"] == 0)


def world(last: int = 200) -> list[Row]:
    """On the first day i0 .. i9 are chosen once, twice, ... by as many users; on the second u0 chooses i0 only."""
    usual = {"device": "d", "kind": "k", "click": 1}
    first = [(f"i{item}", f"v{nth}") for item in range(10) for nth in range(item + 1)]
    rows = [{"t": MONDAY + n, "user": user, "item": item} | usual for n, (item, user) in enumerate(first)]
    mine = [{"t": MONDAY + 1_000 + n, "user": "u0", "item": item} | usual for n, item in enumerate(["i1", "i2", "i2"])]
    return [*rows, *mine, *({"t": MONDAY + DAY + n, "user": "u0", "item": "i0"} | usual for n in range(last))]


@pytest.mark.parametrize(
    ("source", "weight"),
    [
        ("catalogue", dict.fromkeys((f"i{n}" for n in range(1, 10)), 1)),
        ("popularity", {f"i{n}": n + 1 + (n == 1) + 2 * (n == 2) for n in range(1, 10)}),
        ("user", {"i1": 1, "i2": 2}),
    ],
)
def test_each_item_is_as_likely_as_the_setting_says(tmp_path: Path, source: str, weight: dict[str, int]) -> None:
    counts = drawn(tmp_path, world(), source, 20)
    assert sum(counts.values()) == 200 * 20
    assert set(counts) == set(weight)
    for item, share in weight.items():
        expected = 4_000 * share / sum(weight.values())
        assert abs(counts[item] - expected) < 5 * expected**0.5


def test_an_item_that_alone_may_be_drawn_is_drawn_however_unlikely(tmp_path: Path) -> None:
    rows = [row | {"item": f"i{n % 200}"} for n, row in enumerate(world(1_000)[-1_000:])]
    earlier = [rows[0] | {"t": MONDAY, "user": "v", "item": item} for item in ["rare", *(f"i{n}" for n in range(200))]]
    assert drawn(tmp_path, [*earlier, *rows], "popularity", 1) == {"rare": 1_000}


def test_the_same_rows_get_the_same_negatives_and_other_settings_another_log(tmp_path: Path) -> None:
    write_csv(tmp_path / "raw" / "a.csv", random_rows(1))
    asked: dict[str, Row] = {
        "once": {"negatives": NegativeSettings(per_positive=2)},
        "again": {"negatives": NegativeSettings(per_positive=2)},
        "user": {"negatives": NegativeSettings(per_positive=2, from_="user")},
        "none": {"negatives": NegativeSettings()},
        "plain": {},
    }
    logs = {
        name: log_of(tmp_path, stream={"data": str(tmp_path / name)} | more, item=["item", "kind"])
        for name, more in asked.items()
    }
    assert contents(logs["once"].folder) == contents(logs["again"].folder)
    assert logs["once"].folder.name != logs["user"].folder.name
    assert contents(logs["none"].folder) == contents(logs["plain"].folder)
    assert logs["none"].folder.name == logs["plain"].folder.name


@pytest.mark.parametrize("source", ["taobao", "tmall", "alipay", "world"])
def test_a_source_that_draws_negatives_of_its_own_takes_no_others(source: str) -> None:
    with pytest.raises(SettingError, match=r"negatives\.per_positive=1: must be 0 with source="):
        StreamSettings(source=source, negatives=NegativeSettings(per_positive=1))


@pytest.mark.parametrize("line", ["position", "list_size"])
def test_no_feature_tells_which_rows_are_drawn(line: str) -> None:
    """A negative stands behind its positive: by its place in the request it is known at once."""
    with pytest.raises(SettingError, match=rf"features\.place='{line}': would tell which rows are drawn"):
        StreamSettings(source="table", features={"place": line}, negatives=NegativeSettings(per_positive=1))


def test_where_negatives_come_from_is_set_by_the_word_from() -> None:
    values = {"negatives": {"per_positive": 1, "from": "user"}, "source": "table"}
    stream = typed(StreamSettings, values)
    assert stream.negatives == NegativeSettings(per_positive=1, from_="user")
    assert plain(stream)["negatives"] == {"per_positive": 1, "from": "user"}
    assert typed(StreamSettings, plain(stream)) == stream
    with pytest.raises(
        SettingError, match=r"stream\.negatives\.from=random: is not one of catalogue, popularity, user"
    ):
        typed(StreamSettings, {"negatives": {"from": "random"}}, at="stream")
