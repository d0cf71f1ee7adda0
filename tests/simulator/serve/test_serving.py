"""Contenders of a real checkpoint served, checked against what was stored, and measured."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
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
from simulator.serve.deploy import deployed
from simulator.serve.loading import load_servable
from simulator.serve.ports import free_port
from simulator.serve.serving import check_servable, hold_to_stored, serve_and_measure
from simulator.serve.settings import ServeSettings
from simulator.serve.stored import FLIPS, TOLERANCE
from simulator.stream.settings import StreamSettings
from tests.simulator.measure.fake_run import FakeRun
from tests.simulator.serve.stand_in import load_damaged, load_one_over_id
from tests.simulator.serve.trained_run import TrainedRun, trained_run
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
        trained.log,
        said.append,
        seed=0,
        load=partial(load_servable, trained.log, settings.stream, settings.retrieval),
    )
    return serving, said


@pytest.mark.parametrize("name", ["http_proxy", "ALL_PROXY"])
def test_what_is_served_on_this_machine_is_asked_by_no_proxy(
    nothing_served: None, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    for other in ("no_proxy", "NO_PROXY", "http_proxy", "HTTP_PROXY"):
        monkeypatch.delenv(other, raising=False)
    monkeypatch.setenv(name, "http://127.0.0.1:9")

    async def status(url: str) -> int:
        async with open_session() as session, session.post(url, data=b"{}") as response:
            return response.status

    with deployed("proxy", SERVE, Path("nowhere"), [("edk", 0)], load_one_over_id) as [endpoint]:
        assert asyncio.run(status(endpoint.url)) == 422


def test_every_contender_but_a_stopped_one_is_checked_and_measured(tmp_path: Path, nothing_served: None) -> None:
    trained = trained_run(tmp_path, SERVE, stopped="finetune")
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
def test_probabilities_other_than_the_stored_ones_are_an_error_that_leaves_all_measurements(
    tmp_path: Path, nothing_served: None
) -> None:
    trained = trained_run(tmp_path, SERVE)
    file = trained.run.predictions(1, "frozen-0")
    table = pq.read_table(file, partitioning=None)
    nudged = pc.add(table["probability"], 1e-4).cast(pa.float32())
    pq.write_table(table.set_column(table.column_names.index("probability"), "probability", nudged), file)
    with pytest.raises(RunError, match=r"frozen \(seed 0\) serves probabilities that differ by 0\.0001 "):
        play(trained)
    result = read_serving(trained.run)
    assert result is not None
    differences = {check.arm: check.max_difference for check in result.checks}
    assert differences["frozen"] == pytest.approx(1e-4, rel=0.01)
    assert (differences["finetune"] or 0) <= TOLERANCE
    order = [(load.rate, load.arm) for load in result.measured]
    assert order == [(rate, arm) for rate in (20.0, 40.0) for arm in ("frozen", "finetune")], "arms take turns"
    sent = {arm: [load.sent for load in result.measured if load.arm == arm] for arm in differences}
    assert sent["frozen"] == sent["finetune"], "on the same schedules"


def test_where_all_were_stopped_there_is_nothing_to_serve(tmp_path: Path) -> None:
    trained = trained_run(tmp_path, SERVE, stopped="frozen")
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


def test_a_contender_that_cannot_be_loaded_is_named_with_its_reason(nothing_served: None) -> None:
    with (
        pytest.raises(RunError, match=r"^damaged/edk/0: could not be served: .*edk-0 is damaged$"),
        deployed("damaged", SERVE, Path("nowhere"), [("edk", 0)], load_damaged),
    ):
        pass


@pytest.mark.slow
def test_what_somebody_else_serves_is_left_alone_but_what_a_killed_start_left_is_replaced(
    nothing_served: None,
) -> None:
    with deployed("theirs", SERVE, Path("nowhere"), [("edk", 0)], load_one_over_id):
        with (
            pytest.raises(RunError, match=r"runs theirs/edk/0 already"),
            deployed("ours", SERVE, Path("nowhere"), [("edk", 0)], load_one_over_id),
        ):
            pass
        assert list(serve.status().applications) == ["theirs/edk/0"]
        with deployed("theirs", SERVE, Path("nowhere"), [("edk", 1)], load_one_over_id):
            assert list(serve.status().applications) == ["theirs/edk/1"]


def test_a_port_that_is_taken_is_an_error_that_names_the_setting() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        with pytest.raises(SettingError, match=rf"^serve.port={port}: cannot listen there .* or 0 for a free one$"):
            free_port(replace(SERVE, port=port))


def test_port_0_is_a_free_one() -> None:
    assert free_port(SERVE) > 0


def test_what_serving_needs_is_known_before_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = tiny_log(tmp_path, periods=2)
    check_servable(SERVE, StreamSettings(), log)
    with pytest.raises(RunError, match=r"holdout of the last period .*stream\.holdout_share.*serve\.enabled"):
        check_servable(SERVE, StreamSettings(holdout_share=0.001), log)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        with pytest.raises(SettingError, match=rf"^serve\.port={port}: "):
            check_servable(replace(SERVE, port=port), StreamSettings(), log)
    for host in ("no.such.host.invalid", "203.0.113.7"):
        with pytest.raises(SettingError, match=rf"cannot listen there on {host}"):
            check_servable(replace(SERVE, host=host), StreamSettings(), log)
    monkeypatch.setattr(serving, "MAX_BODY_BYTES", 100)
    with pytest.raises(SettingError, match=r"^serve\.candidates=20: a request has .* bytes"):
        check_servable(SERVE, StreamSettings(), log)


def test_an_address_to_listen_on_must_be_given() -> None:
    with pytest.raises(SettingError, match="host: is empty"):
        replace(SERVE, host="")
