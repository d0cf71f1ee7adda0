from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from tests.simulator.stream.raw_files import ingested, rejects, rows_of, settings_for, write_lines

HEADER = "item_id,user_id,rating,timestamp,model_attr,category,brand,year,user_attr,split"


def write(folder: Path, lines: list[str]) -> None:
    write_lines(folder / "raw" / "df_electronics.csv", [HEADER, *lines])


def test_four_stars_are_a_click_and_the_category_is_the_scenario(tmp_path: Path) -> None:
    lines = [
        "0,AMDHNLB,5.0,1999-06-13,Female,Portable Audio & Video,,1999,,0",
        '1,"O\'Neil, Pat",3.0,1999-06-14 10:30:00,Female&Male,Headphones,"Koss ""Pro""",1999,Male,2',
    ]
    write(tmp_path, lines)
    log = ingested(settings_for(tmp_path, source="marketbias"))
    assert {field.name: field.role for field in log.schema.fields}["category"] == "scenario"
    first, second = rows_of(log)
    assert first["ts"] == int(datetime(1999, 6, 13, tzinfo=UTC).timestamp())
    assert (first["user_id"], first["category"], first["click"]) == ("AMDHNLB", "Portable Audio & Video", 1)
    assert (first["brand"], first["user_attr"], first["model_attr"]) == (None, None, "Female")
    assert (second["user_id"], second["brand"], second["click"]) == ("O'Neil, Pat", 'Koss "Pro"', 0)
    assert "split" not in log.schema.names


def test_bad_rows_are_set_aside_with_file_row_and_reason(tmp_path: Path) -> None:
    tail = "Female,Headphones,Koss,1999,Male,2"
    bad = {
        4: (f"0,a,,1999-06-13,{tail}", "rating '' is not between 0 and 5"),
        5: (f"0,a,6,1999-06-13,{tail}", "rating '6' is not between 0 and 5"),
        6: (f"0,a,5.0,1999-06-31,{tail}", "time '1999-06-31' does not parse"),
        7: (f"0,O'Neil, Pat,5.0,1999-06-13,{tail}", "10 columns expected, 11 found"),
        8: (
            f"0,a,5.0,1899-06-13,{tail}",
            "time '1899-06-13' is not in the years 1970 to 9999; look at the unit of time",
        ),
    }
    write(tmp_path, [f"0,a,5.0,1999-06-{day},{tail}" for day in (13, 14)] + [line for line, _ in bad.values()])
    log = ingested(settings_for(tmp_path, source="marketbias", max_reject_share=0.9))
    assert rejects(log) == [("df_electronics.csv", row, reason) for row, (_, reason) in bad.items()]
