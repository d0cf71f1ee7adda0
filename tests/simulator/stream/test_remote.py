"""Files that lie elsewhere are read as if they lay here; an object store is played by moto, where it is installed."""

from __future__ import annotations

import gzip
import os
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any
from uuid import uuid4

import fsspec
import pytest

from pkb.errors import DataError, SettingError
from simulator.stream.ingest import ingest
from simulator.stream.log import Log
from simulator.stream.matching import matching_files
from simulator.stream.remote import FETCHED
from simulator.stream.settings import IngestSettings, StreamSettings, TableSettings
from tests.simulator.stream.raw_files import DAY, MONDAY, write_lines

ROLES: dict[str, Any] = {"time": "t", "label": "click", "user": ["user"], "item": ["item"]}
ROWS = ["t,click,user,item", *(f"{MONDAY + day * DAY},{day % 2},u{day},i{day}" for day in range(4))]
CSV = "".join(f"{row}\n" for row in ROWS).encode()
FILES = {
    **dict.fromkeys(["a.csv", "sub/b.csv", "sub/deep/c.csv", "x y/ö.csv"], CSV),
    **{"_SUCCESS": b"", ".hidden.csv": CSV, "a.csv.tmp": CSV, "packed.csv.gz": gzip.compress(CSV)},
}
Store = Callable[[str], str]  # the address of what a pattern names in a store that holds FILES


def stream(files: Any, data: Path, root: str = "") -> StreamSettings:
    return StreamSettings(source="table", root=root, data=str(data), table=TableSettings(files=files, **ROLES))


def names(files: Any, data: Path) -> list[str]:
    return [file.name for file in matching_files(stream(files, data))]


def ingested(files: Any, data: Path, root: str = "") -> Log:
    return ingest(stream(files, data, root), IngestSettings(), lambda _: None)


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    server, boto3 = (import_module(name) for name in ("moto.server", "boto3"))  # moto plays the object store
    for key in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(key, "testing")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    store = server.ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    store.start()
    host, port = store.get_host_and_port()
    client = boto3.client("s3", endpoint_url=f"http://{host}:{port}", region_name="us-east-1")
    client.create_bucket(Bucket="logs")
    for name, content in FILES.items():
        client.put_object(Bucket="logs", Key=f"clicks/{name}", Body=content)
    yield lambda pattern: f"s3://logs/clicks/{pattern}?endpoint_override={host}:{port}&scheme=http&region=us-east-1"
    store.stop()


@pytest.fixture
def memory() -> Store:
    folder = f"/{uuid4().hex}"
    for name, content in FILES.items():
        fsspec.filesystem("memory").pipe(f"{folder}/{name}", content)
    return lambda pattern: f"memory:/{folder}/{pattern}"


@pytest.fixture
def disk(tmp_path: Path) -> Store:
    for name, content in FILES.items():
        (tmp_path / "there" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "there" / name).write_bytes(content)
    return lambda pattern: f"file://{tmp_path}/there/{pattern}"


@pytest.fixture(params=["s3", "memory", "disk"])
def store(request: pytest.FixtureRequest) -> Store:
    address: Store = request.getfixturevalue(request.param)
    return address


def test_patterns_match_in_a_store_what_they_match_in_a_folder(store: Store, disk: Store, tmp_path: Path) -> None:
    for pattern in ("*.csv", "a.csv", "**/*.csv", "sub/**", "*/*.csv", "*", "[a-b].csv", "a.csv.tmp", ".*"):
        here = disk(pattern).removeprefix("file://")
        assert names(store(pattern), tmp_path / "data") == names(here, tmp_path / "data"), pattern


def test_a_log_is_the_same_wherever_its_files_lie(store: Store, tmp_path: Path) -> None:
    write_lines(tmp_path / "raw" / "a.csv", ROWS)
    here = ingested("a.csv", tmp_path / "data", str(tmp_path / "raw"))
    there = ingested(store("a.csv"), tmp_path / "data")
    assert [period.digest for period in there.periods] == [period.digest for period in here.periods]
    packed = ingested(store("*.gz"), tmp_path / "data")
    assert [period.digest for period in packed.periods] == [period.digest for period in here.periods]


def test_a_file_is_fetched_once_and_again_when_it_has_changed(disk: Store, tmp_path: Path) -> None:
    data, original = tmp_path / "data", tmp_path / "there" / "a.csv"
    log = ingested(disk("a.csv"), data)
    [copy] = matching_files(stream(disk("a.csv"), data))
    assert copy.is_relative_to(data / FETCHED)
    assert copy.stat().st_mtime_ns == original.stat().st_mtime_ns
    written = copy.stat().st_ino
    assert ingested(disk("a.csv"), data).folder == log.folder
    assert copy.stat().st_ino == written
    copy.unlink()
    assert ingested(disk("a.csv"), data).folder == log.folder
    copy.write_bytes(b"cut short")
    assert [file.read_bytes() for file in matching_files(stream(disk("a.csv"), data))] == [CSV]
    os.utime(original, ns=(0, original.stat().st_mtime_ns + 1_000_000))
    assert ingested(disk("a.csv"), data).folder != log.folder
    assert not list((data / FETCHED).rglob("*.partial"))


def test_copies_are_no_input_of_a_pattern_that_leads_to_them(disk: Store, tmp_path: Path) -> None:
    ingested(disk("a.csv"), tmp_path / "there" / "data")
    found = matching_files(stream(f"{tmp_path}/there/**/*.csv", tmp_path / "there" / "data"))
    assert not [file for file in found if FETCHED in file.parts]


def test_what_cannot_be_had_is_one_line_without_options(store: Store, tmp_path: Path) -> None:
    with pytest.raises(DataError) as absent:
        ingested(store("none/*.csv"), tmp_path / "data")
    address = store("none/*.csv").partition("?")[0]
    assert str(absent.value) == f"stream.table.files: {address!r} matches no file"
    for address in ("s3:///a.csv", "nosuch://a/b.csv?option=1"):
        with pytest.raises(DataError, match=r"stream\.table\.files=.*: cannot be read: ") as bad:
            ingested(address, tmp_path / "data")
        assert "\n" not in str(bad.value)
        assert "option" not in str(bad.value).split("cannot be read")[0]


@pytest.mark.parametrize(
    "address", ["s3://AKIA:hidden@bucket/a.csv", "gs://hidden@bucket/a", "abfs://a/b.csv?account_key=hidden"]
)
def test_credentials_in_a_setting_are_refused_and_not_repeated(address: str) -> None:
    with pytest.raises(SettingError, match="holds credentials; put them into the environment") as refused:
        TableSettings(files=[address])
    assert "hidden" not in str(refused.value)


def test_several_patterns_are_read_in_their_order_each_file_once(disk: Store, tmp_path: Path) -> None:
    there = tmp_path / "there"
    write_lines(tmp_path / "raw" / "z.csv", ROWS)
    files = ["z.csv", f"{there}/sub/*.csv", disk("a.csv"), f"{there}/sub/**/*.csv", "../there/sub/b.csv"]
    found = matching_files(stream(files, tmp_path / "data", str(tmp_path / "raw")))
    assert [file.name for file in found] == ["z.csv", "b.csv", "a.csv", "c.csv"]
    log = ingested(files, tmp_path / "data", str(tmp_path / "raw"))
    assert log.manifest.rows_kept == 16
    assert log.manifest.name == "raw"
    alone = ingested(["z.csv"], tmp_path / "data", str(tmp_path / "raw"))
    assert alone.manifest.rows_kept == 4


def test_each_of_several_patterns_must_match(disk: Store, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"stream\.table\.files: '.*b\.csv' matches no file"):
        ingested([disk("a.csv"), f"{tmp_path}/b.csv"], tmp_path / "data")


@pytest.mark.parametrize("files", [[], 3, True, ["a.csv", 3], None, {}, {"a": []}, {"a": 3}])
def test_what_is_no_pattern_is_refused(files: Any) -> None:
    with pytest.raises(
        SettingError, match=r"files=.*: must be a pattern, a list of patterns, or either for each domain"
    ):
        TableSettings(files=files)


def test_a_root_is_a_folder() -> None:
    with pytest.raises(SettingError, match=r"root=s3://\.\.\.: must be a folder; name files that lie elsewhere in"):
        StreamSettings(source="table", root="s3://key:word@bucket/logs")
