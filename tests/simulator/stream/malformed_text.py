"""Damage to files of lines: to their bytes, their lines and their values."""

from __future__ import annotations

import gzip
import random
import re
from collections.abc import Callable, Iterator
from dataclasses import replace

from tests.simulator.stream.malformed_cases import (
    Case,
    Ingested,
    Refused,
    as_a_broken_link,
    as_a_folder,
    rewriting,
    victim_set_aside,
    writing,
)
from tests.simulator.stream.malformed_files import GoodLog, TextFile
from tests.simulator.stream.malformed_logs import TEXT

NEEDED = {  # a column that the source needs, of each file with a header
    "raw_sample.csv": "clk",
    "user_profile.csv": "age_level",
    "ad_feature.csv": "cate_id",
    "behavior_log.csv": "brand",
    "ijcai2016_taobao.csv": "act_ID",
    "round1_ijcai_18_train_20180301.txt": "is_trade",
    "df_electronics.csv": "rating",
    "ratings.csv": "rating",
    "movies.csv": "genres",
    "a.csv": "clicked",
    "user_log_format1.csv": "action_type",
    "user_info_format1.csv": "gender",
}
HARMLESS: dict[str, Callable[[bytes], bytes]] = {  # how a file may be written without a change to the log
    "Windows line ends": lambda whole: whole.replace(b"\n", b"\r\n"),
    "line ends of old Macs": lambda whole: whole.replace(b"\n", b"\r"),
    "byte order mark": lambda whole: b"\xef\xbb\xbf" + whole,
    "no line end at the end": lambda whole: whole[:-1],
}


# One reader reads all: what is not tried with every source is tried with a file without a header, and one with it.
READ_ALIKE = ("eleme", "table-csv")
OF_EVERY_SOURCE = {
    *("Windows line ends", "every value quoted", "one more column"),
    *("byte that is no UTF-8", "value too few", "quote that is never closed", "header again", "cut off within a line"),
    *("empty", "UTF-16", "lone carriage return", "as_a_folder", "as_a_broken_link"),
    *("dropped column", "column twice"),
}
OF_EVERY_FILE = {"one more column", "value too few", "empty", "as_a_broken_link", "dropped column"}


def cases() -> Iterator[Case]:
    for log, file in TEXT:
        of_file = [*_harmless(log, file), *_bad_lines(log, file), *_unreadable(log, file)]
        if file.header:
            of_file += _bad_headers(log, file)
        tried = OF_EVERY_SOURCE if file is log.files[0] else OF_EVERY_FILE
        yield from (case for case in of_file if log.name in READ_ALIKE or case.what in tried)


def _bytes(file: TextFile) -> bytes:
    return "".join(line + "\n" for line in file.lines()).encode()


def _harmless(log: GoodLog, file: TextFile) -> Iterator[Case]:
    for what, change in HARMLESS.items():
        yield Case(
            log=log, file=file.name, what=what, damage=writing(change(_bytes(file))), expected=Ingested(like=log)
        )
    if file.header:
        order = sorted(range(len(file.columns)), reverse=True)
        reordered = replace(
            file,
            columns=tuple(file.columns[i] for i in order),
            rows=tuple(tuple(row[i] for i in order) for row in file.rows),
        )
        wider = replace(file, columns=(*file.columns, "more"), rows=tuple((*row, "x") for row in file.rows))
        for what, changed in {"columns in another order": reordered, "one more column": wider}.items():
            yield Case(log=log, file=file.name, what=what, damage=rewriting(changed), expected=Ingested(like=log))
    if file.quotes:
        quoted = [file.separator.join(f'"{value.replace(chr(34), chr(34) * 2)}"' for value in row) for row in file.rows]
        head = [file.separator.join(file.columns)] if file.header else []
        content = "".join(line + "\n" for line in [*head, *quoted]).encode()
        yield Case(
            log=log, file=file.name, what="every value quoted", damage=writing(content), expected=Ingested(like=log)
        )


def _bad_lines(log: GoodLog, file: TextFile) -> Iterator[Case]:
    """The victim's line is broken, and it alone is set aside."""
    good, separator, width = file.lines()[file.line - 1].encode(), file.separator.encode(), len(file.columns)
    lines = {
        "byte that is no UTF-8": (b"\xff" + good, "not UTF-8"),
        "UTF-8 cut short": (good + b"\xe2\x82", "not UTF-8"),
        "value too few": (good.rpartition(separator)[0], f"{width} columns expected, {width - 1} found"),
        "value too many": (good + separator + b"1", f"{width} columns expected, {width + 1} found"),
        "blank line": (b"", f"{width} columns expected, 1 found"),
        "zero bytes": (b"\0" * 64, f"{width} columns expected, 1 found"),
        "megabyte": (good + separator + b"x" * 2**20, f"{width} columns expected, {width + 1} found"),
    }
    if file.quotes:
        lines["quote that is never closed"] = (b'"' + good, "a quote is out of place")
    if file.header:
        lines["header again"] = (file.lines()[0].encode(), "the header again")
    for what, (line, reason) in lines.items():
        expected = victim_set_aside(log, file, reason)
        yield Case(log=log, file=file.name, what=what, damage=writing(file.with_line(line)), expected=expected)
    cut = _bytes(file.before_victim()) + good.rpartition(separator)[0]
    yield Case(
        log=log,
        file=file.name,
        what="cut off within a line",
        damage=writing(cut),
        expected=replace(
            victim_set_aside(log, file, f"{width} columns expected, {width - 1} found"),
            like=log.having(file.before_victim()),
        ),
    )


def _unreadable(log: GoodLog, file: TextFile) -> Iterator[Case]:
    whole, name = _bytes(file), re.escape(file.name)
    first = rf"{name}: its header is not readable" if file.header else rf"bad; the first: {name}, row 1: "
    header = (
        rf"{name}: its header is not readable" if file.header else rf"{name}, row \d+: (not UTF-8|a carriage return)"
    )
    for what, content, says in (
        ("empty", b"", rf"{name}: no column '.*'; the file is empty" if file.header else "hold no rows"),
        ("zero bytes only", b"\0" * 4096, first),
        ("UTF-16", whole.decode().encode("utf-16"), header),
        ("UTF-16 without a mark", whole.decode().encode("utf-16-le"), first),
        ("random bytes", random.Random(0).randbytes(4096), header),
        ("compressed", gzip.compress(whole, mtime=0), header),
        ("lone carriage return", file.with_line(b"1,\r2"), rf"{name}, row {file.line}: a carriage return"),
    ):
        yield Case(log=log, file=file.name, what=what, damage=writing(content), expected=Refused(says=says))
    for damage in (as_a_folder, as_a_broken_link):
        yield Case(
            log=log,
            file=file.name,
            what=damage.__name__,
            damage=damage,
            expected=Refused(says=rf"{name}|holds no"),
        )


def _bad_headers(log: GoodLog, file: TextFile) -> Iterator[Case]:
    name, needed = re.escape(file.name), NEEDED[file.name]
    place = file.columns.index(needed)
    other = tuple(f"{column}_" if column == needed else column for column in file.columns)
    twice = replace(file, columns=(*file.columns, needed), rows=tuple((*row, "1") for row in file.rows))
    dropped = replace(
        file,
        columns=file.columns[:place] + file.columns[place + 1 :],
        rows=tuple(row[:place] + row[place + 1 :] for row in file.rows),
    )
    no_column = Refused(says=rf"{name}: no column ")
    for what, changed, expected in (
        ("no header", replace(file, header=False), no_column),
        ("renamed column", replace(file, columns=other), Refused(says=rf"{name}: no column '{needed}'; there are ")),
        ("dropped column", dropped, Refused(says=rf"{name}: no column '{needed}'; there are ")),
        ("column twice", twice, Refused(says=rf"{name}: column '{needed}' stands there twice")),
    ):
        yield Case(log=log, file=file.name, what=what, damage=rewriting(changed), expected=expected)
