"""A base that reads histories and further labels is given them by the loop, whatever the click models read."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import torch
from safetensors.torch import load_file

from pkb.batch import History
from simulator.contender.settings import ArmSettings
from simulator.plays import play_of
from simulator.record.experiment import key_of
from simulator.record.layout import RunFolder
from simulator.stream.log import Log
from tests.simulator.loop.in_process import played
from tests.simulator.tiny import SCHEMA, tiny_log, tiny_settings

PERIODS = 3
KEEP = ArmSettings(knowledge="keep", plug="hidden", options={"user_width": 6, "width": 4, "hidden": [16, 8]})


def full_log(folder: Path) -> Log:
    """A small log with a history of items and a second label, which a third of the clicks have."""
    log = tiny_log(folder, periods=PERIODS, rows=200)
    schema = replace(SCHEMA, histories=(History(name="viewed", field="item"),), labels=("click", "cart"))
    (folder / "schema.json").write_text(schema.to_json())
    for period in log.periods:
        table = pq.read_table(folder / period.file, partitioning=None)
        items, clicks = table["item"].to_pylist(), table["click"].to_pylist()
        viewed = [items[max(0, row - row % 4) : row] for row in range(len(items))]
        table = table.append_column("viewed", pa.array(viewed, pa.list_(pa.int32())))
        cart = pa.array([click * (row % 3 == 0) for row, click in enumerate(clicks)], pa.int8())
        pq.write_table(table.append_column("cart", cart), folder / period.file)
    return Log(folder)


def test_histories_and_further_labels_reach_a_base_beside_models_that_read_neither(tmp_path: Path) -> None:
    log = full_log(tmp_path / "log")
    later = replace(KEEP, compress_from=1)
    arms = {"bare": ArmSettings(), "keep": KEEP, "warm": replace(KEEP, plug_from=1), "later": later}
    run = played(play_of(tiny_settings(tmp_path, arms=arms)), log, RunFolder(tmp_path / "run"))
    keys = [key_of((arm, 0)) for arm in arms]
    _, keep, warm, later_state = (load_file(run.checkpoint(key, PERIODS - 1) / "state.safetensors") for key in keys)
    learned = {name for name in keep if name.startswith("knowledge.dense.interests.0")}
    assert learned
    assert {f"knowledge.dense.towers.{task}.0.0.weight" for task in range(2)} <= set(keep)
    moments = {name for name, value in keep.items() if name.startswith("knowledge.adam.") and value.any()}
    assert len(moments) == len([name for name in keep if name.startswith("knowledge.adam.")]), "all of it has learned"
    assert all(value.equal(warm[name]) for name, value in keep.items() if name.startswith("knowledge."))
    first, second = (log.read(log.periods[index], histories=True).unique_ids() for index in range(2))
    gone = first[~torch.isin(first, second)].long()
    moment = "knowledge.table.table.second_moment"
    assert keep[moment][gone].any(), "what period 0 had and period 1 had not"
    assert not later_state[moment][gone].any()
    assert later_state[moment][second.long()].any()
