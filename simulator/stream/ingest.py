"""Raw files -> the log on disk, once: a log that is there is found again by the fingerprint in its name.

    find the raw files       a source of `sources/`, or the synthetic world
    read, check, sort        staging.py
    cut into periods         periods.py
    compute features         deriving.py, held to their definition by by_definition.py
    measure numbers, vectors knots.py
    give ids, write          writing.py
    sync, rename             here

An ingest is atomic and repeatable: it works in `<log>.partial`, which a rename turns into the log, and the
same input gives the same bytes. What a killed ingest has left behind, the next one removes.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Protocol

from pkb.errors import DataError, SettingError
from simulator.config.typed import plain
from simulator.record.files import becoming
from simulator.record.full_disk import full_disk
from simulator.stream import world
from simulator.stream.by_definition import guard
from simulator.stream.checking import checked_rows
from simulator.stream.deriving import derive
from simulator.stream.doubts import (
    refuse_no_weight,
    refuse_two_texts_of_an_id,
    refuse_wrong_times,
    settle_requests,
    tell_doubts,
)
from simulator.stream.featured import tell_of_settings, with_clock, with_numbers
from simulator.stream.knots import measured
from simulator.stream.log import Log, Manifest
from simulator.stream.matching import folder_of, lies_there
from simulator.stream.negatives import tell_fewer, with_drawn_negatives
from simulator.stream.packed import require_whole
from simulator.stream.periods import Cut, cut_of, skipped, thinned
from simulator.stream.raw import RawLog, shown
from simulator.stream.settings import IngestSettings, StreamSettings
from simulator.stream.sources import (
    alidisplay,
    alipay,
    ebnerd,
    eleme,
    iaac,
    marketbias,
    movielens,
    table,
    taobao,
    tmall,
)
from simulator.stream.staging import Staging, staging
from simulator.stream.writing import write_periods, write_rejects

WORK = "work"  # a folder of what is gone when the log is there
FORMAT = 5  # to be raised whenever the same input gives another log
UNLESS_SET = ("numeric", "lists", "vectors", "explode", "label_time", "weight")  # else a log without is not found again


class Source(Protocol):
    """A module that knows one raw format."""

    ABSENT: str  # what is said of a root without its files, and where to get them
    SHAPED_BY: tuple[str, ...]  # settings of the stream that only this source reads, so that they are part of its log

    def find(self, stream: StreamSettings) -> tuple[Path, ...]:
        """The raw files; none if the root holds none."""

    def describe(self, stream: StreamSettings, files: tuple[Path, ...]) -> RawLog:
        """What their rows mean; DataError names a file and a column that it does not have."""


SOURCES: dict[str, Source] = {
    "alidisplay": alidisplay,
    "alipay": alipay,
    "ebnerd": ebnerd,
    "eleme": eleme,
    "iaac": iaac,
    "marketbias": marketbias,
    "movielens": movielens,
    "table": table,
    "taobao": taobao,
    "tmall": tmall,
}


def ingest(stream: StreamSettings, limits: IngestSettings, report: Callable[[str], None]) -> Log:
    """The log that `stream` asks for, built if it is not there; `report` takes one-line notices.

    DataError if raw files or columns are absent, too many rows are bad, or a period is empty.
    """
    cut = cut_of(stream)
    source, files = _find(stream, report)
    own = {"table": folder_of(stream).resolve().name or "table", "world": f"{stream.world.preset}-synthetic"}
    name = own.get(source, source)
    tell_of_settings(stream, report)
    fingerprint = _fingerprint(source, name, stream, cut, files)
    data = Path(stream.data)
    if "?" in str(data.resolve()):  # the engine would look for its own files elsewhere
        raise SettingError(f"stream.data={stream.data}: the path {data.resolve()} must be one without '?'")
    folder = data / f"{name}-{fingerprint[:8]}"
    with _alone_in(data, report), _told_of_full_disk(data, files):
        if not folder.exists():
            aside = folder.with_name(f"{folder.name}.partial")  # which the next ingest knows, should this one be killed
            with becoming(folder, aside) as partial, _staged(source, files, partial, stream, limits, cut) as staged_raw:
                raw, staged = staged_raw
                rows_in, rejected = staged.count()
                for why, rows in sorted(staged.left_out.items()):
                    report(f"{rows} raw rows are left out: {why}")
                refuse_wrong_times(staged, raw, limits)
                _check_rejects(staged, limits, report)
                refuse_two_texts_of_an_id(staged, raw)
                refuse_no_weight(staged, raw)
                spans = cut.spans(staged.counts(cut.number))
                if empty := skipped(cut, spans):
                    report(empty)
                tell_doubts(staged, raw, stream.lists.length, report)
                tell_fewer(staged, stream.negatives, report)
                settle_requests(staged, raw, spans, report)
                derived = derive(staged, raw, stream, spans, partial / WORK)
                guard(staged, stream)
                schema = measured(with_numbers(raw.schema, stream), derived, spans, stream.numbers.bins)
                periods = write_periods(staged, schema, spans, partial, derived.tables())
                write_rejects(staged, partial)
                kept = sum(period.rows for period in periods)
                assert rows_in == kept + rejected, f"{rows_in} rows read, {kept} kept, {rejected} rejected"
                if not all(map(Path.exists, files)) or _fingerprint(source, name, stream, cut, files) != fingerprint:
                    raise DataError(f"{stream.root}: the raw files changed while they were read; run again")
                manifest = Manifest(
                    name=name,
                    source=source,
                    fingerprint=fingerprint,
                    rows_in=rows_in,
                    rows_kept=kept,
                    rows_rejected=rejected,
                    periods=periods,
                    missing=raw.missing,
                )
                (partial / "schema.json").write_text(schema.to_json(), encoding="utf-8")
                (partial / "manifest.json").write_text(manifest.to_json(), encoding="utf-8")
    return Log(folder)


def _find(stream: StreamSettings, report: Callable[[str], None]) -> tuple[str, tuple[Path, ...]]:
    """The source to read and its raw files; the world where it stands in for files that are absent."""
    if stream.source == "world":
        _check_preset(stream)
        return "world", ()
    source = SOURCES[stream.source]
    if files := source.find(stream):
        return stream.source, files
    absent = f"stream.root={stream.root!r} {source.ABSENT.format(files=stream.table.files)}{lies_there(stream)}"
    if stream.when_missing == "error":
        raise DataError(absent)
    _check_preset(stream)
    if stream.source not in world.PRESETS:
        raise SettingError(
            f"stream.when_missing=synthetic: no synthetic world has the shape of {stream.source}; and {absent}"
        )
    if stream.world.preset != stream.source:
        raise SettingError(
            f"stream.world.preset={stream.world.preset}: must be {stream.source} to stand in for it; and {absent}"
        )
    report(f"{absent}; replaying the synthetic world {stream.world.preset}-synthetic instead")
    return "world", ()


def _check_preset(stream: StreamSettings) -> None:
    if stream.world.preset not in world.PRESETS:
        raise SettingError(f"stream.world.preset={stream.world.preset}: is none of {', '.join(world.PRESETS)}")


def _fingerprint(source: str, name: str, stream: StreamSettings, cut: Cut, files: tuple[Path, ...]) -> str:
    """Hash the raw files (name, size, time of change) and every setting that shapes the log."""
    shape: dict[str, Any] = {
        "format": FORMAT,
        "source": source,
        "name": name,
        "files": [[shown(file, Path(stream.root)), file.stat().st_size, file.stat().st_mtime_ns] for file in files],
        "cut": [type(cut).__name__, asdict(cut)],
        "target_share": stream.split.target_share if stream.protocol == "split" else None,
        "history_length": stream.history_length,
        "time_unit": None,  # these stand here for every source, so that a log which is there is found again
        "world": None,
        "table": None,
    }
    if source == "world":
        shape["world"] = [asdict(stream.world), stream.period, stream.utc_offset_hours]
    else:
        shape |= {name: plain(getattr(stream, name)) for name in SOURCES[source].SHAPED_BY}
        if stream.negatives.per_positive:
            shape["negatives"] = plain(stream.negatives)
    if stream.features:
        clock = [stream.label_delay_seconds, stream.utc_offset_hours]
        counted = ["when due"] if source == "table" and stream.table.label_time else []  # once when their labels came
        shape["features"] = [[asdict(f) for f in stream.derived], clock, *counted]
    if source == "table":
        if stream.table.lists:
            shape["lists"] = plain(stream.lists)
        for name in UNLESS_SET:
            if not shape["table"][name]:
                del shape["table"][name]
    if (source == "table" and stream.table.numeric) or any(feature.is_number for feature in stream.derived):
        shape["numbers"] = plain(stream.numbers)
    return hashlib.blake2b(json.dumps(shape, sort_keys=True).encode(), digest_size=16).hexdigest()


def _check_rejects(staged: Staging, limits: IngestSettings, report: Callable[[str], None]) -> None:
    """DataError if there is no good row or there are too many bad ones; else a notice of the bad ones."""
    rows_in, rejected = staged.count()
    if rows_in == 0:
        raise DataError("the raw files hold no rows, or all are left out")
    if rejected == 0:
        return
    first = staged.first_reject()
    what = (
        f"{rejected} of {rows_in} rows ({rejected / rows_in:.2%}) are bad;"
        f" the first: {first.file}, row {first.row}: {first.reason}"
    )
    if rejected == rows_in:
        raise DataError(what)
    if rejected > limits.max_reject_share * rows_in:
        raise DataError(f"{what}; ingest.max_reject_share={limits.max_reject_share} allows fewer")
    report(f"{what}; they are set aside in rejects.parquet of the log")


@contextmanager
def _staged(
    source: str, files: tuple[Path, ...], partial: Path, stream: StreamSettings, limits: IngestSettings, cut: Cut
) -> Iterator[tuple[RawLog, Staging]]:
    """The raw log and its checked rows; what the work needs on disk is gone when the block ends."""
    work = partial / WORK
    work.mkdir()
    if source == "world":
        raw = world.generate(stream, work)
    else:
        raw = with_drawn_negatives(SOURCES[source].describe(stream, files), stream.negatives, cut)
        require_whole(files)
    raw = replace(with_clock(raw, stream), files=files)
    query = checked_rows(thinned(raw, stream), stream.history_length, stream.lists.length)
    with staging(raw, work, limits, query) as staged:
        yield raw, staged
    shutil.rmtree(work)


@contextmanager
def _told_of_full_disk(data: Path, files: tuple[Path, ...]) -> Iterator[None]:
    """Whoever runs out of room writes: the engine, or Arrow."""
    try:
        yield
    except (DataError, OSError) as error:
        raw = sum(file.stat().st_size for file in files)
        full = full_disk(str(error), data, needs=raw, what=f"an ingest of {raw / 1e6:,.1f} MB")
        if full is None:
            raise
        raise DataError(f"stream.data={data}: {full}") from error


@contextmanager
def _alone_in(data: Path, report: Callable[[str], None]) -> Iterator[None]:
    """No other ingest works in the folder of logs meanwhile; what killed ones have left there is removed."""
    data.mkdir(parents=True, exist_ok=True)
    handle = os.open(data, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            report(f"{data}: another ingest is at work there; waiting for it")
            fcntl.flock(handle, fcntl.LOCK_EX)
        for left in data.glob(f"*-{'[0-9a-f]' * 8}.partial"):
            shutil.rmtree(left)
        yield
    finally:
        os.close(handle)
