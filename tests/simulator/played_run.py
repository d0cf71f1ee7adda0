"""A run that was played to its end without a group of workers, with its log's vocabulary."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from simulator.record.files import write_text
from simulator.record.typed_json import write_json
from simulator.run import replayed
from simulator.serve.settings import ServeSettings
from simulator.settings import to_yaml
from simulator.stream.log import Log
from tests.simulator.serve.trained_run import TrainedRun, trained_run
from tests.simulator.tiny import SCHEMA, tiny_log

ON_A_FREE_PORT = ServeSettings(port=0)


def text_of(name: str, number: int) -> str:
    """The raw value of an id in the log of `played_run`."""
    return f"{name} {number}"


def played_run(folder: Path, serve: ServeSettings = ON_A_FREE_PORT, *, stopped: str | None = None) -> TrainedRun:
    """Two arms and a yardstick through two periods, as `simulator.played` finds them; `stopped` as `trained_run`."""
    log = tiny_log(folder / "data" / "tiny-0", periods=2)
    write_vocabulary(log)
    made = trained_run(folder, serve, stopped=stopped, log=log)
    write_text(made.run.config, to_yaml(made.settings))
    write_json(made.run.replayed, replayed(log))
    return made


def write_vocabulary(log: Log) -> None:
    """Give every value of a log a text."""
    words: dict[int, str] = {}
    for period in log.periods:
        for name, ids in zip(SCHEMA.names, log.read(period).ids_BF.T.tolist(), strict=True):
            words |= dict.fromkeys(ids, name)
    ids = sorted(words)
    columns = {"id": pa.array(ids, pa.int32()), "field": [words[i] for i in ids]}
    table = pa.table({**columns, "text": [text_of(words[i], i) for i in ids]})
    pq.write_table(table, log.folder / "vocabulary.parquet")
