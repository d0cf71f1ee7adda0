"""Whatever the raw files hold, an ingest ends in a whole log or in an error of one line.

The cases stand in `malformed_*.py`: for each, a good small log, what is done to one of its files, and the rows, the
rejects or the error that must come of it.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pyarrow.parquet as pq
import pytest

from pkb.errors import DataError, SettingError
from simulator.stream.ingest import SOURCES
from simulator.stream.log import Log
from tests.simulator.stream import malformed_parquet, malformed_text, malformed_values
from tests.simulator.stream.malformed_cases import Case, Ingested, Refused
from tests.simulator.stream.malformed_files import GoodLog
from tests.simulator.stream.malformed_logs import GOOD, VICTIM
from tests.simulator.stream.raw_files import Asked, ingested, rejects, rows_of, settings_for

CASES = [*malformed_text.cases(), *malformed_values.cases(), *malformed_parquet.cases()]
REFUSED = [case for case in CASES if isinstance(case.expected, Refused)]
INGESTED = [case for case in CASES if isinstance(case.expected, Ingested)]

pytestmark = pytest.mark.timeout(60)


def settings_of(log: GoodLog, folder: Path) -> Asked:
    return settings_for(folder, source=log.source, max_reject_share=0.9, **log.stream)


def damaged(case: Case, folder: Path) -> Asked:
    case.log.write(folder / "raw")
    case.damage(folder / "raw" / case.file)
    return settings_of(case.log, folder)


def compared(log: Log, good: GoodLog) -> list[dict[str, Any]]:
    """The rows without their numbers; of drawn negatives only how many there are."""
    rows = [{name: value for name, value in row.items() if name != "row_id"} for row in rows_of(log)]
    if not good.has_negatives:
        return rows
    positives = [row for row in rows if row["click"]]
    assert len(rows) == 2 * len(positives)
    return positives


_KNOWN: dict[str, list[dict[str, Any]]] = {}  # many cases end in the same rows


def rows_without_damage(good: GoodLog) -> list[dict[str, Any]]:
    if (known := _KNOWN.get(repr(good))) is not None:
        return known
    with TemporaryDirectory() as folder:
        good.write(Path(folder) / "raw")
        return _KNOWN.setdefault(repr(good), compared(ingested(settings_of(good, Path(folder))), good))


def expected_rows(expected: Ingested) -> list[dict[str, Any]]:
    rows = rows_without_damage(expected.like)
    if expected.victim_has is not None:
        column, value = expected.victim_has
        rows = [row | {column: value} if row[expected.like.user] == VICTIM else row for row in rows]
    return rows


def test_there_are_cases_of_every_source_and_every_file() -> None:
    assert len(CASES) >= 200
    assert max(Counter(case.name for case in CASES).values()) == 1
    assert {case.log.source for case in CASES} == set(SOURCES)
    assert {(case.log.name, case.file) for case in CASES} == {
        (log.name, file.name) for log in GOOD.values() for file in log.files
    }


@pytest.mark.parametrize("case", REFUSED, ids=lambda case: case.name)
def test_what_cannot_be_read_is_refused_in_one_line_and_leaves_nothing(case: Case, tmp_path: Path) -> None:
    settings = damaged(case, tmp_path)
    assert isinstance(case.expected, Refused)
    with pytest.raises(DataError) as refusal:
        ingested(settings)
    message = str(refusal.value)
    assert message.isprintable()
    assert re.search(case.expected.says, message)
    assert not list((tmp_path / "data").glob("*"))


@pytest.mark.parametrize("case", INGESTED, ids=lambda case: case.name)
def test_what_can_be_read_is_kept_and_bad_rows_are_set_aside(case: Case, tmp_path: Path) -> None:
    settings = damaged(case, tmp_path)
    assert isinstance(case.expected, Ingested)
    log = ingested(settings)
    assert rejects(log) == list(case.expected.rejects)
    assert compared(log, case.log) == expected_rows(case.expected)
    manifest = log.manifest
    assert manifest.rows_in == manifest.rows_kept + manifest.rows_rejected
    assert manifest.rows_rejected == len(case.expected.rejects)
    assert manifest.rows_kept == sum(pq.read_metadata(log.path(period)).num_rows for period in log.periods)
    assert [folder.name for folder in (tmp_path / "data").iterdir()] == [log.folder.name]


@pytest.mark.parametrize("name", ["eleme", "taobao", "iaac"])
def test_a_line_beyond_the_limit_of_the_reader_is_set_aside(name: str, tmp_path: Path) -> None:
    good = GOOD[name]
    file = good.text_file(good.files[0].name)
    good.write(tmp_path / "raw")
    (tmp_path / "raw" / file.name).write_bytes(file.with_line(b"x" * 17_000_000))
    log = ingested(settings_of(good, tmp_path))
    assert rejects(log) == [(file.name, file.line, "line size over maximum")]
    like = Ingested(like=good.having(file.without_victim()))
    assert compared(log, good) == expected_rows(like)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every file")
@pytest.mark.parametrize("name", sorted(GOOD))
def test_a_file_that_may_not_be_read_is_named(name: str, tmp_path: Path) -> None:
    good = GOOD[name]
    good.write(tmp_path / "raw")
    (tmp_path / "raw" / good.files[0].name).chmod(0)
    with pytest.raises(DataError, match=re.escape(good.files[0].name)):
        ingested(settings_of(good, tmp_path))


def test_a_folder_that_the_engine_cannot_work_in_is_refused_before_anything_is_read(tmp_path: Path) -> None:
    good = GOOD["taobao"]
    good.write(tmp_path / "raw")
    settings = settings_for(tmp_path, source="taobao", data=str(tmp_path / "what?"))
    with pytest.raises(SettingError, match=r"stream\.data=.*what\?: .* without '\?'"):
        ingested(settings)
    assert not (tmp_path / "what?").exists()
