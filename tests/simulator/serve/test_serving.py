"""Contenders of a real checkpoint served, checked against what was stored, and measured."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from ray import serve

from pkb.errors import RunError, SettingError
from retrieval.indexed_pool import ROUNDED
from simulator.loadtest.offering import open_session
from simulator.record.costs import read_arm_costs, write_arm_costs
from simulator.record.layout import RunFolder
from simulator.record.serving import Check, Serving, read_serving
from simulator.serve import serving
from simulator.serve.deploy import Address, route_of, running
from simulator.serve.guard import VARIABLE
from simulator.serve.ports import free_port
from simulator.serve.replica import application, deployed
from simulator.serve.serving import check_servable, hold_to_stored, serve_and_measure
from simulator.serve.settings import ServeSettings
from simulator.serve.stored import FLIPS, TOLERANCE
from simulator.serving import source_of
from simulator.stream.settings import StreamSettings
from tests.simulator.measure.fake_run import FakeRun
from tests.simulator.played_run import played_run, write_vocabulary
from tests.simulator.serve import played_run as of_every_kind
from tests.simulator.serve.trained_run import TrainedRun
from tests.simulator.tiny import tiny_log

SERVE = ServeSettings(port=0, candidates=20, rates=[20.0, 40.0], seconds=0.5, check_rows=50)


@pytest.fixture
def nothing_served(local_ray: None) -> Iterator[None]:
    """Ray without Serve, before and after."""
    assert not serve.status().applications
    yield
    assert not serve.status().applications


def play(trained: TrainedRun) -> tuple[Serving, list[str]]:
    """What serving returned, and what it said meanwhile."""
    said: list[str] = []
    settings = trained.settings
    serving = serve_and_measure(
        trained.run,
        settings.serve,
        settings.stream,
        settings.retrieval,
        trained.log,
        said.append,
        seed=0,
    )
    return serving, said


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> TrainedRun:
    return played_run(tmp_path_factory.mktemp("trained"), SERVE)


def served_as(name: str, trained: TrainedRun, arm: str) -> AbstractContextManager[Address]:
    """One arm behind HTTP, under the name of some run."""
    source = source_of(trained.run.path, arm)
    served = application({"/": source}, None, follow=False, cpus=0.1)
    return running(name, SERVE, {(f"{arm}/0", route_of(arm, 0)): served})


@pytest.mark.parametrize("name", ["http_proxy", "ALL_PROXY"])
def test_what_is_served_on_this_machine_is_asked_by_no_proxy(
    nothing_served: None, trained: TrainedRun, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    for other in ("no_proxy", "NO_PROXY", "http_proxy", "HTTP_PROXY"):
        monkeypatch.delenv(other, raising=False)
    monkeypatch.setenv(name, "http://127.0.0.1:9")

    async def status(url: str) -> int:
        async with open_session() as session, session.post(url, data=b"{}") as response:
            return response.status

    with deployed([source_of(trained.run.path)], SERVE, None) as [target]:
        assert asyncio.run(status(target.url)) == 422


def test_every_contender_but_a_stopped_one_is_checked_and_measured_of_a_run_in_any_letters_behind_a_token(
    tmp_path: Path, nothing_served: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, "a-secret-of-some-length")
    trained = played_run(tmp_path, SERVE, stopped="finetune")
    folder = trained.run.path.rename(trained.run.path.with_name("é"))  # Serve waits for ever for a name like this
    trained = replace(trained, run=RunFolder(folder))
    result, said = play(trained)
    assert result == read_serving(trained.run)
    [check] = result.checks
    assert (check.who, check.rows) == (("frozen", 0), 50)
    assert check.max_difference is not None
    assert check.max_difference <= TOLERANCE
    assert [(load.arm, load.rate) for load in result.measured] == [("frozen", 20.0), ("frozen", 40.0)]
    for load in result.measured:
        assert load.completed == load.sent != 0
        assert load.errors == 0
        assert 0 < (load.p50_ms or 0) <= (load.p95_ms or 0) <= (load.p99_ms or 0)
    assert all("\n" not in line for line in said)


@pytest.mark.slow
def test_arms_of_every_kind_are_measured_in_turns_on_the_same_schedules_of_requests_with_values_of_every_kind(
    tmp_path: Path, nothing_served: None
) -> None:
    played = of_every_kind.played_run(tmp_path, days=2, rows=300, arms=("deepfm", "edk", "rim"))
    for index in range(2):
        played.commit(index)
    result, _ = play(TrainedRun(run=played.run, settings=replace(played.settings, serve=SERVE), log=played.log))
    arms = ["deepfm", "edk", "rim"]
    assert [check.arm for check in result.checks] == arms
    assert all(check.rows == 50 and (check.max_difference or 0) <= TOLERANCE for check in result.checks)
    order = [(load.rate, load.arm) for load in result.measured]
    assert order == [(rate, arm) for rate in (20.0, 40.0) for arm in arms]
    sent = [[load.sent for load in result.measured if load.arm == arm] for arm in arms]
    assert sent[0] == sent[1] == sent[2]
    assert all(load.errors == 0 for load in result.measured)


def test_where_all_were_stopped_there_is_nothing_to_serve(tmp_path: Path) -> None:
    trained = played_run(tmp_path, SERVE, stopped="frozen")
    for key in ("frozen-0", "finetune-0"):
        write_arm_costs(trained.run, 1, replace(read_arm_costs(trained.run, 1, key), stopped="loss was nan"))
    result, _ = play(trained)
    assert result.measured == []
    assert result.checks == []


@pytest.mark.parametrize(
    ("reads", "beyond", "wrong"),
    [
        ([], 0.0, False),
        ([], 0.001, True),
        (["field_match"], 0.001, True),
        *(([name], FLIPS, False) for name in sorted(ROUNDED)),
        *(([name, "field_match"], 0.02, True) for name in sorted(ROUNDED)),
    ],
)
def test_a_few_rows_may_flip_where_what_is_read_is_chosen_by_rounded_scores(
    tmp_path: Path, reads: list[str], beyond: float, wrong: bool
) -> None:
    run = FakeRun(periods=1, noise={"finetune": 0.9}).write(tmp_path / "run")
    arm = replace(read_arm_costs(run, 0, "finetune-0"), reads=reads)
    check = Check(arm="finetune", seed=0, rows=50, max_difference=0.1, share_beyond=beyond)
    held = pytest.raises(RunError, match="do not belong together") if wrong else nullcontext()
    with held:
        hold_to_stored(RunFolder(tmp_path), 0, arm, check)


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        ("checkpoint", r"^tiny/contenders: could not be served: .*frozen-0: .*state\.safetensors.*missing or damaged"),
        (
            "predictions",
            r"^tiny/contenders: could not be served: .*frozen-0: .*another probability than the stored one",
        ),
    ],
)
def test_a_contender_that_cannot_be_loaded_or_says_something_else_than_was_stored_is_named_with_its_reason(
    tmp_path: Path, nothing_served: None, damage: str, said: str
) -> None:
    trained = played_run(tmp_path, SERVE)
    file = trained.run.predictions(1, "frozen-0")
    if damage == "checkpoint":
        (trained.run.checkpoint("frozen-0", 1) / "state.safetensors").unlink()
    else:
        table = pq.read_table(file, partitioning=None)
        nudged = pc.add(table["probability"], 1e-4).cast(pa.float32())
        pq.write_table(table.set_column(table.column_names.index("probability"), "probability", nudged), file)
    with pytest.raises(RunError, match=said):
        play(trained)
    assert read_serving(trained.run) is None


@pytest.mark.slow
def test_what_somebody_else_serves_is_left_alone_but_what_a_killed_start_left_is_replaced(
    nothing_served: None, trained: TrainedRun
) -> None:
    with served_as("theirs", trained, "frozen"):
        with pytest.raises(RunError, match=r"runs theirs/frozen/0 already"), served_as("ours", trained, "frozen"):
            pass
        assert list(serve.status().applications) == ["theirs/frozen/0"]
        with served_as("theirs", trained, "finetune"):
            assert list(serve.status().applications) == ["theirs/finetune/0"]


def test_a_port_that_is_taken_is_an_error_that_names_the_setting() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        with pytest.raises(SettingError, match=rf"^serve.port={port}: cannot listen there .* or 0 for a free one$"):
            free_port(replace(SERVE, port=port))


def test_port_0_is_a_free_one() -> None:
    assert free_port(SERVE) > 0


def test_what_serving_needs_is_known_before_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = tiny_log(tmp_path, periods=2)
    write_vocabulary(log)
    monkeypatch.delenv(VARIABLE, raising=False)
    check_servable(SERVE, StreamSettings(), log)
    with pytest.raises(SettingError, match=r"^host=0\.0\.0\.0: others could ask there, and no token is set"):
        check_servable(replace(SERVE, host="0.0.0.0"), StreamSettings(), log)
    with pytest.raises(RunError, match=r"holdout of the last period .*stream\.holdout_share.*serve\.enabled"):
        check_servable(SERVE, StreamSettings(holdout_share=0.001), log)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        with pytest.raises(SettingError, match=rf"^serve\.port={port}: "):
            check_servable(replace(SERVE, port=port), StreamSettings(), log)
    for host in ("no.such.host.invalid", "203.0.113.7"):
        with pytest.raises(SettingError, match=rf"cannot listen there on {host}"):
            check_servable(replace(SERVE, host=host), StreamSettings(), log)
    with monkeypatch.context() as told:
        told.setenv("RAY_SERVE_ENABLE_HA_PROXY", "1")
        with pytest.raises(SettingError, match=r"^\$RAY_SERVE_ENABLE_HA_PROXY: .* on all interfaces"):
            check_servable(SERVE, StreamSettings(), log)
    monkeypatch.setattr(serving, "MAX_BODY_BYTES", 100)
    with pytest.raises(SettingError, match=r"^serve\.candidates=20: a request has .* bytes"):
        check_servable(SERVE, StreamSettings(), log)


def test_an_address_to_listen_on_must_be_given() -> None:
    with pytest.raises(SettingError, match="host: is empty"):
        replace(SERVE, host="")
