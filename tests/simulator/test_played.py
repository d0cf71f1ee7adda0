"""`loadtest` from its command line to its files, with servers of known behaviour in place of Ray Serve."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
import torch
from aiohttp import web
from rich.console import Console

from pkb.errors import DataError, SettingError
from simulator.cli import main
from simulator.loadtest.bodies import write_bodies
from simulator.loadtest.settings import LoadSettings
from simulator.loadtest.target import Target
from simulator.played import Played, loadtest_run
from simulator.record.experiment import ArmAndSeed
from simulator.record.loadtest import LoadTest, read_loadtest
from simulator.record.typed_json import read_typed
from simulator.serve.asgi import make_app
from simulator.serve.stored import TOLERANCE
from tests.simulator.loadtest.servers import on_a_thread
from tests.simulator.played_run import played_run
from tests.simulator.serve import played_run as of_every_kind
from tests.simulator.serve.asgi_client import Client
from tests.simulator.serve.trained_run import TrainedRun

SMALL = {  # one rate alone, and a bound that a busy machine keeps
    **{"repeats": 2, "requests": 459, "seconds": 0.1, "step": 1.0, "start": 512.0, "most": 512.0, "share": 1.0},
    **{"processes": 1, "bound_ms": 20_000.0, "timeout_s": 30.0},
}
WORDS = [f"{name}={value}" for name, value in SMALL.items()]


async def score(request: web.Request) -> web.StreamResponse:
    """As many scores as candidates, after 5 ms."""
    candidates = (await request.json())["candidates"]
    await asyncio.sleep(0.005)
    return web.json_response({"scores": [0.5] * len(candidates)})


@contextmanager
def on_threads(played: Played, arms: Sequence[ArmAndSeed]) -> Iterator[list[Target]]:
    with ExitStack() as servers:
        yield [Target(arm=arm, seed=seed, url=servers.enter_context(on_a_thread(score))) for arm, seed in arms]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> TrainedRun:
    return played_run(tmp_path_factory.mktemp("played"))


def test_a_url_is_asked_what_the_file_holds_and_the_result_is_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, result = tmp_path / "requests.jsonl", tmp_path / "result.json"
    file.write_text(json.dumps({"request": {"user": "u1"}, "candidates": [{"item": "i1"}, {"item": "i2"}]}))
    with on_a_thread(score) as url:
        words = ["loadtest", url, "--requests", str(file), "-o", str(result), *WORDS]
        assert main(words) == 0
    assert "load test of http://127.0.0.1" in capsys.readouterr().out
    test = read_typed(result, LoadTest)
    [arm] = test.arms
    assert arm.sustained_by_repeat == [512.0, 512.0]
    assert [load.purpose for load in test.loads] == ["search", "search", "equal", "equal"]
    assert test.equal_rate == 512.0
    assert all(load.sent == 459 and not load.errors and (load.p50_ms or 0) > 5 for load in test.loads)
    assert test.self_check.rate == 512.0


def test_a_runs_arms_take_turns_and_its_folder_gets_the_result(made: TrainedRun) -> None:
    settings = LoadSettings(**SMALL | {"candidates": 7, "repeats": 1})  # type: ignore[arg-type]
    loadtest_run(made.run.path, settings, Console(quiet=True), on_threads)
    test = read_loadtest(made.run)
    assert test is not None
    assert [arm.arm for arm in test.arms] == ["frozen", "finetune"]
    assert test.settings["candidates"] == 7
    assert all(arm.failed == 0 for arm in test.arms)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["http://127.0.0.1:9/v1/score"], "what to ask it? add --requests"),
        (["runs/none"], "holds no experiment.json, so it is not the folder of a run"),
        (["runs/none", "bound=3"], "unknown setting 'bound'"),
        (["runs/none", "timeout_s=0.01"], "timeout_s=0.01: must be longer than bound_ms=50"),
        (["runs/none", "--requests", "x"], "a run has its own requests"),
    ],
)
def test_what_cannot_be_is_one_line(words: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["loadtest", *words]) == 1
    assert said in capsys.readouterr().err


def test_an_arm_that_the_run_does_not_have_is_refused(made: TrainedRun) -> None:
    with pytest.raises(SettingError, match=r"arm=frozn: is not one of .*did you mean frozen\?"):
        loadtest_run(made.run.path, LoadSettings(arms=["frozn"]), Console(quiet=True), on_threads)
    with pytest.raises(SettingError, match="seed=7: is not one of 0"):
        loadtest_run(made.run.path, LoadSettings(seed=7), Console(quiet=True), on_threads)


def test_a_log_that_is_gone_is_told(made: TrainedRun, tmp_path: Path) -> None:
    moved = made.log.folder.rename(tmp_path / "elsewhere")
    try:
        with pytest.raises(DataError, match=r"the log that .* replayed is not there"):
            loadtest_run(made.run.path, LoadSettings(), Console(quiet=True), on_threads)
    finally:
        moved.rename(made.log.folder)


def test_what_a_load_asks_the_server_scores_as_the_contender_predicts(tmp_path: Path) -> None:
    made = of_every_kind.played_run(tmp_path, days=2, rows=300, alike=True)
    for index in range(2):
        made.commit(index)
    versions, file = made.versions(), tmp_path / "requests.jsonl"
    versions.swap_to(1)
    rows = made.log.read(made.log.periods[1], histories=True)
    number = write_bodies(rows, made.log, made.settings.stream, candidates=5, file=file)
    bodies = [json.loads(line) for line in file.read_text().splitlines()]
    assert set(bodies[0]["candidates"][0]) == {"item"}
    assert set(bodies[0]["request"]) == {*of_every_kind.GIVEN, "time"} - {"item"}
    assert number == len(bodies) == len(rows) // 5 > 20
    with Client(make_app(versions)) as client:
        answers = [client.score(body) for body in bodies]
    assert {answer.status for answer in answers} == {200}
    scores = torch.tensor([answer.json["scores"] for answer in answers])
    expected = torch.from_numpy(made.contenders["deepfm-0"].predict(rows)).view(-1, 5)
    assert (scores - expected).abs().max() <= TOLERANCE
    assert len(expected.unique()) > 100


@pytest.mark.slow
def test_arms_of_a_run_are_put_under_load_on_ray_serve(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = of_every_kind.played_run(tmp_path, days=2, rows=300, arms=("deepfm", "lr"))
    for index in range(2):
        made.commit(index)
    one_rate = {"repeats": 1, "start": 32.0, "most": 32.0, "candidates": 7, "warm_up": 1}
    words = [f"{name}={value}" for name, value in (SMALL | one_rate).items()]
    assert main(["loadtest", str(made.run.path), *words]) == 0, capsys.readouterr().err
    test = read_loadtest(made.run)
    assert test is not None
    assert [(arm.arm, arm.seed, arm.failed) for arm in test.arms] == [("deepfm", 0, 0), ("lr", 0, 0)]
    assert all(load.p50_ms and load.sent == 459 for load in test.loads)
