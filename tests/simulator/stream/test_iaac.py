from __future__ import annotations

from pathlib import Path

import pytest

from pkb.errors import DataError
from simulator.stream.settings import ListSettings
from tests.simulator.stream.raw_files import DAY, ingested, rejects, rows_of, settings_for, write_lines

MORNING = 1_537_200_000  # 2018-09-18 00:00, UTC+8
_COLUMNS = (
    "instance_id item_id item_category_list item_property_list item_brand_id item_city_id item_price_level"
    " item_sales_level item_collected_level item_pv_level user_id user_gender_id user_age_level"
    " user_occupation_id user_star_level context_id context_timestamp context_page_id predict_category_property"
    " shop_id shop_review_num_level shop_review_positive_rate shop_star_level shop_score_service"
    " shop_score_delivery shop_score_description is_trade"
)
COLUMNS = _COLUMNS.split()


def line(instance: int, time: int | str, **values: str) -> str:
    lists = {
        "item_category_list": "7908382889764677758;5799347067982556520",
        "item_property_list": "2072967855524022579;5131280576272319091",
        "predict_category_property": "5799347067982556520:-1;509660095530134768:-1,5755694407684602296",
    }
    fixed = {"instance_id": str(instance), "context_timestamp": str(time), "is_trade": "0"}
    return " ".join((dict.fromkeys(COLUMNS, "3") | lists | fixed | values)[name] for name in COLUMNS)


def write(folder: Path, lines: list[str]) -> None:
    write_lines(folder / "raw" / "round1_ijcai_18_train_20180301.txt", [" ".join(COLUMNS), *lines])


def test_the_trade_is_the_label_and_64_bit_ids_are_never_rounded(tmp_path: Path) -> None:
    ids = {"user_id": "4505772604969228686", "item_id": "3412720377098676069"}
    near = {"user_id": "4505772604969228687", "item_id": "3412720377098676070"}
    write(tmp_path, [line(1, MORNING, is_trade="1", **ids), line(2, MORNING + DAY, **near)])
    log = ingested(settings_for(tmp_path, source="iaac", utc_offset_hours=8))
    assert len(COLUMNS) == 27
    assert log.schema.labels == ("is_trade",)
    assert len(log.periods) == 2
    first, second = rows_of(log)
    assert (first["user_id"], first["item_id"], first["is_trade"]) == (*ids.values(), 1)
    assert (second["user_id"], second["item_id"], second["is_trade"]) == (*near.values(), 0)


def test_minus_one_is_missing_and_the_narrowest_category_is_taken(tmp_path: Path) -> None:
    write(tmp_path, [line(1, MORNING, item_brand_id="-1", user_gender_id="-1"), line(2, MORNING + DAY)])
    first, second = rows_of(ingested(settings_for(tmp_path, source="iaac", utc_offset_hours=8)))
    assert (first["item_brand_id"], first["user_gender_id"]) == (None, None)
    assert first["item_category_list"] == "5799347067982556520"
    assert second["item_brand_id"] == "3"


def test_properties_and_what_was_searched_for_are_lists(tmp_path: Path) -> None:
    nothing = {"item_property_list": "-1", "predict_category_property": "-1"}
    write(tmp_path, [line(1, MORNING), line(2, MORNING + DAY, **nothing)])
    log = ingested(settings_for(tmp_path, source="iaac", utc_offset_hours=8, lists=ListSettings(pooling="sum")))
    first, second = rows_of(log)
    assert first["item_property_list"] == ["2072967855524022579", "5131280576272319091"]
    assert first["predicted_categories"] == ["5799347067982556520", "509660095530134768"]
    assert first["predicted_properties"] == ["5755694407684602296"]
    assert (second["item_property_list"], second["predicted_categories"], second["predicted_properties"]) == (
        [],
        [],
        [],
    )
    assert {f.name: f.pooling for f in log.schema.fields if f.kind == "list"} == dict.fromkeys(
        ("item_property_list", "predicted_categories", "predicted_properties"), "sum"
    )


def test_repeated_and_malformed_rows_are_set_aside_with_file_row_and_reason(tmp_path: Path) -> None:
    lines = [
        line(108641074714126964, MORNING),
        line(108641074714126965, MORNING + DAY),
        line(108641074714126964, MORNING),
        line(3, MORNING) + " 0",
        line(4, "-1"),
        line(5, MORNING, is_trade=""),
        line(6, MORNING).replace(" ", ","),
    ]
    write(tmp_path, lines)
    log = ingested(settings_for(tmp_path, source="iaac", utc_offset_hours=8, max_reject_share=0.9))
    reasons = [
        "instance_id '108641074714126964' is repeated",
        "27 columns expected, 28 found",
        "time '-1' is not in the years 1970 to 9999; look at the unit of time",
        "no label",
        "27 columns expected, 1 found",
    ]
    file = "round1_ijcai_18_train_20180301.txt"
    assert rejects(log) == [(file, row, reason) for row, reason in enumerate(reasons, 4)]


def test_the_test_file_without_labels_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "raw" / "round1_ijcai_18_train_20180301.txt"
    write_lines(file, [" ".join(COLUMNS[:-1])])
    with pytest.raises(DataError, match="no column 'is_trade'; there are instance_id, "):
        ingested(settings_for(tmp_path, source="iaac"))
