"""What a table's values may mean besides what its settings say: refused, or told, before anybody learns from them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime

from pkb.batch import MISSING
from pkb.errors import DataError
from simulator.stream.periods import Span
from simulator.stream.raw import RawLog
from simulator.stream.requests import too_large
from simulator.stream.settings import IngestSettings
from simulator.stream.staging import Staging
from simulator.stream.times import TimeRule

Tell = Callable[[str], None]
MANY = 1_000  # rows or values from which on a share says something
ONE_USER = 0.1  # of the rows: so large a share has no person
KNOWN = 0.01  # of a history's values: so many at least should be shown as a value of its field some time


def refuse_wrong_times(staged: Staging, log: RawLog, limits: IngestSettings) -> None:
    """DataError if times are numbers of another unit, or dates written as numbers."""
    rule = log.time_rule
    if rule is None:
        return
    rows = staged.seen.rows
    far, examples = staged.seen.times("far")
    if far > limits.max_reject_share * rows:
        raise DataError(_of_wrong_times(rule, far, rows, examples))
    dated, examples = staged.seen.times("dated")
    if dated > rows / 2:
        raise DataError(_of_wrong_times(rule, dated, rows, examples))


def _of_wrong_times(rule: TimeRule, count: int, rows: int, examples: Sequence[str]) -> str:
    found = f"{count} of {rows} times, such as {examples[0]!r}, {_read_as(examples[0], rule)}"
    return f"column {rule.column!r}: {found}: {rule.remedy(examples)}"


def _read_as(example: str, rule: TimeRule) -> str:
    seconds = rule.number(example)
    try:
        if seconds is not None:
            return f"are read as {datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M} UTC"
    except (OverflowError, ValueError, OSError):  # no year that there is
        pass
    return f"are not in the years {rule.first_year} to {rule.last_year}"


def refuse_no_weight(staged: Staging, log: RawLog) -> None:
    """DataError if no row has any weight."""
    if log.weight is not None and not staged.ask("SELECT count(*) FROM staged WHERE row_weight > 0")[0][0]:
        raise DataError(
            "stream.table.weight: every row weighs 0, so that nothing would be learned; name another column, or none"
        )


def refuse_two_texts_of_an_id(staged: Staging, log: RawLog) -> None:
    """DataError if a number stands with and without a point, or was rounded when it was written."""
    if log.source != "table":
        return
    point = staged.ask(r"""
        SELECT whole.provisional, pointed.provisional, field, whole.text, pointed.text
        FROM (SELECT *, regexp_replace(text, '\.0+$', '') AS digits FROM words
              WHERE regexp_full_match(text, '-?\d+\.0+')) AS pointed
        JOIN words AS whole USING (field) WHERE whole.text = digits LIMIT 1""")
    for whole, pointed, field, digits, with_point in point:
        raise DataError(
            f"column {field!r}: {digits!r} in {_place_of(staged, log, field, whole)} and {with_point!r} in"
            f" {_place_of(staged, log, field, pointed)} would be two ids: write the column alike in every file, as"
            " integers (in pandas: dtype Int64)"
        )
    rounded = staged.ask(r"""
        SELECT provisional, field, text FROM words
        WHERE regexp_full_match(text, '-?\d(\.\d+)?e\+\d+|-?\d\.\d+[eE]\d+|-?\d{16,}\.0+') LIMIT 1""")
    for provisional, field, value in rounded:
        raise DataError(
            f"column {field!r}: {value!r} in {_place_of(staged, log, field, provisional)} is a number that was rounded"
            " when it was written, so that several ids are one: write the column as integers or as text"
        )


def _place_of(staged: Staging, log: RawLog, field: str, provisional: int) -> str:
    """File and row where a value stands first."""
    of_lists = {history.name: history.field for history in log.schema.histories}
    of_lists |= {name: name for name in log.schema.names_of("list")}
    for number, name in enumerate(log.values):
        if of_lists.get(name, name) == field:
            held = f"list_contains(v{number}, {provisional})" if name in of_lists else f"v{number} = {provisional}"
            for file, row in staged.ask(f"SELECT file, row FROM staged WHERE {held} ORDER BY file, row LIMIT 1"):
                return f"{file}, row {row}"
    return "a row that was set aside"


def tell_doubts(staged: Staging, log: RawLog, list_length: int, tell: Tell) -> None:
    """Tell which values may mean that there is none, and of which clock times were taken to be.

    Of a list, so many values are kept at the most.
    """
    if log.source != "table":  # what a known format means is known
        return
    count, examples = staged.seen.times("without_zone")
    if count and log.time_rule is not None:
        column = log.time_rule.column
        tell(f"column {column!r}: {count} times without an offset or a zone, such as {examples[0]!r}, are read as UTC")
    for (field, value), share in sorted(staged.usual().items()):
        tell(
            f"column {field!r}: '{value}' is {share:.1%} of its values, like any other; if it means that there is none,"
            " name it in stream.table.missing"
        )
    _tell_of_unknown_labels(staged, log, tell)
    _tell_of_empty_fields(staged, log, tell)
    _tell_of_one_user(staged, log, tell)
    _tell_of_strange_lists(staged, log, list_length, tell)


def _tell_of_unknown_labels(staged: Staging, log: RawLog, tell: Tell) -> None:
    for number, label in enumerate(log.schema.labels[1:], start=1):
        ((rows, unknown),) = staged.ask(f"SELECT count(*), count(*) FILTER (label{number} IS NULL) FROM staged")
        if unknown:
            tell(f"label {label!r}: {unknown} of {rows} rows do not tell it; what learns it learns it from the others")


def _tell_of_empty_fields(staged: Staging, log: RawLog, tell: Tell) -> None:
    for number, field in enumerate(log.schema.fields):
        is_there = {"category": f"v{number} > {MISSING}", "number": f"v{number} IS NOT NULL"}
        there = is_there.get(field.kind, f"len(v{number}) > 0")
        if not staged.ask(f"SELECT 1 FROM staged WHERE {there} LIMIT 1"):
            tell(f"column {field.name!r}: no row has a value there; look at how it is written, or leave it out")


def _tell_of_one_user(staged: Staging, log: RawLog, tell: Tell) -> None:
    column = f"v{log.schema.user_column}"
    found = staged.ask(f"""
        SELECT text, rows, rows / sum(rows) OVER () AS share
        FROM (SELECT {column} AS provisional, count(*) AS rows FROM staged GROUP BY 1)
        LEFT JOIN words USING (provisional) ORDER BY rows DESC, text LIMIT 1""")
    for value, rows, share in found:
        if value is not None and rows > MANY and share > ONE_USER:
            tell(
                f"column {log.schema.user!r}: {value!r} has {share:.0%} of the rows; if it means that nobody is known,"
                " name it in stream.table.missing"
            )


def _tell_of_strange_lists(staged: Staging, log: RawLog, length: int, tell: Tell) -> None:
    names = log.schema.names
    for name in log.schema.names_of("list"):
        column = f"v{names.index(name)}"
        lists, longest, example = staged.ask(f"""
            SELECT count(*), max(len({column})), min({column}[1])
            FROM (SELECT {column} FROM staged WHERE len({column}) > 0 LIMIT 100000)""")[0]
        if lists >= MANY and longest == 1 < length:
            words = staged.ask(f"SELECT text FROM words WHERE provisional = {example}")
            tell(
                f"list {name!r}: none of {lists} holds more than one value, such as {words[0][0]!r}; look at"
                " stream.table.list_separator, or name it under context"
            )
    for number, history in enumerate(log.schema.histories, start=len(names)):
        values, known = staged.ask(f"""
            SELECT count(*), count(*) FILTER (id IN (SELECT DISTINCT v{names.index(history.field)} FROM staged))
            FROM (SELECT unnest(v{number}) AS id FROM (SELECT v{number} FROM staged LIMIT 100000)) WHERE id > 0""")[0]
        if values >= MANY and known < KNOWN * values:
            tell(
                f"history {history.name!r}: {known} of {values} values are ever shown as {history.field!r}; look at"
                " stream.table.list_separator, and at how lists and values are written"
            )


def settle_requests(staged: Staging, log: RawLog, spans: Sequence[Span], tell: Tell) -> None:
    """Set apart the rows of requests that are too large for lists shown together, and tell of them."""
    if log.request is None:
        return
    apart = too_large(staged.ask, [(span.start, span.end, span.rows) for span in spans])
    if apart:
        staged.set_apart(list(apart))
        first, rows = max(apart, key=lambda request: (apart[request], request)), sum(apart.values())
        share = rows / sum(span.rows for span in spans)
        named = f"request {first!r} has" if len(apart) == 1 else f"{len(apart)} requests, such as {first!r}, have"
        tell(
            f"{named} {rows} rows ({share:.1%}), more than are shown together: each of these rows is a request of its"
            " own, and held out by itself"
        )
