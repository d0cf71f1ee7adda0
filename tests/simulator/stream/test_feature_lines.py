"""What `stream.features` may say: a line that cannot be read, or does not fit the log, is named."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from pkb.errors import SettingError
from simulator.config.typed import typed
from simulator.stream.settings import StreamSettings, TableSettings
from tests.simulator.stream.derived_logs import log_of, stream_of, write


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("", "cannot be read; write hour, age"),
        ("age(item", "cannot be read"),
        ("ages(item)", "'ages' is not one of .*; did you mean age"),
        ("hour(item)", "hour takes no fields and no time; write hour"),
        ("position over 1h", "position takes no fields and no time"),
        ("age", r"age is of one or more fields; write age\(FIELD\)"),
        ("clicks(item,)", "clicks is of one or more fields"),
        ("clicks(item, item)", "names a field twice"),
        ("age(item) over 1d", "age is over all of the log; leave out 'over 1d'"),
        ("clicks(item) over 1w", "over '1w' is no time; write a number and m, h or d, such as over 1h, or over all"),
        ("clicks(item) over 0h", "over '0h' is no time"),
    ],
)
def test_a_line_that_cannot_be_read_is_named_with_what_to_write(line: str, told: str) -> None:
    with pytest.raises(SettingError, match=rf"^stream\.features\.it=.*: {told}"):
        typed(StreamSettings, {"features": {"it": line}}, at="stream")


def test_a_field_with_a_comma_in_its_name_is_to_be_renamed(tmp_path: Path) -> None:
    write(tmp_path, 20, seed=0)
    for part in tmp_path.glob("*.parquet"):
        table = pq.read_table(part, partitioning=None)
        called = ["kind, old" if name == "kind" else name for name in table.column_names]
        pq.write_table(table.rename_columns(called), part)
    with pytest.raises(SettingError, match=r"'kind' is no categorical field; .*; commas stand between fields"):
        log_of(stream_of(tmp_path, {"it": "age(kind, old)"}, table={"context": ["kind, old"]}))


@pytest.mark.parametrize("name", ["", "  "])
def test_a_feature_has_a_name(name: str) -> None:
    with pytest.raises(SettingError, match=r"'hour': has no name; write one before the colon"):
        typed(StreamSettings, {"features": {name: "hour"}}, at="stream")


@pytest.mark.parametrize(
    ("name", "line", "table", "told"),
    [
        ("it", "age(itm)", {}, r"'itm' is no categorical field; the log has user, item, kind; did you mean item\?"),
        ("it", "age(t)", {}, "'t' is no categorical field"),
        ("it", "clicks(kind)", {"context": [], "numeric": ["kind"]}, "'kind' is no categorical field"),
        ("it", "position", {"request": None}, "the log has no requests; name the column"),
        ("item", "hour", {}, "the log has a column of this name; choose another one"),
        ("y", "hour", {}, "the log has a column of this name"),
        ("ts", "age(item)", {}, "the log has a column of its own by this name; choose another one"),
    ],
)
def test_a_feature_that_does_not_fit_the_log_is_named(
    tmp_path: Path, name: str, line: str, table: dict[str, Any], told: str
) -> None:
    write(tmp_path, 20, seed=0)
    with pytest.raises(SettingError, match=rf"^stream\.features\.{name}='.*': {told}"):
        log_of(stream_of(tmp_path, {name: line}, table=table))


def test_a_window_in_which_no_label_arrives_and_a_clock_without_times_are_refused() -> None:
    with pytest.raises(SettingError, match=r"features\.n='clicks\(i\) over 1h': would be 0 for ever"):
        StreamSettings(features={"n": "clicks(i) over 1h"}, label_delay="2h")
    for line in ("hour", "clicks(i) over 1h"):
        with pytest.raises(SettingError, match=r"must not ask for a clock where table\.time=row"):
            StreamSettings(source="table", period="10rows", table=TableSettings(time="row"), features={"it": line})


@pytest.mark.parametrize(("delay", "told"), [("30m", False), ("1h", True), ("60m", True)])
def test_a_window_as_long_as_labels_need_is_told(tmp_path: Path, delay: str, told: bool) -> None:
    """It counts what was shown in one second of the past: in most logs, nothing."""
    write(tmp_path, 20, seed=0)
    lines: list[str] = []
    features = {"n": "clicks(item) over 1h", "all": "clicks(item)", "age": "age(item)"}
    log_of(stream_of(tmp_path, features, label_delay=delay), lines)
    told_of = [line for line in lines if "counts the rows of one second" in line]
    assert [line.partition("=")[0] for line in told_of] == ["stream.features.n"] * told
