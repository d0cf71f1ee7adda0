"""What rows find among older ones, within the loop over periods."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from pkb.batch import Batch
from pkb.errors import CheckpointError
from pkb.rok import ROK
from pkb.seeding import generator
from retrieval.faiss_kinds import DenseSettings
from retrieval.indexed_pool import RetrievalSettings, as_histories
from retrieval.pool import NOBODY
from simulator.cluster.session import ray_session
from simulator.contender.compression import compress, examine
from simulator.contender.contender import Contender
from simulator.contender.learning import fit
from simulator.contender.settings import ArmSettings
from simulator.loop import search as searches
from simulator.loop.commons import Commons
from simulator.loop.finder import Finder
from simulator.loop.past import Past
from simulator.plays import play_of
from simulator.record.layout import RunFolder
from simulator.serve.loading import scorer_of
from simulator.settings import Settings
from simulator.stream.log import Log
from tests.simulator.tiny import SCHEMA, contender_of, tiny_log, tiny_settings

ARMS = {
    "rim": ArmSettings(backbone="rim"),
    "dert": ArmSettings(backbone="dert"),
    "rok": ArmSettings(knowledge="rok"),
    "ubr": ArmSettings(backbone="ubr"),
    "sim": ArmSettings(backbone="sim_hard"),
}


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Log:
    return tiny_log(tmp_path_factory.mktemp("log"))


def searching(folder: Path, **retrieval: object) -> Settings:
    return replace(tiny_settings(folder, arms=ARMS), retrieval=RetrievalSettings(k=4, **retrieval))  # type: ignore[arg-type]


def provided(settings: Settings, log: Log, through: int) -> Commons:
    """What all share, through the end of a period."""
    commons = Commons(play_of(settings), log, RunFolder(Path(settings.runs)))
    commons.files.clear()
    for period in log.periods[: through + 1]:
        commons.provide_period(period, log.read(period))
    return commons


def at(settings: Settings, log: Log, period: int, *arms: str) -> tuple[Past, list[Contender]]:
    """The past as it is in the middle of a period, with what its rows and all earlier ones have found."""
    contenders = [contender_of(settings, arm) for arm in arms]
    provided(settings, log, period)
    past = Past(log, play_of(settings), RunFolder(Path(settings.runs)), contenders, 0)
    for index in range(period + 1):
        if index:
            past.join_pool()
        past.arrive(log.periods[index], past.shared.rows(log.periods[index]))
        for name in sorted({name for c in contenders for name in c.reads.shared}):
            past.find(name)
        for contender in contenders:
            if contender.encoder is not None:
                past.find_own(contender)
    return past, contenders


def found_by(contender: Contender, rows: Batch) -> list[set[tuple[int, ...]]]:
    """For each row the ids and label of its neighbours."""
    [near] = [rows.neighbours[name] for name in contender.reads.all]
    ids_BKX = torch.cat([near.ids_BKF, near.label_BK.int().unsqueeze(2)], dim=2)
    return [
        {tuple(row) for row, present in zip(rows_K, present_K, strict=True) if present}
        for rows_K, present_K in zip(ids_BKX.tolist(), near.present_BK.tolist(), strict=True)
    ]


@pytest.mark.parametrize("arm", list(ARMS))
def test_rows_find_only_what_was_learnable_before_their_period(tmp_path: Path, log: Log, arm: str) -> None:
    past, [contender] = at(searching(tmp_path), log, 2, arm)
    old = [past.old(index, contender) for index in (0, 1)]
    older = {
        (*ids, int(label)) for rows in old for ids, label in zip(rows.ids_BF.tolist(), rows.label.tolist(), strict=True)
    }
    found = found_by(contender, past.rows(contender))
    assert any(found)
    assert set().union(*found) <= older


@pytest.mark.parametrize("arm", list(ARMS))
def test_rows_learned_again_keep_the_neighbours_of_their_own_time(tmp_path: Path, log: Log, arm: str) -> None:
    settings = searching(tmp_path)
    then, [contender] = at(settings, log, 1, arm)
    as_found = then.rows(contender).select(~then.held)
    now, [contender] = at(settings, log, 3, arm)
    again = now.old(1, contender)
    assert torch.equal(again.row_id, as_found.row_id)
    for name in contender.reads.all:
        one, other = again.neighbours[name], as_found.neighbours[name]
        assert torch.equal(one.ids_BKF, other.ids_BKF)
        assert torch.equal(one.label_BK, other.label_BK)
        assert torch.equal(one.age_BK, other.age_BK)
        assert torch.equal(one.present_BK, other.present_BK)
        assert (one.idf_BF is None) == (other.idf_BF is None)


@pytest.mark.parametrize("teacher", ["rim", "dert", "sim_soft"])  # a search that all share, one of its own, behaviours
def test_a_retrieval_model_teaches_rok(tmp_path: Path, log: Log, teacher: str) -> None:
    arm = ArmSettings(knowledge="rok", options={"teacher": teacher, "alpha": 0.0})
    settings = replace(searching(tmp_path), arms={"rok": arm})
    settings = replace(settings, compress=replace(settings.compress, epochs=30))
    past, [contender] = at(settings, log, 2, "rok")
    old = past.old(1, contender)
    compress(contender, old, log.periods[1], past.period)
    figures = examine(contender, old, past.rows(contender))
    assert figures["teacher_auc_old"] > 0.65
    untaught = contender_of(settings, "rok")
    assert isinstance(contender.base, ROK)
    assert isinstance(untaught.base, ROK)
    untaught.base.grow(old.end_of_ids, generator(0, "test"))
    untaught.base.teacher = contender.base.teacher
    assert untaught.base.health(old)["imitation_r2"] < figures["imitation_r2_old"] - 0.2


def test_holdout_rows_are_found_by_nobody_and_find_what_came_later(tmp_path: Path, log: Log) -> None:
    past, [contender] = at(searching(tmp_path), log, 3, "rim")
    past.let_holdouts_find({"field_match"})
    pool = provided(searching(tmp_path), log, 3).finder.indexed.pool
    held = torch.cat([holdout.rows.row_id for holdout in past.holdouts.values()])
    kept = torch.cat([segment.rows.row_id for segment in pool.segments])
    assert not set(held.tolist()) & set(kept.tolist())
    assert len(held) + len(kept) == 4 * 600
    near = past.holdout(0, contender).neighbours["field_match"]
    # What was shown within the last day of the log is later than anything of period 0.
    assert (near.age_BK[near.present_BK] < 86_400).any()


def test_a_pool_of_so_many_periods_forgets_the_oldest(tmp_path: Path, log: Log) -> None:
    settings = searching(tmp_path, periods=1)
    pool = provided(settings, log, 2).finder.indexed.pool
    assert [(s.start, s.end) for s in pool.segments] == [(log.periods[2].start, log.periods[2].end)]
    past, [contender] = at(settings, log, 3, "rim")
    near = past.rows(contender).neighbours["field_match"]
    assert near.present_BK.any()
    assert (near.age_BK < 86_400 + 1).all()


def test_without_a_pool_nobody_is_found(tmp_path: Path, log: Log) -> None:
    past, [contender] = at(searching(tmp_path), log, 0, "rim")
    assert not past.rows(contender).neighbours["field_match"].present_BK.any()
    empty = Finder(RetrievalSettings(k=4), SCHEMA, ["field_match"]).indexed
    rows, until = past.present_rows.rows, log.periods[0].start
    assert (searches.search(empty, "field_match", rows, until=until) == NOBODY).all()


@pytest.mark.parametrize("arm", ["rim", "dert", "ubr", "sim"])
def test_what_is_served_searches_as_the_holdouts_of_the_last_period_did(tmp_path: Path, log: Log, arm: str) -> None:
    settings = searching(tmp_path, dense=DenseSettings(kind="ivf_flat"))
    past, [contender] = at(settings, log, 3, arm)
    past.join_pool()
    contender.trained_through = 3
    contender.committed(log.periods[3])
    past.let_holdouts_find(contender.reads.predicting & contender.reads.shared)
    holdout = past.holdout(3, contender)
    past.finder.save_index(contender, tmp_path)
    live = scorer_of(contender, log, settings.stream, settings.retrieval, tmp_path)
    served = live.predict(replace(past.holdouts[3].rows, neighbours={}))
    assert served == pytest.approx(contender.predict(holdout), abs=1e-6)


def test_what_is_served_searches_the_very_index_that_was_measured(tmp_path: Path, log: Log) -> None:
    settings = searching(tmp_path)
    past, [contender] = at(settings, log, 3, "dert")
    past.join_pool()
    contender.committed(log.periods[3])
    past.finder.save_index(contender, tmp_path)
    [part, *_] = sorted((tmp_path / "index").glob("*.faiss"))
    part.write_bytes(part.read_bytes()[:-1])
    with pytest.raises(CheckpointError, match="damaged"):
        scorer_of(contender, log, settings.stream, settings.retrieval, tmp_path)


def test_a_model_of_histories_can_read_the_users_behaviours_in_the_pool(tmp_path: Path, log: Log) -> None:
    settings = replace(searching(tmp_path, histories=["item"], behaviours=5), arms={"din": ArmSettings(backbone="din")})
    past, [contender] = at(settings, log, 2, "din")
    rows = past.rows(contender)
    near = rows.neighbours["user_behaviours"]
    [history] = as_histories(near, contender.histories, SCHEMA).values()
    for ids, ages, read in zip(near.ids_BKF[:, :, 1].tolist(), near.age_BK.tolist(), history.tolist(), strict=True):
        behaviours = [item for item in ids if item]
        assert read == behaviours[::-1] + [0] * (5 - len(behaviours))
        assert ages[: len(behaviours)] == sorted(ages[: len(behaviours)])
    fit(contender, rows, log.periods[2])
    first = contender.predict(rows)
    blind = replace(rows, neighbours={"user_behaviours": replace(near, present_BK=torch.zeros_like(near.present_BK))})
    assert (first != contender.predict(blind)).any()


@pytest.mark.slow
def test_tasks_of_ray_data_find_what_one_process_finds(
    tmp_path: Path, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    finder, now = provided(searching(tmp_path), log, 1).finder, log.periods[2]
    rows, until, indexed = log.read(now), now.start, finder.indexed
    alone = {name: searches.search(indexed, name, rows, until=until) for name in finder.shared}
    assert set(alone) == {"field_match", "user_category", "user_behaviours"}
    monkeypatch.setattr(searches, "IN_PROCESS", 0)
    monkeypatch.setattr(searches, "BLOCK", 100)
    with ray_session(None):
        for name, rows_BK in alone.items():
            assert torch.equal(searches.search(indexed, name, rows, until=until), rows_BK)
