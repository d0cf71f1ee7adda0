"""A log of several domains, played: click models meet the sub-domain's rows alone, bases those of all."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from safetensors.torch import load_file

from pkb.errors import SettingError
from simulator.contender.settings import ArmSettings
from simulator.describe import describe
from simulator.measure.evaluate import evaluate
from simulator.plays import play_of
from simulator.record.costs import read_costs
from simulator.record.experiment import key_of, write_experiment
from simulator.record.layout import RunFolder
from simulator.record.predictions import read_predictions
from simulator.serve.serving import rows_to_ask_for
from simulator.settings import Settings
from simulator.stream.domains import SubDomain, rows_by_period, sub_domain, told
from simulator.stream.holdout import holdout_mask
from simulator.stream.log import Log
from simulator.stream.settings import StreamSettings
from tests.simulator.loop import in_process
from tests.simulator.tiny import SCHEMA, tiny_log, tiny_settings

pytestmark = pytest.mark.usefixtures("one_thread")
PERIODS = 4
SMALL: dict[str, Any] = {"patterns": 2, "depth": 1}
ARMS = {
    "bare": ArmSettings(),
    "merged": ArmSettings(domains="all"),
    "edk": ArmSettings(knowledge="edk", options=SMALL),
    "rim": ArmSettings(backbone="rim"),
    "again": ArmSettings(restart_at=[2]),
    "replay": ArmSettings(policy="replay"),
}
AD: dict[str, Any] = {"domain": "hour", "sub_domain": ["3", "5", "8"]}  # the hours that stand for the sub-domain


def with_words(log: Log) -> Log:
    """The log with the texts of its hours, which are their numbers of old."""
    ids = np.unique(np.concatenate([log.read(p).ids_BF[:, 2].numpy() for p in log.periods]))
    words = pa.table(
        {"id": pa.array(ids, pa.int32()), "field": ["hour"] * len(ids), "text": [str(i) for i in range(len(ids))]}
    )
    pq.write_table(words, log.folder / "vocabulary.parquet")
    return log


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Log:
    return with_words(tiny_log(tmp_path_factory.mktemp("log"), periods=PERIODS, rows=600))


def settings_of(folder: Path, arms: dict[str, ArmSettings] | None = None, **stream: Any) -> Settings:
    settings = tiny_settings(folder)
    return replace(settings, arms=arms or ARMS, stream=replace(settings.stream, **stream))


def played(settings: Settings, log: Log, run: RunFolder, ledger: bool = False) -> RunFolder:
    play = play_of(replace(settings, train=replace(settings.train, ledger=ledger)))
    return in_process.played(play, log, run)


def predictions(run: RunFolder, arms: dict[str, ArmSettings]) -> dict[in_process.Cell, np.ndarray]:
    return in_process.predictions(run, [key_of((arm, 0)) for arm in arms])


def learned(run: RunFolder, period: int, arm: str) -> set[int]:
    return set(pq.read_table(run.ledger(period, key_of((arm, 0)), 0), partitioning=None)["row_id"].to_pylist())


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, log: Log) -> RunFolder:
    folder = tmp_path_factory.mktemp("run")
    return played(settings_of(folder, **AD), log, RunFolder(folder / "ad"), ledger=True)


def test_every_stage_of_an_arm_meets_the_rows_of_the_sub_domain_alone(run: RunFolder, log: Log) -> None:
    stream = settings_of(run.path, **AD).stream
    served, share = sub_domain(log, stream), stream.holdout_share
    ours = [served.of(log.read(period)) for period in log.periods]
    assert 0 < sum(map(len, ours)) < log.manifest.rows_kept / 2
    assert [len(rows) for rows in ours] == rows_by_period(log, stream)
    assert [costs.rows for costs in read_costs(run, [key_of((arm, 0)) for arm in ARMS])] == [len(rows) for rows in ours]
    for period, rows in enumerate(ours):
        others = set(rows.select(~holdout_mask(rows, share)).row_id.tolist())
        assert learned(run, period, "bare") == others
        whole = log.read(log.periods[period])
        assert learned(run, period, "merged") == set(whole.select(~holdout_mask(whole, share)).row_id.tolist())
    for piece in (piece for pieces in read_predictions(run, [key_of((arm, 0)) for arm in ARMS]) for piece in pieces):
        rows = ours[piece.evaluated_on]
        asked = rows.select(holdout_mask(rows, share)) if piece.holdout else rows
        assert sorted(piece.row_id.tolist()) == sorted(asked.row_id.tolist())
    asked = rows_to_ask_for(stream, log)
    assert set(asked.row_id.tolist()) == set(ours[-1].select(holdout_mask(ours[-1], share)).row_id.tolist())


def test_a_base_and_the_pool_hold_every_domain_s_rows(run: RunFolder, log: Log, tmp_path: Path) -> None:
    """To the bit those of the run without a sub-domain."""
    arms = {name: ARMS[name] for name in ("edk", "rim")}
    whole = played(settings_of(tmp_path, arms), log, RunFolder(tmp_path / "whole"))
    for arm in arms:
        one, other = (
            load_file(r.checkpoint(key_of((arm, 0)), PERIODS - 1) / "state.safetensors") for r in (run, whole)
        )
        base = {name for name in one if name.startswith("knowledge.") and "adam" not in name}
        assert bool(base) == (arm == "edk")
        assert all(one[name].equal(other[name]) for name in base)
    files = [[r.neighbours("field_match", p.index) for p in log.periods] for r in (run, whole)]
    for one, other in zip(*files, strict=True):
        assert pq.read_table(one, partitioning=None).equals(pq.read_table(other, partitioning=None))


def cut_to(log: Log, served: SubDomain, folder: Path) -> Log:
    """A log that holds the sub-domain's rows and no others."""
    folder.mkdir()
    spans = []
    for period in log.periods:
        table = pq.read_table(log.path(period), partitioning=None)
        table = table.filter(pa.array(np.isin(table["hour"].to_numpy(), served.ids or ())))
        pq.write_table(table, folder / period.file)
        spans.append(replace(period, rows=table.num_rows))
    (folder / "schema.json").write_text(SCHEMA.to_json())
    (folder / "manifest.json").write_text(replace(log.manifest, periods=tuple(spans)).to_json())
    return Log(folder)


def test_an_arm_without_knowledge_predicts_as_on_a_log_of_the_sub_domain_alone(
    run: RunFolder, log: Log, tmp_path: Path
) -> None:
    """To the bit, where rows of tables go to what was seen there: what other domains alone have shown is new to it."""
    arms = {name: ARMS[name] for name in ("bare", "again", "replay")}
    settings = settings_of(tmp_path, arms)
    settings = replace(settings, train=replace(settings.train, evict_after=100))
    served = sub_domain(log, settings_of(tmp_path, **AD).stream)
    alone = played(settings, cut_to(log, served, tmp_path / "alone"), RunFolder(tmp_path / "run"))
    ours, theirs = predictions(run, arms), predictions(alone, arms)
    assert ours.keys() == theirs.keys()
    assert all(np.array_equal(said, theirs[cell]) for cell, said in ours.items())
    merged = predictions(run, {"merged": ARMS["merged"]})
    assert any(not np.array_equal(said, ours["bare", *cell[1:]]) for cell, said in merged.items())


def test_a_sub_domain_that_is_not_there_is_told_with_those_that_are(log: Log, tmp_path: Path) -> None:
    def ask(**stream: Any) -> None:
        sub_domain(log, StreamSettings(**stream))

    with pytest.raises(
        SettingError, match=r"^stream\.sub_domain=25: the log's field hour has no such value; it has 0, 1, "
    ):
        ask(domain="hour", sub_domain="25")
    with pytest.raises(
        SettingError, match=r"^stream\.domain=domain: the log has no categorical field .* it has user, item, hour$"
    ):
        ask(sub_domain="ad")
    with pytest.raises(SettingError, match=r"sub_domain=True: must be a value of hour"):
        ask(domain="hour", sub_domain=True)
    with pytest.raises(SettingError, match=r"arms\.merged\.domains=all: without stream\.sub_domain"):
        settings_of(tmp_path)


def test_a_sub_domain_may_begin_late(log: Log, tmp_path: Path) -> None:
    """Bases learn the periods before, as the paper's do; nothing is predicted or measured there."""
    stream = settings_of(tmp_path, **AD).stream
    late = Log(Path(shutil.copytree(log.folder, tmp_path / "late")))
    table, hour = pq.read_table(log.path(log.periods[0]), partitioning=None), 2
    ids = np.where(
        np.isin(table["hour"], sub_domain(log, stream).ids or ()), SCHEMA.first_value_id + hour, table["hour"]
    )
    pq.write_table(
        table.set_column(table.column_names.index("hour"), "hour", pa.array(ids, pa.int32())),
        late.path(late.periods[0]),
    )
    assert rows_by_period(late, stream)[0] == 0
    assert "none in 1 of the 4 periods" in (told(late, stream) or "")
    settings = settings_of(tmp_path, {name: ARMS[name] for name in ("bare", "edk")}, **AD)
    run = played(settings, late, RunFolder(tmp_path / "run"))
    write_experiment(run, describe(settings, "late"))
    [first, second, *_] = read_costs(run, [key_of(("edk", 0))])
    assert (first.rows, first.new_user_share) == (0, None)
    assert second.arms[0].stages["compress"].rows > 300
    auc = [row for row in evaluate(run).to_pylist() if row["metric"] == "auc" and row["arm"] == "edk"]
    assert {row["evaluated_on"] for row in auc if row["value"] is not None} == {1, 2, 3}
