"""Files of several domains that feed one log, and which of its rows are the sub-domain's."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pkb.errors import DataError, SettingError
from simulator.settings import load, to_yaml
from simulator.stream.domains import rows_by_period, sub_domain, told
from simulator.stream.log import Log
from simulator.stream.settings import StreamSettings, TableSettings
from tests.simulator.stream.raw_files import rows_of
from tests.simulator.stream.tables import Row, clicks, log_of, write_csv

FILES = {"shop": "shop/*.parquet", "ad": ["ad/*.csv"]}
MORE: dict[str, Any] = {
    "files": FILES,
    "context": ["device", "slot"],
    "further_labels": ["cart"],
    "histories": {"seen": "item"},
    "numeric": ["price"],
}


def without(rows: list[Row], *columns: str) -> list[Row]:
    return [{name: value for name, value in row.items() if name not in columns} for row in rows]


def write(folder: Path, *, ads: int = 60) -> None:
    """Behaviours in two Parquet files, without slots; ads in one of text, without carts, prices and histories."""
    rows = clicks(240, seen=lambda row: [f"i{row % 5}"], price=lambda row: row / 2, cart=lambda row: int(row % 6 == 0))
    (folder / "raw" / "shop").mkdir(parents=True)
    for half in range(2):
        pq.write_table(pa.Table.from_pylist(rows[half::2]), folder / "raw" / "shop" / f"{half}.parquet")
    only_here = clicks(ads, slot=lambda row: f"s{row % 2}", item=lambda row: f"a{row % 3}")
    write_csv(folder / "raw" / "ad" / "ad.csv", without(only_here, "device"))


def mixed(folder: Path, told: list[str] | None = None, **table: Any) -> Log:
    return log_of(folder, told, **(MORE | table))


def test_what_a_domain_s_files_do_not_have_is_missing_in_its_rows_and_a_label_unknown(tmp_path: Path) -> None:
    write(tmp_path)
    told: list[str] = []
    log = mixed(tmp_path, told=told)
    assert "label 'cart': 60 of 300 rows do not tell it; what learns it learns it from the others" in told
    rows = rows_of(log)
    shop, ads = ([row for row in rows if row["domain"] == name] for name in ("shop", "ad"))
    assert (len(shop), len(ads)) == (240, 60)
    assert {row["slot"] for row in shop} == {None}
    assert {row["device"] for row in shop} == {"phone", "tv"}
    assert sum(row["cart"] for row in shop) == 40
    assert all(row["seen"] for row in shop)
    assert {row["slot"] for row in ads} == {"s0", "s1"}
    ad_says = {(row["device"], row["cart"], tuple(row["seen"]), row["price"]) for row in ads}
    assert ad_says == {(None, None, (), None)}
    carts = [cart for period in log.periods for cart in log.read(period).further_labels["cart"].tolist()]
    assert [None if math.isnan(cart) else cart for cart in carts] == [row["cart"] for row in rows]
    assert [row["ts"] for row in rows] == sorted(row["ts"] for row in rows)


def test_the_domain_of_the_files_tells_the_sub_domain(tmp_path: Path) -> None:
    write(tmp_path)
    log, stream = mixed(tmp_path), StreamSettings(sub_domain="ad")
    served = sub_domain(log, stream)
    ads = [[row for row in rows_of(log) if row["domain"] == "ad" and p.start <= row["ts"] < p.end] for p in log.periods]
    assert [served.of(log.read(period)).ts.tolist() for period in log.periods] == [  # type: ignore[union-attr]
        [row["ts"] for row in of_period] for of_period in ads
    ]
    assert rows_by_period(log, stream) == [20, 20, 20]
    assert (told(log, stream) or "").startswith("sub-domain domain=ad: 60 of 300 impressions; ")
    with pytest.raises(SettingError, match=r"it has (shop, ad|ad, shop)$"):
        sub_domain(log, StreamSettings(sub_domain="video"))


def test_a_sub_domain_may_be_several_values_of_any_field_numbers_among_them(tmp_path: Path) -> None:
    rows = clicks(120, item=lambda row: row % 4)
    write_csv(tmp_path / "raw" / "one.csv", rows)
    log = log_of(tmp_path)
    asked = StreamSettings(domain="item", sub_domain=[1, "3"])
    assert sum(rows_by_period(log, asked)) == 60
    kept = {row["row_id"] for row in rows_of(log) if row["item"] in ("1", "3")}
    assert {i for p in log.periods for i in sub_domain(log, asked).of(log.read(p)).row_id.tolist()} == kept


def test_a_value_that_histories_alone_hold_is_no_sub_domain(tmp_path: Path) -> None:
    write_csv(tmp_path / "raw" / "one.csv", clicks(120, seen=lambda _: "i1;gone"))
    log = log_of(tmp_path, histories={"seen": "item"})
    with pytest.raises(SettingError, match=r"^stream\.sub_domain: no row of the log has item=gone"):
        rows_by_period(log, StreamSettings(domain="item", sub_domain="gone"))


def test_a_column_that_one_file_of_a_domain_lacks_stops_the_ingest_and_so_does_one_that_nobody_has(
    tmp_path: Path,
) -> None:
    write(tmp_path)
    write_csv(tmp_path / "raw" / "ad" / "more.csv", without(clicks(60), "device"))
    with pytest.raises(DataError, match=r"more\.csv: no column 'slot'"):
        mixed(tmp_path)
    with pytest.raises(DataError, match="no column 'typo'"):
        mixed(tmp_path, context=["device", "slot", "typo"])


@pytest.mark.parametrize("column", ["t", "click", "user"])
def test_time_label_and_user_no_domain_may_lack(tmp_path: Path, column: str) -> None:
    write_csv(tmp_path / "raw" / "ad" / "ad.csv", without(clicks(60), column))
    write_csv(tmp_path / "raw" / "shop" / "shop.csv", clicks(60))
    with pytest.raises(DataError, match=rf"ad\.csv: no column '{column}'"):
        log_of(tmp_path, files={"shop": "shop/*.csv", "ad": "ad/*.csv"})


def test_a_file_is_of_one_domain_and_no_column_has_the_name_of_their_field(tmp_path: Path) -> None:
    write(tmp_path)
    with pytest.raises(DataError, match=r"ad\.csv: is of two domains of stream\.table\.files, ad and all"):
        mixed(tmp_path, files={"ad": "ad/*.csv", "all": "**/*.csv"})
    with pytest.raises(SettingError, match=r"stream\.table\.files: names the domains of its files"):
        mixed(tmp_path, context=["domain"])
    with pytest.raises(SettingError, match="files="):
        TableSettings(files={"ad": []})


def test_settings_of_domains_are_read_as_they_are_written(tmp_path: Path) -> None:
    file = tmp_path / "one.yaml"
    file.write_text(
        "stream: {source: table, sub_domain: [4756105, ad], table: {files: {shop: '*.csv', ad: [a/*.csv, b.csv]}}}\n"
        "arms: {merged: {domains: all}}\n"
    )
    settings = load(file)
    assert settings.stream.sub_domains == ("4756105", "ad")
    assert settings.stream.table.by_domain == {"shop": ("*.csv",), "ad": ("a/*.csv", "b.csv")}
    file.write_text(to_yaml(settings))
    assert load(file) == settings
