"""What an ingest by the proposed settings would make of the log: rejects, doubts, and what each period shows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from pkb.errors import DataError
from simulator.inspect.sample import is_sampled
from simulator.stream.checking import checked_rows
from simulator.stream.doubts import refuse_two_texts_of_an_id, refuse_wrong_times, settle_requests, tell_doubts
from simulator.stream.ingest import SOURCES
from simulator.stream.periods import Cut, Span, clock, cut_of, skipped, width_seconds
from simulator.stream.raw import RawLog
from simulator.stream.settings import IngestSettings, StreamSettings
from simulator.stream.staging import Staging, staging

FEWEST, MOST = 5, 30  # periods that have rows
WIDTHS = (  # likelier ones first
    *("1d", "1h", "7d", "6h", "12h", "30d", "15m", "5m", "1m", "2d", "14d", "2h", "3h", "91d", "182d", "365d"),
    *("730d", "1095d"),
)
THIN = 0.05  # of the rows of an average period: a shorter one tells little, and its holdout may be empty
IN_ROWS = 10  # periods that a log is cut into by rows
EMPTY = 0.2  # of the periods may have no rows
OF_LIST = 2  # values of a list that are kept, which tell whether any holds more than one


@dataclass(frozen=True, kw_only=True)
class Shown:
    """What one period shows."""

    start: str
    rows: int
    positives: int
    users: int
    new_users: int
    items: int
    new_items: int


@dataclass(frozen=True, kw_only=True)
class Survey:
    """What was found, of the whole log or of a sample."""

    stream: StreamSettings  # with the period
    rows: int
    rejected: int
    positives: int
    one_in: int  # stretches of rows, of which one was read
    periods: tuple[Shown, ...]
    why_period: str
    notes: list[str] = field(default_factory=list)
    stops: list[str] = field(default_factory=list)  # why an ingest would refuse the log


def survey(stream: StreamSettings, files: tuple[Path, ...], one_in: int, folder: Path) -> Survey:
    """Read one stretch in `one_in` as an ingest would; the engine works in `folder`. DataError if it cannot begin."""
    source = stream.source
    raw = replace(SOURCES[source].describe(stream, files), files=files)
    if one_in > 1:
        raw = replace(raw, relation=f"SELECT * FROM ({raw.relation}) WHERE {is_sampled(one_in)}")
    limits = IngestSettings()
    notes: list[str] = []
    stops: list[str] = []
    with staging(raw, folder, limits, checked_rows(raw, history_length=1, list_length=OF_LIST)) as staged:
        rows_in, rejected = staged.count()
        notes += [f"{rows} raw rows are left out: {why}" for why, rows in sorted(staged.left_out.items())]
        checks = (partial(refuse_wrong_times, staged, raw, limits), partial(refuse_two_texts_of_an_id, staged, raw))
        for refuse in checks:
            try:
                refuse()
            except DataError as error:
                stops.append(str(error))
        if rejected:
            first = staged.first_reject()
            told = f"{rejected} of {rows_in} rows ({rejected / rows_in:.2%}) are bad; the first: {first.file}, row"
            told += f" {first.row}: {first.reason}"
            (stops if rejected > limits.max_reject_share * rows_in else notes).append(told)
        if rejected == rows_in:
            raise DataError("; ".join(stops) or "the files hold no rows")
        period, why = _period(staged, stream)
        stream = replace(stream, period=period)
        cut = cut_of(stream)
        counts = staged.counts(cut.number)
        try:
            spans = cut.spans(counts)
        except DataError as error:
            stops.append(str(error))
            spans = []
        if spans:
            notes += [note] if (note := skipped(cut, spans)) else []
            tell_doubts(staged, raw, OF_LIST, notes.append)
            settle_requests(staged, raw, spans, notes.append)
        positives = sum(count.positives for count in counts)
        return Survey(
            stream=stream,
            rows=rows_in,
            rejected=rejected,
            positives=positives,
            one_in=one_in,
            periods=tuple(_shown(staged, raw, cut, spans, stream)),
            why_period=why,
            notes=notes,
            stops=stops,
        )


def _period(staged: Staging, stream: StreamSettings) -> tuple[str, str]:
    """A width with which the log has some periods, and few of them without rows; or a number of rows."""
    rows, rejected = staged.count()
    offset = stream.utc_offset_hours * 3600
    widths = {width: width_seconds(width) for width in WIDTHS}
    if not stream.by_row:
        counted = ", ".join(
            f"count(DISTINCT floor((ts + {offset}) / {seconds})),"
            f" max(floor((ts + {offset}) / {seconds})) - min(floor((ts + {offset}) / {seconds})) + 1"
            for seconds in widths.values()
        )
        (found,) = staged.ask(f"SELECT {counted} FROM (SELECT DISTINCT ts FROM staged)")
        spanned = dict(zip(widths, zip(found[::2], found[1::2], strict=True), strict=True))
        fitting = [w for w, (n, of) in spanned.items() if FEWEST <= n <= MOST and of - n <= EMPTY * of]
        full = (w for w in fitting if _thinnest(staged, widths[w], offset) >= THIN * (rows - rejected) / spanned[w][0])
        if width := next(full, next(iter(fitting), None)):
            held, of = spanned[width]
            return width, f"{held} periods have rows" + (f", {int(of - held)} more have none" if of > held else "")
    size = max(1, (rows - rejected) // IN_ROWS)
    why = "no width of time gives 5 to 30 periods with rows" if not stream.by_row else "there are no times"
    return f"{size}rows", f"{why}: a tenth of the rows"


def _thinnest(staged: Staging, seconds: int, offset: int) -> int:
    """The rows of the period that has fewest, the last one aside, which the end of the log may cut."""
    found = staged.ask(f"""
        SELECT floor((ts + {offset}) / {seconds}) AS number, count(*) AS rows FROM staged GROUP BY 1 ORDER BY 1""")
    return int(min(rows for _, rows in found[:-1]))


def _shown(staged: Staging, raw: RawLog, cut: Cut, spans: Sequence[Span], stream: StreamSettings) -> list[Shown]:
    if not spans:
        return []
    user, item = (f"v{raw.schema.names.index(name)}" for name in (raw.schema.user, raw.schema.item))
    starts = [span.start for span in spans]
    counted = ", ".join(
        f"count(DISTINCT {v}) FILTER ({v} > 0), count(DISTINCT {v}) FILTER (first_{v} = place AND {v} > 0)"
        for v in (user, item)
    )
    found = staged.ask(f"""
        WITH placed AS (
            SELECT {user}, {item}, place FROM staged
            ASOF JOIN (SELECT unnest({starts}) AS start, unnest(range({len(starts)})) AS place) ON ts >= start)
        SELECT place, {counted}
        FROM (SELECT *, min(place) OVER (PARTITION BY {user}) AS first_{user},
                  min(place) OVER (PARTITION BY {item}) AS first_{item} FROM placed)
        GROUP BY place ORDER BY place""")
    return [
        Shown(
            start=f"row {1 + sum(s.rows for s in spans[:place])}" if stream.by_row else _clock(spans[place], stream),
            rows=spans[place].rows,
            positives=spans[place].positives,
            users=users,
            new_users=new_users,
            items=items,
            new_items=new_items,
        )
        for place, users, new_users, items, new_items in found
    ]


def _clock(span: Span, stream: StreamSettings) -> str:
    return clock(span.start, stream.utc_offset_hours)
