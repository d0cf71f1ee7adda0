from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pkb.errors import DataError
from simulator.stream.log import Log
from simulator.stream.sources import ebnerd
from tests.simulator.stream.raw_files import ingested, rejects, rows_of, settings_for

SHARED = Path(__file__).resolve().parents[3] / ".." / "shared" / "data" / "ebnerd"
NOON = datetime(2023, 5, 18, 12)


def behavior(number: int, time: datetime | None, shown: list[int], clicked: list[int], **more: Any) -> dict[str, Any]:
    plain = dict.fromkeys(ebnerd.NEEDED) | {"user_id": 1, "next_read_time": 5.0, "next_scroll_percentage": 50.0}
    row = {
        "impression_id": number,
        "impression_time": time,
        "article_ids_inview": shown,
        "article_ids_clicked": clicked,
    }
    return plain | row | more


def history(user: int, clicks: list[tuple[datetime, int]]) -> dict[str, Any]:
    times, articles = [time for time, _ in clicks], [article for _, article in clicks]
    return {"user_id": user, "impression_time_fixed": times, "article_id_fixed": articles}


def write(folder: Path, **files: list[dict[str, Any]]) -> None:
    (folder / "raw").mkdir(exist_ok=True)
    for name, rows in files.items():
        pq.write_table(pa.Table.from_pylist(rows), folder / "raw" / f"{name}.parquet")


@pytest.fixture
def small(tmp_path: Path) -> Path:
    later = NOON + timedelta(days=1)
    write(
        tmp_path,
        behaviors_train=[
            behavior(72, NOON, [30, 10, 20], [20], article_id=77, device_type=2, is_subscriber=True),
            behavior(71, NOON + timedelta(seconds=1), [40], [], user_id=2),
        ],
        behaviors_val=[behavior(90, later, [10, 50], [10])],
        history_train=[
            history(1, [(NOON - timedelta(hours=2), 5), (NOON, 20), (NOON - timedelta(hours=1), 6)]),
            history(3, [(NOON, 8)]),
        ],
        history_val=[history(1, [(NOON - timedelta(hours=1), 6), (NOON + timedelta(hours=1), 7), (later, 10)])],
    )
    return tmp_path


def test_an_impression_becomes_a_row_for_each_article_in_the_order_shown(small: Path) -> None:
    rows = rows_of(ingested(settings_for(small, source="ebnerd")))
    assert [(row["request_id"], row["article_id"], row["click"]) for row in rows] == [
        (72, "30", 0),
        (72, "10", 0),
        (72, "20", 1),
        (71, "40", 0),
        (90, "10", 1),
        (90, "50", 0),
    ]
    first = rows[0]
    assert first["ts"] == int(NOON.replace(tzinfo=UTC).timestamp())
    assert (first["page"], first["device_type"], first["is_subscriber"]) == ("77", "2", "true")
    assert (first["hour"], first["weekday"], first["age"]) == ("12", "4", None)


def test_the_scenario_is_the_front_page_or_that_of_an_article(small: Path) -> None:
    log = ingested(settings_for(small, source="ebnerd"))
    assert log.schema.scenario == "surface"
    assert [(row["page"], row["surface"]) for row in rows_of(log)] == [("77", "article")] * 3 + [(None, "front")] * 3


def test_a_history_holds_the_latest_clicks_of_both_files_strictly_before_the_impression(small: Path) -> None:
    rows = rows_of(ingested(settings_for(small, source="ebnerd")))
    clicked = {row["request_id"]: row["clicked_articles"] for row in rows}
    assert clicked == {72: ["5", "6"], 71: [], 90: ["5", "6", "20", "7"]}
    rows = rows_of(ingested(settings_for(small, source="ebnerd", history_length=2)))
    assert rows[-1]["clicked_articles"] == ["20", "7"]


def test_nothing_measured_after_the_click_is_a_column(small: Path) -> None:
    log = ingested(settings_for(small, source="ebnerd"))
    columns = pq.read_schema(log.path(log.periods[0])).names
    assert not [name for name in columns if "next" in name or "read_time" in name or "scroll" in name]
    assert len(log.schema.fields) == 12


def test_an_impression_without_a_time_is_set_aside_article_by_article(small: Path) -> None:
    write(small, behaviors_val=[behavior(90, NOON + timedelta(days=1), [10], []), behavior(91, None, [1, 2], [2])])
    log = ingested(settings_for(small, source="ebnerd", max_reject_share=0.5))
    assert rejects(log) == [("behaviors_val.parquet", 2, "no time")] * 2


def test_a_missing_file_is_named(small: Path) -> None:
    (small / "raw" / "history_val.parquet").unlink()
    with pytest.raises(DataError, match=r"history_val\.parquet: no such file"):
        ingested(settings_for(small, source="ebnerd"))


def test_a_missing_column_is_named_with_those_there_are(small: Path) -> None:
    file = small / "raw" / "behaviors_val.parquet"
    pq.write_table(pq.read_table(file).drop_columns("impression_id"), file)
    with pytest.raises(DataError, match=r"behaviors_val\.parquet: no column 'impression_id'; there are user_id, "):
        ingested(settings_for(small, source="ebnerd"))


def test_a_file_that_is_not_parquet_is_named(small: Path) -> None:
    (small / "raw" / "behaviors_val.parquet").write_text("not Parquet")
    with pytest.raises(DataError, match=r"behaviors_val\.parquet: not readable as Parquet"):
        ingested(settings_for(small, source="ebnerd"))


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Log:
    if not SHARED.is_dir():
        pytest.skip(f"the EB-NeRD files are not at {SHARED}")
    return ingested(
        settings_for(tmp_path_factory.mktemp("real"), source="ebnerd", root=str(SHARED), utc_offset_hours=-7)
    )


def test_the_real_log_has_the_rows_clicks_users_and_articles_it_is_known_for(real: Log) -> None:
    manifest = real.manifest
    assert (manifest.rows_in, manifest.rows_rejected) == (583_054, 0)
    assert round(sum(period.positives for period in real.periods) / manifest.rows_kept, 4) == 0.0862
    assert len(real.periods) == 14
    batches = [real.read(period) for period in real.periods]
    assert len(np.unique(np.concatenate([batch.ids_BF[:, 0] for batch in batches]))) == 1_935
    items = np.concatenate([batch.ids_BF[:, real.schema.item_column] for batch in batches])
    assert len(np.unique(items)) == 3_729


def test_no_history_of_the_real_log_looks_into_the_future(real: Log) -> None:
    """Against the raw files, for every impression of a few users."""
    clicks: dict[str, set[tuple[datetime, int]]] = {}
    for name in ebnerd.CLICKS:
        for user in pq.read_table(SHARED / name, columns=list(ebnerd.NEEDED_CLICKS)).to_pylist():
            pairs = zip(user["impression_time_fixed"], user["article_id_fixed"], strict=True)
            clicks.setdefault(str(user["user_id"]), set()).update(pairs)
    words = pq.read_table(real.folder / "vocabulary.parquet").to_pylist()
    text = {word["id"]: word["text"] for word in words}
    users = [word["id"] for word in words if word["field"] == "user_id"][:50]
    files = [real.path(period) for period in real.periods]
    rows = pq.read_table(
        files, columns=["ts", "user_id", "clicked_articles"], filters=[("user_id", "in", users)]
    ).to_pylist()
    assert len(rows) > 10_000
    histories = {(row["ts"], row["user_id"], tuple(row["clicked_articles"])) for row in rows}
    for ts, user, articles in histories:
        now = datetime.fromtimestamp(ts, UTC).replace(tzinfo=None)
        before = sorted(click for click in clicks[text[user]] if click[0] < now)
        assert [text[i] for i in articles] == [str(article) for _, article in before[-20:]]
