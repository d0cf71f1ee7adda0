"""Contenders of a real checkpoint served, checked against what was stored, and measured."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from ray import serve

from pkb.errors import RunError, SettingError
from simulator.book import period_file
from simulator.serve.check import TOLERANCE
from simulator.serve.deploy import deployed, free_port
from simulator.serve.serving import serve_and_measure
from simulator.settings import ServeSettings, Settings
from tests.simulator.serve.stand_in import load_damaged, load_one_over_id
from tests.simulator.serve.trained_run import TrainedRun, trained_run

SERVE = ServeSettings(port=0, candidates=20, rates=[20.0, 40.0], seconds=0.5, check_rows=50)


@pytest.fixture
def nothing_served(local_ray: None) -> Iterator[None]:
    """Ray without Serve, before and after."""
    assert not serve.status().applications
    yield
    assert not serve.status().applications


def play(trained: TrainedRun) -> tuple[dict[str, list[dict[str, object]]], list[str]]:
    """What serving returned, and what it said meanwhile."""
    said: list[str] = []
    result = serve_and_measure(trained.run, trained.settings, trained.checkpoint, trained.log, said.append)
    return result, said


def test_every_contender_but_a_stopped_one_is_checked_and_measured(tmp_path: Path, nothing_served: None) -> None:
    trained = trained_run(tmp_path, SERVE, stopped="finetune")
    result, said = play(trained)
    assert result == json.loads((trained.run / "serving.json").read_text())
    [check] = result["checks"]
    assert (check["arm"], check["seed"], check["rows"]) == ("frozen", 0, 50)
    assert isinstance(check["max_difference"], float)
    assert check["max_difference"] <= TOLERANCE
    assert [(m["arm"], m["rate"]) for m in result["measured"]] == [("frozen", 20.0), ("frozen", 40.0)]
    for measured in result["measured"]:
        assert measured["completed"] == measured["sent"] != 0
        assert measured["errors"] == 0
        assert 0 < measured["p50_ms"] <= measured["p95_ms"] <= measured["p99_ms"]  # type: ignore[operator]
    assert all("\n" not in line for line in said)


@pytest.mark.slow
def test_probabilities_other_than_the_stored_ones_are_an_error_that_leaves_all_measurements(
    tmp_path: Path, nothing_served: None
) -> None:
    trained = trained_run(tmp_path, SERVE)
    file = period_file(trained.run, "predictions", 1)
    table = pq.read_table(file)
    nudge = pc.if_else(pc.equal(table["arm"].cast(pa.string()), "frozen"), 1e-4, 0.0)
    nudged = pc.add(table["probability"], nudge).cast(pa.float32())
    pq.write_table(table.set_column(table.column_names.index("probability"), "probability", nudged), file)
    with pytest.raises(RunError, match=r"frozen \(seed 0\) serves probabilities that differ by 0\.0001 "):
        play(trained)
    result = json.loads((trained.run / "serving.json").read_text())
    differences = {check["arm"]: check["max_difference"] for check in result["checks"]}
    assert differences["frozen"] == pytest.approx(1e-4, rel=0.01)
    assert differences["finetune"] <= TOLERANCE
    order = [(m["rate"], m["arm"]) for m in result["measured"]]
    assert order == [(rate, arm) for rate in (20.0, 40.0) for arm in ("frozen", "finetune")], "arms take turns"
    sent = {arm: [m["sent"] for m in result["measured"] if m["arm"] == arm] for arm in differences}
    assert sent["frozen"] == sent["finetune"], "on the same schedules"


def test_where_all_were_stopped_there_is_nothing_to_serve(tmp_path: Path) -> None:
    trained = trained_run(tmp_path, SERVE, stopped="frozen")
    file = period_file(trained.run, "costs", 1)
    costs = json.loads(file.read_text())
    for entry in costs["arms"]:
        entry["stopped"] = "loss was nan"
    file.write_text(json.dumps(costs))
    result, _ = play(trained)
    assert result["measured"] == result["checks"] == []


def test_a_contender_that_cannot_be_loaded_is_named_with_its_reason(nothing_served: None) -> None:
    settings = Settings(name="damaged", serve=SERVE)
    with (
        pytest.raises(RunError, match=r"^damaged/edk/0: could not be served: .*edk-0 is damaged$"),
        deployed(settings, Path("nowhere"), [("edk", 0)], load_damaged),
    ):
        pass


@pytest.mark.slow
def test_what_somebody_else_serves_is_left_alone_but_what_a_killed_start_left_is_replaced(
    nothing_served: None,
) -> None:
    ours, theirs = (Settings(name=name, serve=SERVE) for name in ("ours", "theirs"))
    with deployed(theirs, Path("nowhere"), [("edk", 0)], load_one_over_id):
        with (
            pytest.raises(RunError, match=r"runs theirs/edk/0 already"),
            deployed(ours, Path("nowhere"), [("edk", 0)], load_one_over_id),
        ):
            pass
        assert list(serve.status().applications) == ["theirs/edk/0"]
        with deployed(theirs, Path("nowhere"), [("edk", 1)], load_one_over_id):
            assert list(serve.status().applications) == ["theirs/edk/1"]


def test_a_port_that_is_taken_is_an_error_that_names_the_setting() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        with pytest.raises(SettingError, match=rf"^serve.port={port}: cannot listen there .* or 0 for a free one$"):
            free_port(replace(SERVE, port=port))


def test_port_0_is_a_free_one() -> None:
    assert free_port(SERVE) > 0
