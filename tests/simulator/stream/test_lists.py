"""Lists of a table, in whatever form files have them, as the log and its batches have them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pkb.batch import MISSING
from pkb.errors import DataError, SettingError
from simulator.stream.ingest import ingest
from simulator.stream.log import Log
from simulator.stream.settings import IngestSettings, ListSettings, StreamSettings, TableSettings
from tests.simulator.stream.raw_files import DAY, MONDAY, contents, rejects, rows_of, write_lines

Tags = list[str] | None
ROLES: dict[str, Any] = {"time": "t", "label": "y", "user": ["u"], "item": ["i"]}
CSV: dict[str, Any] = {"files": "*.csv", "separator": "\\t", "quoting": "none"}


def log_of(
    folder: Path, *, read: ListSettings | None = None, told: list[str] | None = None, data: str = "data", **table: Any
) -> Log:
    stream = StreamSettings(
        source="table",
        root=str(folder),
        data=str(folder / data),
        table=TableSettings(**({"lists": ["tags"]} | ROLES | table)),
        lists=read or ListSettings(),
    )
    return ingest(stream, IngestSettings(max_reject_share=0.9), (told if told is not None else list[str]()).append)


def write_parquet(folder: Path, rows: int, **columns: Any) -> None:
    times = [MONDAY + row * DAY // 2 for row in range(rows)]
    plain = {"t": times, "y": [1] * rows, "u": ["a"] * rows, "i": ["b"] * rows}
    pq.write_table(pa.table(plain | columns), folder / "a.parquet")


def write_csv(folder: Path, column: str, values: list[str], a_day: int = 2) -> None:
    """A row per value, so many a day, separated by tabs."""
    lines = [f"{MONDAY + row * DAY // a_day}\t{row % 2}\tu\ti\t{value}" for row, value in enumerate(values)]
    write_lines(folder / "a.csv", [f"t\ty\tu\ti\t{column}", *lines])


def tags_of(log: Log) -> list[Any]:
    return [row["tags"] for row in rows_of(log)]


def check_batches(log: Log) -> None:
    """Batches hold what the log holds, the first value of a list among their ids."""
    held = [row["tags"] for period in log.periods for row in pq.read_table(log.path(period)).to_pylist()]
    batches = [log.read(period) for period in log.periods]
    lists = [ids for batch in batches for ids in batch.lists["tags"].tolist()]
    assert [[i for i in ids if i != MISSING] for ids in lists] == held
    assert [ids[: len(own)] for ids, own in zip(lists, held, strict=True)] == held, "padding stands behind the last"
    first = [ids for batch in batches for ids in batch.ids_BF[:, 2].tolist()]
    assert first == [ids[0] if ids else MISSING for ids in held]


WRITTEN: dict[str, Callable[[list[str]], str]] = {
    "joined": ";".join,
    "json": json.dumps,
    "python": repr,
    "sql": lambda tags: "{" + ",".join(tags) + "}",
}
some_tags = st.lists(st.sampled_from("abcdefg"), max_size=6)
rows_of_tags = st.lists(st.one_of(st.none(), some_tags), min_size=3, max_size=12)


@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(rows=rows_of_tags, form=st.sampled_from(["parquet", *WRITTEN]), length=st.integers(1, 7))
def test_lists_come_out_as_they_went_in_whatever_form_they_had(
    tmp_path_factory: pytest.TempPathFactory, rows: list[Tags], form: str, length: int
) -> None:
    folder, read = tmp_path_factory.mktemp("log"), ListSettings(length=length)
    if form == "parquet":
        write_parquet(folder, len(rows), tags=pa.array(rows, pa.list_(pa.string())))
        log = log_of(folder, read=read)
    else:
        write_csv(folder, "tags", ["" if tags is None else WRITTEN[form](tags) for tags in rows])
        log = log_of(folder, read=read, **CSV)
    assert tags_of(log) == [(tags or [])[:length] for tags in rows]
    check_batches(log)


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        (pa.array([[1, None, 1], None, []], pa.list_(pa.int64())), [["1", "1"], [], []]),
        (pa.array([[1.0, 2.0], [3.0], [float("nan")]], pa.list_(pa.float64())), [["1", "2"], ["3"], []]),
        (pa.array([[1, 2], None, [3, 4]], pa.list_(pa.int32(), 2)), [["1", "2"], [], ["3", "4"]]),
        (pa.array([["x", "NULL"], ["NULL"], [""]], pa.large_list(pa.string())), [["x"], [], []]),
        (pa.array(["x; y", "['z', None]", "NULL"]), [["x", "y"], ["z"], []]),
    ],
    ids=lambda value: str(value.type) if isinstance(value, pa.Array) else "",
)
def test_values_that_are_missing_are_none_of_a_list(tmp_path: Path, column: pa.Array, expected: list[Any]) -> None:
    write_parquet(tmp_path, len(column), tags=column)
    log = log_of(tmp_path, missing=["NULL"])
    assert tags_of(log) == expected
    check_batches(log)


def test_a_value_of_a_list_is_no_value_of_another_field_and_ids_follow_time(tmp_path: Path) -> None:
    write_parquet(tmp_path, 3, tags=[["b", "a"], ["a", "c"], ["c"]])
    log = log_of(tmp_path)
    first = log.schema.first_value_id
    held = [row for period in log.periods for row in pq.read_table(log.path(period)).to_pylist()]
    assert [(row["u"], row["i"], row["tags"]) for row in held] == [
        (first, first + 1, [first + 2, first + 3]),
        (first, first + 1, [first + 3, first + 4]),
        (first, first + 1, [first + 4]),
    ]
    assert log.periods[-1].vocabulary_size == first + 5


def test_what_begins_like_a_list_and_is_none_is_set_aside(tmp_path: Path) -> None:
    write_csv(tmp_path, "tags", ["a;b", "['a', 'b", "[c]"])
    log = log_of(tmp_path, **CSV)
    assert tags_of(log) == [["a", "b"], ["c"]]
    ((file, row, reason),) = rejects(log)
    assert (file, row) == ("a.csv", 3)
    assert reason.startswith("tags '['a', 'b' is no list; write 1;2;3")


def test_who_names_the_wrong_separator_is_told(tmp_path: Path) -> None:
    write_csv(tmp_path, "tags", ["rock|jazz"] * 1000, a_day=500)
    told: list[str] = []
    log_of(tmp_path, told=told, **CSV)
    (line,) = (line for line in told if "tags" in line)
    assert "none of 1000 holds more than one value, such as 'rock|jazz'; look at stream.table.list_separator" in line
    told.clear()
    log_of(tmp_path, told=told, list_separator="|", **CSV)
    log_of(tmp_path, told=told, list_separator="|", read=ListSettings(length=1), **CSV)
    assert not told, "a list of which one value is kept by the settings holds more"


def test_pooling_is_part_of_the_schema_and_other_settings_make_another_log(tmp_path: Path) -> None:
    write_parquet(tmp_path, 3, tags=[["a", "b"], ["a"], []])
    one = log_of(tmp_path)
    assert [f.pooling for f in one.schema.fields] == [None, None, "mean"]
    assert contents(log_of(tmp_path, data="again").folder) == contents(one.folder)
    summed = log_of(tmp_path, read=ListSettings(pooling="sum"))
    assert [f.pooling for f in summed.schema.fields] == [None, None, "sum"]
    assert len({one.folder, summed.folder, log_of(tmp_path, read=ListSettings(length=1)).folder}) == 3


def test_settings_of_lists_leave_a_log_without_any_where_it_is(tmp_path: Path) -> None:
    write_parquet(tmp_path, 3, tags=[["a", "b"], ["a"], []])
    one = log_of(tmp_path, lists=[])
    assert log_of(tmp_path, lists=[], read=ListSettings(pooling="sum")).folder == one.folder
    assert "pooling" not in (one.folder / "schema.json").read_text()


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ({"context": ["tags"]}, "stream.table.lists: tags stands under stream.table.context, too"),
        ({"lists": ["tags", "tags"]}, "stream.table.lists: tags stands there twice; name it once"),
        ({"numeric": ["t", "t"]}, "stream.table.numeric: t stands there twice"),
        ({"item": ["i", "u"]}, "stream.table.item: u stands under stream.table.user, too"),
        ({"numeric": ["tags"]}, "stream.table.numeric: tags stands under stream.table.lists, too"),
        ({"vectors": {"tags": 2}}, "stream.table.vectors: tags stands under stream.table.lists, too"),
    ],
)
def test_a_column_is_of_one_kind(tmp_path: Path, table: dict[str, Any], said: str) -> None:
    write_parquet(tmp_path, 3, tags=[["a", "b"], ["a"], []])
    with pytest.raises(SettingError, match=said):
        log_of(tmp_path, **table)


def test_a_list_of_lists_is_refused_with_its_type(tmp_path: Path) -> None:
    write_parquet(tmp_path, 3, tags=[[["a"]], [["b"]], []])
    with pytest.raises(DataError, match=r"column 'tags' is list<.*list<.*must hold a list of plain values"):
        log_of(tmp_path)
