"""Versions of a model: each held to what was stored, swapped in one step, the last ones callable by number."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from pkb.errors import CheckpointError, DataError, RunError, SettingError
from simulator.serve import versions as versions_module
from simulator.serve.asgi import make_app
from simulator.serve.stored import stored_predictions
from simulator.serve.versions import KEPT
from simulator.serving import serve, source_of
from simulator.stream.stored_words import stored_words
from tests.simulator.serve.asgi_client import Client
from tests.simulator.serve.played_run import PlayedRun, played_run

DAYS = 8
LEARNING = {"torch._dynamo", "numba", "scipy.optimize", "ray.data"}  # seconds, in each of a run's replicas


@pytest.fixture
def played(tmp_path: Path) -> PlayedRun:
    return played_run(tmp_path, days=DAYS, rows=150)


def wait(until: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not until():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_each_period_that_is_committed_is_served_and_a_bad_one_is_refused_while_requests_go_on(
    played: PlayedRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(versions_module, "POLL_SECONDS", 0.02)
    told: list[str] = []
    versions = played.versions(told=told)
    versions.begin(follow=True)
    answers: list[tuple[int, int, tuple[float, ...]]] = []
    ended = threading.Event()
    rows = played.raw(played.rows(0).select(slice(4)))

    def ask() -> None:
        with Client(make_app(versions)) as client:
            while not ended.is_set():
                answer = client.score({"candidates": rows})
                answers.append((answer.status, answer.json.get("version", -1), tuple(answer.json.get("scores", ()))))
                time.sleep(0.002)

    thread = threading.Thread(target=ask)
    thread.start()
    bad, lost = 3, 4
    state = played.run.checkpoint("deepfm-0", lost) / "state.safetensors"
    damages: dict[int, Callable[[], None]] = {
        bad: lambda: played.nudge(bad),
        lost: lambda: state.unlink(),
    }
    try:
        for index in range(DAYS):
            played.commit(index, damages.get(index, lambda: None))
            wait(lambda index=index: versions.swaps + versions.refused == index + 1)  # type: ignore[misc]
            assert versions.behind == {bad: 1, lost: 2}.get(index, 0)
    finally:
        ended.set()
        thread.join()
        versions.end()
    good = [index for index in range(DAYS) if index not in (bad, lost)]
    assert versions.swaps == len(good)
    assert [version.number for version in versions.held] == good[-KEPT:]
    refusals = [line for line in told if "IS REFUSED" in line]
    assert [
        f"VERSION {index} IS REFUSED, version 2 goes on" in line
        for index, line in zip((bad, lost), refusals, strict=True)
    ]
    assert "another probability than the stored one" in refusals[0]
    assert "missing or damaged" in refusals[1]
    seen = [(status, number) for status, number, _ in answers]
    begun = next(place for place, (status, _) in enumerate(seen) if status == 200)
    assert {status for status, _ in seen[:begun]} <= {503}
    assert {status for status, _ in seen[begun:]} == {200}
    numbers = [number for _, number in seen[begun:]]
    assert numbers == sorted(numbers)
    assert set(numbers) <= set(good)
    assert all(len({scores for _, number, scores in answers if number == one}) == 1 for one in set(numbers)), (
        "no mixture"
    )
    with Client(make_app(versions)) as client:
        metrics = client.get("/metrics").body.decode()
        assert all(line in metrics for line in ("model_swaps 6.0", "model_refused 2.0", "model_behind_periods 0.0"))
        held = client.get("/v1/versions").json
        assert [each["version"] for each in held["versions"]] == good[-KEPT:]
        for number in good[-KEPT:]:
            answer = client.score({"candidates": rows}, query=f"version={number}")
            assert answer.json["version"] == number
        assert client.score({"candidates": rows}, query=f"version={good[0]}").status == 404
        assert client.score({"candidates": rows}).json["version"] == DAYS - 1


def test_a_run_without_a_checkpoint_and_a_bad_one_are_not_served(played: PlayedRun) -> None:
    with pytest.raises(RunError, match="has committed no period yet; wait, or --follow it"):
        played.versions().begin(follow=False)
    played.commit(0)
    row_id, _ = stored_predictions(played.run, 0, "deepfm", 0, through=0, holdout=True)
    assert len(row_id) > 10
    played.nudge(0)
    with pytest.raises(CheckpointError, match="checkpoint and predictions do not belong together"):
        played.versions().begin(follow=False)


def test_what_is_served_is_found_from_the_folder_of_the_run(played: PlayedRun) -> None:
    played.commit(0)
    assert source_of(played.run.path) == source_of(played.run.path, "deepfm", 0) == played.source()
    with pytest.raises(SettingError, match=r"^--arm deepfn: the run has deepfm; did you mean deepfm\?"):
        source_of(played.run.path, "deepfn")
    with pytest.raises(SettingError, match=r"^--seed 7: deepfm has 0$"):
        source_of(played.run.path, "deepfm", 7)
    for replicas, plain in ((0, False), (2, True)):
        with pytest.raises(SettingError, match=rf"^--replicas {replicas}: must be from 1 to 64, and 1 with --plain"):
            serve(played.run.path, print, replicas=replicas, plain=plain)
    with pytest.raises(RunError, match="is not the folder of a run"):
        source_of(played.folder)
    played.log.folder.rename(played.folder / "gone")
    with pytest.raises(DataError, match=r"the log that .* replayed is not there"):
        source_of(played.run.path)


def test_a_server_waits_for_no_compiler_nor_for_what_learns_alone(played: PlayedRun) -> None:
    played.commit(0)
    code = f"""
import sys
from pathlib import Path
import simulator.serve.replica
from simulator.serve.versions import Versions
from simulator.serving import source_of
Versions(source_of(Path(sys.argv[1])), print).begin(follow=False)
print(sorted({LEARNING} & set(sys.modules)))
"""
    words = [sys.executable, "-c", code, str(played.run.path)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.stdout.splitlines()[-1:] == ["[]"], done.stderr


def test_a_stored_vocabulary_finds_the_ids_of_the_log_and_is_held_to_its_hash(
    tmp_path: Path, played: PlayedRun
) -> None:
    words = stored_words(played.log, tmp_path / "words")
    held = pq.read_table(played.log.folder / "vocabulary.parquet", partitioning=None)
    names = pa.array(played.log.schema.names)
    columns = pc.index_in(held["field"], value_set=names).to_numpy()
    assert (words.find(held["text"].combine_chunks(), columns) == held["id"].to_numpy()).all()
    [user, item] = (played.log.schema.names.index(name) for name in ("user", "item"))
    found = words.find(pa.array(["no such", None, "-", "", "u1", "u1"]), pa.array([0, 0, 0, 0, user, item]).to_numpy())
    assert found.tolist()[:3] == [-1, 0, 0]
    assert found.tolist()[3] == 0
    assert found[4] > 0
    assert found[5] == -1
    [folder] = (tmp_path / "words").iterdir()
    data = bytearray((folder / "keys.npy").read_bytes())
    data[-1] ^= 1
    (folder / "keys.npy").write_bytes(data)
    with pytest.raises(DataError, match=r"keys\.npy: missing or damaged .*; delete .*, and it is made again"):
        stored_words(played.log, tmp_path / "words")
