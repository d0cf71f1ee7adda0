"""Which files a pattern finds: paths of any kind, each file once, and never what the simulator itself has written."""

from __future__ import annotations

import gzip
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from hashlib import blake2b
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pkb.errors import DataError
from simulator.stream.ingest import ingest
from simulator.stream.log import Log
from simulator.stream.matching import matching_files
from simulator.stream.settings import IngestSettings, StreamSettings, TableSettings
from tests.simulator.measure.fake_run import FakeRun
from tests.simulator.stream.raw_files import DAY, MONDAY, write_lines

ROWS = ["t,click,user,item", *(f"{MONDAY + day * DAY},{day % 2},u{day},i{day}" for day in range(4))]
ROLES: dict[str, Any] = {"time": "t", "label": "click", "user": ["user"], "item": ["item"]}


def stream(root: Path | str, files: str, data: Path | None = None) -> StreamSettings:
    return StreamSettings(
        source="table", root=str(root), data=str(data or Path(root) / "data"), table=TableSettings(files=files, **ROLES)
    )


def found(root: Path | str, files: str) -> list[str]:
    return [os.path.relpath(file, root or "/") for file in matching_files(stream(root, files, Path("data")))]


def ingested(root: Path | str, files: str, data: Path | None = None) -> Log:
    return ingest(stream(root, files, data), IngestSettings(), lambda _: None)


def refusal(root: Path | str, files: str) -> str:
    with pytest.raises(DataError) as caught:
        ingested(root, files, Path(root or "/tmp") / "data")
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.fixture
def logs(tmp_path: Path) -> Path:
    """`logs/a.csv`, `logs/sub/b.csv` and `logs/sub/deep/c.csv`."""
    for name in ("a.csv", "sub/b.csv", "sub/deep/c.csv"):
        write_lines(tmp_path / "logs" / name, ROWS)
    return tmp_path / "logs"


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ("*.csv", ["a.csv"]),
        ("./a.csv", ["a.csv"]),
        ("sub/../a.csv", ["a.csv"]),
        ("**.csv", ["a.csv"]),
        ("**/*.csv", ["a.csv", "sub/b.csv", "sub/deep/c.csv"]),
        ("sub/*", ["sub/b.csv"]),
        ("sub/**", ["sub/b.csv", "sub/deep/c.csv"]),
        ("*/", []),
        ("", []),
        (".", []),
        ("..", []),
        ("[a.csv", []),
        ("{a,b}.csv", []),
        ("[ab].csv", ["a.csv"]),
        ("?.csv", ["a.csv"]),
        ("***", ["a.csv"]),
        ("no/such/*.csv", []),
        ("a.csv/*", []),
    ],
)
def test_patterns_find_what_they_find_elsewhere_and_odd_ones_nothing(
    logs: Path, files: str, expected: list[str]
) -> None:
    assert found(logs, files) == expected
    if not expected:
        assert "stream.table.files" in refusal(logs, files)


@pytest.mark.parametrize("root", ["", "/", "elsewhere", "logs"])
@pytest.mark.parametrize("files", ["logs/*.csv", "logs/a.csv", "logs/**/a.csv"])
def test_an_absolute_pattern_needs_no_root(
    logs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, root: str, files: str
) -> None:
    monkeypatch.chdir(tmp_path)
    log = ingested(root, str(tmp_path / files), tmp_path / "data")
    assert log.manifest.rows_kept == 4
    assert ingested(root, str(tmp_path / files), tmp_path / "data").folder == log.folder


def test_a_pattern_may_lead_out_of_the_root(logs: Path) -> None:
    assert ingested(logs / "sub", "../*.csv", logs / "data").manifest.rows_kept == 4


@pytest.mark.parametrize("name", ["[1].csv", "a*.csv", "{x}.csv", "a?.csv", "a b.csv", "ö.csv", "-x.csv"])
def test_a_file_is_found_by_its_name_whatever_characters_it_has(tmp_path: Path, name: str) -> None:
    write_lines(tmp_path / "logs" / name, ROWS)
    write_lines(tmp_path / "logs" / "a1.csv", ROWS)
    assert ingested(tmp_path / "logs", name, tmp_path / "data").manifest.rows_kept == 4


@pytest.mark.parametrize("files", ["~/logs/*.csv", "~/logs/a.csv"])
def test_the_home_folder_may_stand_in_the_pattern_and_in_the_root(
    logs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, files: str
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert ingested("", files, tmp_path / "data").manifest.rows_kept == 4
    assert ingested("~/logs", "a.csv", Path("~/data")).folder.parent == tmp_path / "data"


def _same(target: Path, link: Path) -> None:
    os.link(target, link)


@pytest.mark.parametrize("link", [os.symlink, _same], ids=["soft", "hard"])
def test_a_file_that_links_lead_to_is_read_once(logs: Path, link: Callable[[Path, Path], None]) -> None:
    link(logs / "a.csv", logs / "b.csv")
    (logs / "latest").symlink_to(logs / "sub")
    (logs / "sub" / "round").symlink_to(logs)
    assert ingested(logs, "**/*.csv").manifest.rows_kept == 12


@pytest.mark.parametrize(
    "name",
    [
        *(
            ".hidden.csv",
            "_SUCCESS",
            "_temporary/a.csv",
            ".ipynb_checkpoints/a.csv",
            "a.csv.tmp",
            "a.csv.part",
            "a.csv~",
        ),
        *("a.csv.crdownload", ".a.csv.swp", ".a.csv.crc", "a.csv.partial", "my.yaml", "sub/_delta_log/0.csv"),
    ],
)
def test_what_is_hidden_or_half_written_is_found_by_its_name_alone(tmp_path: Path, name: str) -> None:
    write_lines(tmp_path / "a.csv", ROWS)
    write_lines(tmp_path / name, ROWS)
    assert found(tmp_path, "**/*") == ["a.csv"]
    assert found(tmp_path, "**") == ["a.csv"]
    assert found(tmp_path, name) == [name]
    (tmp_path / "a.csv").unlink()
    assert "left out" in refusal(tmp_path, "**/[!.]*") or name.startswith(".")


@pytest.mark.parametrize("files", ["**/*", "**/*.csv", "*/*.csv", "**/*.parquet", "*/*"])
@pytest.mark.parametrize("data", ["data", "here/logs", "."])
def test_logs_and_runs_are_never_input(tmp_path: Path, files: str, data: str) -> None:
    (tmp_path / "raw").mkdir()
    columns = [line.split(",") for line in ROWS[1:]]
    if files.endswith("parquet"):
        times, clicks, users, items = zip(*columns, strict=True)
        table = {"t": [*map(int, times)], "click": [*map(int, clicks)], "user": users, "item": items}
        pq.write_table(pa.table(table), tmp_path / "raw" / "a.parquet")
    else:
        write_lines(tmp_path / "raw" / "a.csv", ROWS)
    first = ingested(tmp_path, files, tmp_path / data)
    FakeRun(noise={"finetune": 0.9}, periods=1).write(tmp_path / "runs" / "t")
    shutil.copytree(first.folder, tmp_path / "copies" / "of-a-log")
    shutil.copytree(first.folder, first.folder.with_name("raw-01234567.partial"))
    (first.folder.with_name("raw-01234567.partial") / "manifest.json").unlink()
    assert [file.name.split(".")[0] for file in matching_files(stream(tmp_path, files, tmp_path / data))] == ["a"]
    again = ingested(tmp_path, files, tmp_path / data)
    assert again.folder == first.folder
    assert again.manifest.rows_kept == 4


def test_where_nothing_matches_the_error_says_what_lies_there(logs: Path) -> None:
    assert f"in {logs} lie a.csv, sub/" in refusal(logs, "*.parquet")
    assert f"in {logs}/sub lie b.csv, deep/" in refusal(logs, "sub/*.parquet")
    assert f"in {logs}/sub lie b.csv, deep/" in refusal("", f"{logs}/sub/*.parquet")
    assert f"there is no {logs}/nowhere" in refusal(logs / "nowhere", "*.csv")
    assert f"{logs}/a.csv is a file: set stream.root to its folder" in refusal(logs / "a.csv", "*.csv")
    assert "write ${oc.env:NAME} for $NAME" in refusal("$HOME/logs", "*.csv")
    for number in range(9):
        write_lines(logs / f"x{number}.csv", ROWS)
    assert "a.csv, sub/, x0.csv, x1.csv, x2.csv and 6 more" in refusal(logs, "*.parquet")


@pytest.mark.parametrize("ending", [".PARQUET", ".Pq", ".parquet"])
def test_parquet_is_known_by_its_ending_in_any_capitals(tmp_path: Path, ending: str) -> None:
    times = [MONDAY, MONDAY + DAY]
    table = pa.table({"t": times, "click": [0, 1], "user": ["u", "v"], "item": ["i", "j"]})
    pq.write_table(table, tmp_path / f"a{ending}")
    assert ingested(tmp_path, f"*{ending}").manifest.rows_kept == 2


@pytest.mark.parametrize("ending", [".csv", ".CSV", ".txt", ".tsv", ".csv.gz", ".CSV.GZ", ".csv.zst", ".log"])
def test_any_other_file_is_text_packed_or_not(tmp_path: Path, ending: str) -> None:
    data = "".join(line + "\n" for line in [*ROWS, "bad"]).encode()
    if ending.lower().endswith(".gz"):
        data = gzip.compress(data)
    if ending.endswith(".zst"):
        data = pa.compress(data, codec="zstd", asbytes=True)
    (tmp_path / f"a{ending}").write_bytes(data)
    log = ingest(stream(tmp_path, "a*"), IngestSettings(max_reject_share=0.5), lambda _: None)
    assert (log.manifest.rows_kept, log.manifest.rows_rejected) == (4, 1)
    assert pq.read_table(log.folder / "rejects.parquet").to_pylist() == [
        {"file": f"a{ending}", "row": 6, "reason": "4 columns expected, 1 found"}
    ]


@pytest.mark.parametrize("ending", [".csv.bz2", ".zip", ".csv.xz", ".tgz", ".csv.tar.gz", ".7z", ".CSV.BZ2"])
def test_a_file_that_is_packed_otherwise_is_to_be_unpacked(tmp_path: Path, ending: str) -> None:
    (tmp_path / f"a{ending}").write_bytes(b"PK")
    assert "unpack it, or pack it as .gz or .zst" in refusal(tmp_path, "a*")


@pytest.mark.parametrize("ending", [".csv.gz", ".csv.zst"])
def test_a_packed_file_that_is_damaged_is_named(tmp_path: Path, ending: str) -> None:
    (tmp_path / f"a{ending}").write_bytes(b"no such packing" * 20)
    assert f"a{ending}" in refusal(tmp_path, "a*")


@pytest.mark.parametrize("times", [{}, {"time": "row"}], ids=["times", "rows"])
@pytest.mark.parametrize("ending", [".csv.gz", ".csv.zst"])
def test_a_packed_file_that_ends_early_is_not_taken_for_a_shorter_one(
    tmp_path: Path, ending: str, times: dict[str, Any]
) -> None:
    """As a copy that broke off leaves it; its first lines can be read."""
    lines = [*ROWS, *(f"{MONDAY + 4 * DAY},1,u{blake2b(b'%d' % n).hexdigest()},i" for n in range(10_000))]
    data = "\n".join(lines).encode()
    whole = gzip.compress(data) if ending == ".csv.gz" else pa.compress(data, codec="zstd", asbytes=True)
    (tmp_path / f"a{ending}").write_bytes(whole[: len(whole) * 3 // 4])
    asked = stream(tmp_path, "a*")
    cut: dict[str, Any] = {"period": "1000rows"} if times else {}
    with pytest.raises(DataError, match=rf"a{ending}: cannot be read to its end: .*; copy or pack it anew"):
        ingest(replace(asked, table=replace(asked.table, **times), **cut), IngestSettings(), lambda _: None)
