"""Who plays in which group, on how many threads and cores."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pkb import cores
from pkb.errors import SettingError
from retrieval.indexed_pool import RetrievalSettings
from simulator.cluster import groups
from simulator.cluster.groups import settle
from simulator.cluster.shares import Lot, guess, lots_of, seconds_seen, shared_out
from simulator.cluster.threads import threads_that_pay
from simulator.contender.settings import ArmSettings
from simulator.loop.play import Play
from simulator.plays import play_of, recipe_of
from simulator.record.costs import ArmCosts, PeriodFacts, StageCosts, write_arm_costs, write_period_facts
from simulator.record.experiment import who_of
from simulator.record.files import write_text
from simulator.record.layout import RunFolder
from simulator.settings import Settings
from simulator.stream.log import Log
from simulator.train.settings import TrainSettings
from tests.simulator.tiny import tiny_log, tiny_settings

ARMS = {
    "finetune": ArmSettings(),
    "frozen": ArmSettings(policy="frozen"),
    "retrain_all": ArmSettings(policy="retrain_all"),
    "rim": ArmSettings(backbone="rim"),
    "dert": ArmSettings(backbone="dert"),
    "edk": ArmSettings(knowledge="edk"),
    "untrained": ArmSettings(knowledge="edk", control="untrained"),
}
KEYS = [f"{arm}-0" for arm in ARMS]


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Log:
    return tiny_log(tmp_path_factory.mktemp("log"))


def settings_of(folder: Path, **train: object) -> Settings:
    settings = tiny_settings(folder, arms=ARMS)
    return replace(settings, train=replace(settings.train, **train))  # type: ignore[arg-type]


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    folder = RunFolder(tmp_path / "run")
    folder.path.mkdir()
    return folder


@pytest.fixture
def ray_knows_of(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Tells how many cores Ray has."""

    def know(number: float) -> None:
        monkeypatch.setattr("ray.cluster_resources", lambda: {"CPU": number})
        monkeypatch.setattr("ray.nodes", lambda: [{"Alive": True}])
        monkeypatch.setattr(groups, "allowed_cores", lambda: int(number))

    know(2)
    return know


def took(run: RunFolder, seconds: dict[str, float], period: int = 0) -> None:
    """Commit a period in which the contenders took so many CPU seconds."""
    for key, cpu_seconds in seconds.items():
        arm, seed = who_of(key)
        costs = ArmCosts(
            arm=arm,
            seed=seed,
            stopped=None,
            reads=[],
            stages={"learn": StageCosts(seconds=9.0, cpu_seconds=cpu_seconds, rows=1)},
            knowledge_bytes=0,
            memory_bytes={},
            checkpoint_bytes=0,
            dense_builds=[],
            notes={},
            lesson=None,
        )
        write_arm_costs(run, period, costs)
        run.contender(key).mkdir(parents=True, exist_ok=True)
        write_text(run.committed_file(key), str(period))
    facts = PeriodFacts(period=period, start=0, end=1, rows=1, positives=0, new_user_share=0.0, new_item_share=0.0)
    write_period_facts(run, facts)


@given(st.lists(st.floats(0.01, 100), min_size=1, max_size=40), st.integers(1, 12))
def test_contenders_are_shared_out_each_once_in_their_order_and_evenly(taken: list[float], number: int) -> None:
    costs = {f"arm-{index}": cost for index, cost in enumerate(taken)}
    shares = shared_out([Lot([key], cost) for key, cost in costs.items()], number)
    assert len(shares) == number
    assert sorted(key for share in shares for key in share) == sorted(costs)
    assert all(share == [key for key in costs if key in share] for share in shares)
    loads = [sum(costs[key] for key in share) for share in shares]
    assert max(loads) <= sum(taken) / number + max(taken) + 1e-6
    if number <= len(taken):
        assert all(shares), "no group is idle"


def test_the_dearest_does_not_share_a_group_where_it_need_not(tmp_path: Path) -> None:
    costs = {"cheap-0": 1.0, "dear-0": 5.0, "cheap-1": 1.0, "dear-1": 5.0, "cheap-2": 3.0}
    lots = [Lot([key], cost) for key, cost in costs.items()]
    assert shared_out(lots, 3) == [["dear-0"], ["dear-1"], ["cheap-0", "cheap-1", "cheap-2"]]


def test_a_guess_knows_what_kinds_of_contenders_cost_more(tmp_path: Path) -> None:
    settings = settings_of(tmp_path)
    cost = {arm: sum(guess(recipe_of(settings, arm, 0), periods=20)) for arm in ARMS}
    assert cost["frozen"] < cost["finetune"] <= cost["untrained"] < cost["rim"] < cost["dert"]
    assert cost["untrained"] < cost["edk"]
    assert cost["finetune"] < guess(recipe_of(settings, "retrain_all", 0), periods=8)[0] < cost["retrain_all"]
    thrice = replace(ARMS["finetune"], epochs=3)
    assert guess(recipe_of(replace(settings, arms={"thrice": thrice}), "thrice", 0), 20)[0] == 3 * cost["finetune"]


def test_what_was_seen_stands_in_place_of_the_guess_once_everybody_has_committed_a_period(
    tmp_path: Path, run: RunFolder
) -> None:
    play = play_of(settings_of(tmp_path))
    guessed = lots_of(play, run, 4)
    assert seconds_seen(run, KEYS) is None
    took(run, {key: 1.0 + index for index, key in enumerate(KEYS[1:])})
    assert lots_of(play, run, 4) == guessed, "one of them has committed nothing"
    took(run, {key: 1.0 + index for index, key in enumerate(KEYS)})
    took(run, dict.fromkeys(KEYS, 0.5), period=1)
    assert lots_of(play, run, 4) == [Lot([key], 1.5 + index) for index, key in enumerate(KEYS)]


def test_contenders_with_one_base_play_in_one_group_that_counts_it_once(tmp_path: Path, run: RunFolder) -> None:
    window = ArmSettings(knowledge="edk", policy="retrain_window")
    settings = replace(settings_of(tmp_path), arms={**ARMS, "window_edk": window}, seeds=[0, 1])
    lots = {tuple(lot.keys): lot.cost for lot in lots_of(play_of(settings), run, 4)}
    alone, base = guess(recipe_of(settings, "edk", 0), 4)
    assert lots["edk-0", "window_edk-0"] == alone + guess(recipe_of(settings, "window_edk", 0), 4)[0] + base
    assert lots["edk-1", "window_edk-1"] == lots["edk-0", "window_edk-0"]
    assert ("untrained-0",) in lots, "a control's base is another one"


@pytest.mark.parametrize(
    ("available", "wanted", "workers", "groups"),
    [
        (1, "auto", 1, 1),
        (2, "auto", 1, 2),
        (3.5, "auto", 1, 3),
        (64, "auto", 1, len(ARMS)),
        (4, "auto", 2, 2),
        (1, "auto", 2, 1),
        (2, "3", 1, 3),
        (2, "99", 1, len(ARMS)),
    ],
)
def test_there_are_as_many_groups_as_cores_and_contenders_allow_or_as_asked_for(
    tmp_path: Path,
    log: Log,
    run: RunFolder,
    ray_knows_of: Callable[[float], None],
    available: float,
    wanted: str,
    workers: int,
    groups: int,
) -> None:
    ray_knows_of(available)
    settled = settle(play_of(settings_of(tmp_path, groups=wanted, workers=workers, threads=1)), log, run)
    assert len(settled.groups) == groups
    assert sorted(key for share in settled.groups for key in share) == sorted(KEYS)
    assert settled.threads == 1


def test_a_run_goes_on_with_its_groups_and_threads(
    tmp_path: Path, log: Log, run: RunFolder, ray_knows_of: Callable[[float], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    def play(wanted: str) -> Play:
        return play_of(settings_of(tmp_path, groups=wanted))

    monkeypatch.setattr(groups, "threads_that_pay", lambda *_: 2)
    alone = settle(play("1"), log, run)
    assert (alone.groups, alone.threads) == ([KEYS], 2)
    monkeypatch.setattr(groups, "threads_that_pay", lambda *_: pytest.fail("was decided once"))
    took(run, {key: 100.0 if key == "finetune-0" else 1.0 for key in KEYS})
    two = settle(play("2"), log, run)
    assert two.groups == [["finetune-0"], KEYS[1:]], "what was seen tells now"
    assert two.threads == 2, "they decide how sums are rounded"
    took(run, dict.fromkeys(KEYS, 100.0), period=1)
    assert settle(play("2"), log, run) == two
    ray_knows_of(2)
    assert settle(play("auto"), log, run) == two
    assert settle(play("1"), log, run).threads == 2


def test_several_groups_have_one_thread_each(
    tmp_path: Path, log: Log, run: RunFolder, ray_knows_of: Callable[[float], None]
) -> None:
    ray_knows_of(8)
    assert settle(play_of(settings_of(tmp_path, groups="2")), log, run).threads == 1


@pytest.mark.parametrize("arm", list(ARMS))
def test_a_trial_of_threads_ends_with_one_or_all_whatever_kind_of_arm_takes_the_steps(
    tmp_path: Path, log: Log, arm: str
) -> None:
    before = torch.get_num_threads()
    recipe = recipe_of(settings_of(tmp_path), arm, 0)
    assert threads_that_pay(recipe, RetrievalSettings(k=3), log, 2) in (1, 2)
    assert torch.get_num_threads() == before


def test_a_trial_of_threads_waits_for_no_label_and_leaves_divergence_to_the_run(tmp_path: Path, log: Log) -> None:
    late = settings_of(tmp_path, learning_rate=1e30)
    late = replace(late, stream=replace(late.stream, label_delay="2d"))
    before = torch.get_num_threads()
    assert threads_that_pay(recipe_of(late, "finetune", 0), late.retrieval, log, 2) in (1, 2)
    assert torch.get_num_threads() == before


def test_a_trial_reads_histories_from_the_pool(tmp_path: Path, log: Log) -> None:
    settings = replace(settings_of(tmp_path), arms={"din": ArmSettings(backbone="din")})
    settings = replace(settings, retrieval=RetrievalSettings(histories=["item"], behaviours=5))
    assert threads_that_pay(recipe_of(settings, "din", 0), settings.retrieval, log, 2) in (1, 2)


def test_on_one_core_there_is_nothing_to_try(tmp_path: Path) -> None:
    recipe = recipe_of(settings_of(tmp_path), "finetune", 0)
    assert threads_that_pay(recipe, RetrievalSettings(), Log(tmp_path / "nowhere"), 1) == 1


@pytest.mark.parametrize(
    ("files", "allowed"),
    [
        ({}, 8),
        ({"cpu.max": "max 100000\n"}, 8),
        ({"cpu.max": "300000 100000\n"}, 3),
        ({"cpu.max": "350000 100000\n"}, 3),
        ({"cpu.max": "50000 100000\n"}, 1),
        ({"cpu.max": "6400000 100000\n"}, 8),
        ({"cpu.max": "nonsense\n"}, 8),
        ({"cpu/cpu.cfs_quota_us": "250000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 2),
        ({"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, 8),
        ({"cpu/cpu.cfs_quota_us": "20000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 1),
        ({"cpu/cpu.cfs_quota_us": "20000\n"}, 8),
    ],
)
def test_the_cores_allowed_are_those_of_affinity_and_control_group(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, files: dict[str, str], allowed: int
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    assert cores.allowed_cores(tmp_path, tmp_path / "none") == allowed


@pytest.mark.parametrize(
    ("groups", "limits", "allowed"),
    [
        ("0::/", {}, 8),
        ("0::/job/step", {"job/step": "200000 100000"}, 2),
        ("0::/job/step", {"job": "300000 100000", "job/step": "max 100000"}, 3),
        ("0::/job/step", {"": "max 100000", "job": "300000 100000", "job/step": "400000 100000"}, 3),
        ("0::/job/step", {"job/other": "100000 100000"}, 8),
        ("0::/a:b/c", {"a:b/c": "100000 100000"}, 1),
        ("11:memory:/job\n5:cpu,cpuacct:/job\n1:name=systemd:/job", {"cpu/job": 250_000}, 2),
        ("11:memory:/job\n5:cpu,cpuacct:/job", {"job": "100000 100000"}, 8),
        ("nonsense", {}, 8),
    ],
)
def test_the_limit_of_every_control_group_above_the_process_holds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, groups: str, limits: dict[str, str | int], allowed: int
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    for folder, limit in limits.items():
        (tmp_path / "fs" / folder).mkdir(parents=True, exist_ok=True)
        if isinstance(limit, str):
            (tmp_path / "fs" / folder / "cpu.max").write_text(limit)
        else:
            (tmp_path / "fs" / folder / "cpu.cfs_quota_us").write_text(str(limit))
            (tmp_path / "fs" / folder / "cpu.cfs_period_us").write_text("100000")
    (tmp_path / "cgroup").write_text(f"{groups}\n")
    assert cores.allowed_cores(tmp_path / "fs", tmp_path / "cgroup") == allowed


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system binds no process to cores")
def test_all_engines_use_as_many_threads_as_cores_are_allowed(tmp_path: Path) -> None:
    code = """
import os; os.sched_setaffinity(0, [min(os.sched_getaffinity(0))])
import duckdb, faiss, pyarrow, torch
from pkb.cores import allowed_cores
from simulator.stream import staging
from pathlib import Path
from simulator.stream.settings import IngestSettings
seen = []
class Looking(staging.Staging):
    def __init__(self, engine, *_, **__):
        seen.append(engine.execute("SELECT current_setting('threads')").fetchall()[0][0])
staging.Staging = Looking
with staging.staging(None, Path("."), IngestSettings(), ""): pass
print(allowed_cores(), *seen, torch.get_num_threads(), faiss.omp_get_max_threads(), pyarrow.cpu_count())
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["1"] * 5


def test_where_there_is_no_affinity_the_machines_cores_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert cores.allowed_cores(tmp_path, tmp_path) == 1
    monkeypatch.setattr(os, "cpu_count", lambda: 6)
    assert cores.allowed_cores(tmp_path, tmp_path) == 6


@pytest.mark.parametrize("wrong", ["0", "x", "-1", "1.5", "", "00", "²"])
def test_a_number_of_groups_that_is_none_is_refused(wrong: str) -> None:
    with pytest.raises(SettingError, match=f"^groups={wrong}: write auto, or a number of at least 1$"):
        TrainSettings(groups=wrong)
