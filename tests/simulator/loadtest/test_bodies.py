"""Requests of a load test are the log's own rows, in raw values and in the order of time."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pkb.batch import MISSING
from pkb.errors import DataError
from simulator.loadtest.bodies import MOST_BODIES, write_bodies
from simulator.stream.log import Log
from simulator.stream.raw_values import raw_values
from simulator.stream.settings import StreamSettings
from tests.pkb.backbones.check_backbone import make_rows
from tests.pkb.test_kinds_contract import OF_EVERY_KIND
from tests.simulator.played_run import text_of, write_vocabulary
from tests.simulator.tiny import tiny_log


@pytest.fixture
def log(tmp_path: Path) -> Log:
    made = tiny_log(tmp_path / "tiny-0", periods=2)
    write_vocabulary(made)
    return made


def bodies(log: Log, candidates: int) -> list[Any]:
    rows, file = log.read(log.periods[-1]), log.folder.parent / "requests.jsonl"
    number = write_bodies(rows, log, StreamSettings(), candidates=candidates, file=file)
    found = [json.loads(line) for line in file.read_text().splitlines()]
    assert len(found) == number
    return found


def test_each_request_of_the_log_is_asked_once_in_the_order_of_time(log: Log) -> None:
    rows = log.read(log.periods[-1])
    assert rows.request is not None
    user_V, item_V, hour_V = (
        [text_of(name, i) for i in ids] for name, ids in zip(log.schema.names, rows.ids_BF.T.tolist(), strict=True)
    )
    found = bodies(log, candidates=5)
    assert len(found) == len(rows.request.unique()) < MOST_BODIES
    for number, body in enumerate(found):
        first = 5 * number  # the log has five rows a request
        assert body["request"] == {"user": user_V[first], "hour": hour_V[first]}
        assert [candidate["item"] for candidate in body["candidates"]] == item_V[first : first + 5]


def test_more_candidates_than_were_shown_together_are_those_shown_next(log: Log) -> None:
    rows = log.read(log.periods[-1])
    items = [text_of("item", i) for i in rows.ids_BF[:, 1].tolist()]
    last = bodies(log, candidates=12)[-1]
    assert [candidate["item"] for candidate in last["candidates"]] == [*items[-5:], *items[:7]]


def test_raw_values_are_of_every_kind_and_missing_ones_are_none(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = make_rows(12, schema=OF_EVERY_KIND)
    ids = pa.array(range(OF_EVERY_KIND.first_value_id, 100), pa.int32())
    texts = [f"t{i}" for i in ids.to_pylist()]
    pq.write_table(pa.table({"id": ids, "field": texts, "text": texts}), tmp_path / "vocabulary.parquet")
    values = raw_values(rows, OF_EVERY_KIND, tmp_path)
    assert list(values) == [*OF_EVERY_KIND.names, "items", "categories"]
    assert values["user"] == [f"t{i}" for i in rows.ids_BF[:, 0].tolist()]
    for name, lists in (("tags", rows.lists["tags"]), ("items", rows.histories["items"])):
        assert values[name] == [[f"t{i}" for i in row if i != MISSING] for row in lists.tolist()]
    assert rows.numbers_BN is not None
    assert values["price"][0] is None
    assert values["price"][1] == rows.numbers_BN[1, 0].item()
    assert values["text"][0] is None
    assert values["text"][1] == rows.vectors["text"][1].tolist()


def test_a_log_without_its_texts_is_refused(log: Log) -> None:
    (log.folder / "vocabulary.parquet").unlink()
    with pytest.raises(DataError, match=r"vocabulary\.parquet: is missing, so nothing tells the raw values"):
        bodies(log, candidates=2)
