"""Folders may have any name: one like `click=0` above the raw files, the log or the run is no column of theirs."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from pkb.batch import Neighbours
from simulator.cluster.session import ray_session
from simulator.loop.neighbour_files import read_neighbours, write_neighbours
from simulator.measure.evaluate import evaluate
from simulator.report.page import write_report
from simulator.stream.replay import replay
from tests.simulator.measure.fake_run import FakeRun
from tests.simulator.stream.raw_files import DAY, rejects, rows_of
from tests.simulator.stream.tables import clicks, log_of, write_csv

NAMES = [  # the columns of raw files, of the engine's own files, of the log, of what a run writes
    *("click=0", "user=u1", "item=5", "t=0", "device=tv", "view=3"),
    *("label0=1", "request=3", "ts=0", "row=7", "part=7", "file=x", "v0=9", "v1=2", "reason=bad", "p_true=1"),
    *("text=x", "field=item", "provisional=3", "lone=1", "id=4", "_file=x", "_row=1", "_defect=no", "line=x"),
    *(
        "row_id=7",
        "request_id=0",
        "user=7/item=8/click=1",
        "dt=2024-01-01",
        "a=b=c",
        "click=__HIVE_DEFAULT_PARTITION__",
    ),
]


def _rows() -> list[dict[str, object]]:
    rows = clicks(view=lambda row: f"v{row // 4}")
    rows[50]["click"] = 2  # a reject is written down, too
    return rows


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[dict[str, object]], list[tuple[str, int, str]]]:
    folder = tmp_path_factory.mktemp("plain")
    write_csv(folder / "raw" / "a.csv", _rows())
    log = log_of(folder, request="view")
    assert len(rows_of(log)) == 119
    return rows_of(log), rejects(log)


@pytest.mark.parametrize("kind", ["csv", "parquet"])
@pytest.mark.parametrize("name", NAMES)
def test_raw_files_and_the_log_below_a_folder_of_any_name_are_what_they_are_elsewhere(
    name: str, kind: str, tmp_path: Path, plain: tuple[list[dict[str, object]], list[tuple[str, int, str]]]
) -> None:
    raw = tmp_path / name / "raw" / name
    if kind == "csv":
        write_csv(raw / "a.csv", _rows())
    else:
        raw.mkdir(parents=True)
        pq.write_table(pa.Table.from_pylist(_rows()), raw / "a.parquet")
    log = log_of(tmp_path / name, raw=tmp_path / name / "raw", files=f"**/*.{kind}", request="view")
    assert name in str(log.folder)
    expected, set_aside = plain
    assert rows_of(log) == expected
    assert rejects(log) == [(f"{name}/a.{kind}", row - (kind == "parquet"), reason) for _, row, reason in set_aside]
    for period in log.periods:
        batch = log.read(period)
        days = [row for row in expected if period.start <= row["ts"] < period.end]  # type: ignore[operator]
        assert batch.label.tolist() == [row["click"] for row in days]
        assert batch.ts is not None
        assert set((batch.ts // DAY).tolist()) == {period.start // DAY}


@pytest.mark.slow
def test_a_replay_reads_what_stands_in_the_files(tmp_path: Path) -> None:
    with ray_session(None):
        for name in ("click=0/row_id=7", "ts=0", "user=3", "request_id=1"):
            write_csv(tmp_path / name / "raw" / "a.csv", clicks(view=lambda row: f"v{row // 4}"))
            log = log_of(tmp_path / name, request="view")
            for period, batch in replay(log):
                whole = log.read(period)
                assert batch.ids_BF.equal(whole.ids_BF)
                assert batch.label.equal(whole.label)
                assert batch.request is not None
                assert whole.request is not None
                assert batch.request.equal(whole.request)
                assert batch.label.sum() > 0


RECORDED = [
    "probability=0",
    "label=1",
    "user=3",
    "holdout=true",
    "metric=auc",
    "value=1",
    "slice=all",
    "arm=x",
    "seed=5",
]


@pytest.mark.parametrize("name", RECORDED)
def test_a_run_below_a_folder_of_any_name_measures_the_same(name: str, tmp_path: Path) -> None:
    fake = FakeRun(noise={"finetune": 0.9}, periods=2, served=False)
    here, there = fake.write(tmp_path / "run"), fake.write(tmp_path / name / "run")
    assert evaluate(there).equals(evaluate(here))
    for run in (here, there):
        write_report(run)
    assert there.report.read_text() == here.report.read_text()


def test_neighbours_below_a_folder_of_any_name_are_those_that_were_found(tmp_path: Path) -> None:
    found = Neighbours(
        ids_BKF=torch.arange(4, 28, dtype=torch.int32).view(2, 4, 3),
        label_BK=torch.tensor([[1.0, 0.0, 1.0, 0.0]] * 2),
        age_BK=torch.arange(8, dtype=torch.int32).view(2, 4),
        present_BK=torch.ones(2, 4, dtype=torch.bool),
    )
    for name in ("label=1", "present=0", "ids=3", "age=7"):
        file = tmp_path / name / "period-00000.parquet"
        write_neighbours(file, found, (1.0, 2.0))
        again, spent = read_neighbours(file, 3)
        assert spent == (1.0, 2.0)
        for column in ("ids_BKF", "label_BK", "age_BK", "present_BK"):
            assert torch.equal(getattr(again, column), getattr(found, column))
