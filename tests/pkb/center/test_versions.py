"""Versions in a folder: complete or not there, five at most, checked by their hashes, swapped while they are asked."""

from __future__ import annotations

import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from pkb.center import Answer, Center, MissingVersionError, Version
from pkb.center.manifest import MANIFEST
from pkb.center.writing import folder_of, new_version, rewind, versions_in
from pkb.errors import DataError, RunError
from tests.pkb.center.says import numbers_in, publish, someone

SWAPS = 20


def test_the_newest_version_answers_unless_another_is_named(tmp_path: Path) -> None:
    for version in (2, 5):
        publish(tmp_path, version)
    center = Center(tmp_path)
    for asked, expected in ((None, 5), (5, 5), (2, 2)):
        answer = center.ask(*someone(), version=asked)
        assert answer.version == expected
        assert numbers_in(answer) == {expected}
        assert {name: part.shape for name, part in answer.knowledge.items()} == {
            "of_user": (8, 1, 4),
            "of_item": (8, 2, 2),
            "of_pair": (8, 1, 3),
        }
        assert all(part.dtype == np.float32 for part in answer.knowledge.values())


def test_of_more_than_five_versions_the_oldest_leaves(tmp_path: Path) -> None:
    for version in range(7):
        publish(tmp_path, version)
    assert versions_in(tmp_path) == [2, 3, 4, 5, 6]
    publish(tmp_path, 9, keep=2)
    assert versions_in(tmp_path) == [6, 9]
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["building", "version-00006", "version-00009"]


def test_a_missing_version_is_told_with_those_that_there_are(tmp_path: Path) -> None:
    with pytest.raises(MissingVersionError, match="there is no version; build one first"):
        Center(tmp_path).ask(*someone())
    for version in (3, 4):
        publish(tmp_path, version)
    with pytest.raises(MissingVersionError, match=r"there is no version 2; there are 3, 4$"):
        Center(tmp_path).ask(*someone(), version=2)


def test_a_version_that_is_open_answers_on_after_it_has_left(tmp_path: Path) -> None:
    publish(tmp_path, 0)
    center = Center(tmp_path)
    pinned = center.version(0)
    for version in range(1, 7):
        publish(tmp_path, version)
    assert numbers_in(Answer(version=0, knowledge=pinned.knowledge(*someone()))) == {0}
    center.refresh()
    assert [version.number for version in center.versions] == [2, 3, 4, 5, 6]
    with pytest.raises(MissingVersionError):
        center.version(0)


@pytest.mark.parametrize("version", [3, 2, -1])
def test_versions_ascend(tmp_path: Path, version: int) -> None:
    publish(tmp_path, 3)
    with pytest.raises(DataError, match=rf"version {version} cannot follow 3;"):
        publish(tmp_path, version)
    assert numbers_in(Center(tmp_path).ask(*someone())) == {3}


def test_what_is_to_be_built_again_is_removed_first(tmp_path: Path) -> None:
    for version in range(4):
        publish(tmp_path, version)
    rewind(tmp_path, 1)
    assert versions_in(tmp_path) == [0, 1]
    publish(tmp_path, 2)
    rewind(tmp_path / "nothing", 1)


FILES = [
    *(MANIFEST, "roster.safetensors", "user.keys", "item.keys", "pair.keys"),
    *("of_user.values", "of_item.values", "of_pair.values"),
]


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("where", [0.0, 0.5, 1.0])
def test_one_flipped_byte_has_a_version_refused_with_the_name_of_its_file(
    tmp_path: Path, name: str, where: float
) -> None:
    for version in (1, 2):
        publish(tmp_path, version)
    file = folder_of(tmp_path, 2) / name
    raw = bytearray(file.read_bytes())
    raw[round(where * (len(raw) - 1))] ^= 1
    file.write_bytes(raw)
    center = Center(tmp_path)
    center.refresh()
    assert center.ask(*someone()).version == 1, "the others answer"
    assert name in center.refused[2]
    with pytest.raises(DataError, match=f"version-00002/{name}.*damaged"):
        center.ask(*someone(), version=2)
    shutil.rmtree(folder_of(tmp_path, 1))
    with pytest.raises(DataError, match=f"version-00002/{name}.*damaged"):
        Center(tmp_path).ask(*someone())


@pytest.mark.parametrize("name", FILES)
def test_a_file_that_is_gone_or_cut_short_is_named(tmp_path: Path, name: str) -> None:
    publish(tmp_path, 0)
    file = folder_of(tmp_path, 0) / name
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(DataError, match=name):
        Version.open(folder_of(tmp_path, 0))
    file.unlink()
    with pytest.raises(DataError, match=name):
        Version.open(folder_of(tmp_path, 0))


def test_all_files_of_a_version_are_known_to_its_manifest(tmp_path: Path) -> None:
    publish(tmp_path, 0)
    assert sorted(file.name for file in folder_of(tmp_path, 0).iterdir()) == sorted(FILES)


def test_a_build_that_is_killed_leaves_the_former_versions_whole_and_is_cleaned_away(tmp_path: Path) -> None:
    for version in (0, 1):
        publish(tmp_path, version)
    building = subprocess.Popen([sys.executable, "-m", "tests.pkb.center.says", str(tmp_path), "2"])
    aside = tmp_path / ".version-00002.partial"
    try:
        deadline = time.monotonic() + 60
        while not (aside / "of_user.values").exists():
            assert building.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.05)
        with pytest.raises(RunError, match="another process builds"):
            publish(tmp_path, 2)
    finally:
        building.kill()
        building.wait()
    assert aside.exists(), "it was killed in the middle"
    center = Center(tmp_path)
    assert versions_in(tmp_path) == [0, 1]
    for version in (0, 1):
        assert numbers_in(center.ask(*someone(), version=version)) == {version}
    publish(tmp_path, 2)
    assert not aside.exists()
    assert numbers_in(Center(tmp_path).ask(*someone())) == {2}


def test_a_build_that_fails_leaves_nothing(tmp_path: Path) -> None:
    publish(tmp_path, 0)
    with pytest.raises(ZeroDivisionError), new_version(tmp_path, 1):
        raise ZeroDivisionError
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["building", "version-00000"]


def test_versions_are_swapped_while_threads_ask_and_no_answer_is_of_two(tmp_path: Path) -> None:
    publish(tmp_path, 0)
    center, over, wrong = Center(tmp_path), threading.Event(), list[str]()
    asked, seen = [0] * 4, set[int]()
    pinned = center.version(0)

    def ask(number: int) -> None:
        while not over.is_set():
            try:
                answer = center.ask(*someone())
            except Exception as error:
                wrong.append(repr(error))
                return
            if numbers_in(answer) != {answer.version}:
                wrong.append(f"version {answer.version} says {numbers_in(answer)}")
            if numbers_in(Answer(version=0, knowledge=pinned.knowledge(*someone()))) != {0}:
                wrong.append("the pinned version has other answers")
            seen.add(answer.version)
            asked[number] += 1

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(len(asked))]
    for thread in threads:
        thread.start()
    for version in range(1, 1 + SWAPS):
        publish(tmp_path, version)
        center.refresh()
        time.sleep(0.01)
    over.set()
    for thread in threads:
        thread.join()
    assert not wrong
    assert len(seen) > SWAPS / 2
    assert min(asked) > SWAPS
    assert center.ask(*someone()).version == SWAPS
