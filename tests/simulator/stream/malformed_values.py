"""Values in one row of lines, well written but wrong or odd: labels, times, ids, keys, lists."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from tests.simulator.stream.malformed_cases import Case, Ingested, Refused, rewriting, victim_set_aside
from tests.simulator.stream.malformed_files import GoodLog, TextFile
from tests.simulator.stream.malformed_logs import GOOD

TOO_LATE = "is not in the years 1970 to 9999; look at the unit of time"
OTHER_YEARS = "is not in the years 2000 to 2100"
DOES_NOT_PARSE = "does not parse"
SECONDS: dict[str, str | None] = {
    "": None,
    "-1": TOO_LATE,
    "9223372036854775807": TOO_LATE,
    "9223372036854775808": DOES_NOT_PARSE,
    "nan": DOES_NOT_PARSE,
    "noon": DOES_NOT_PARSE,
}
WHEN: dict[str, Mapping[str, str | None]] = {  # what is said of a time, of each main file
    "alidisplay": SECONDS,
    "alipay": dict.fromkeys(("-1", "20151131", "2015-11-30", "201507010", "20150701.5", "nan"), DOES_NOT_PARSE),
    "eleme": SECONDS,
    "iaac": SECONDS,
    "marketbias": {
        "": None,
        "1999-06-31": DOES_NOT_PARSE,
        "929232000": DOES_NOT_PARSE,
        "nan": DOES_NOT_PARSE,
        "1899-06-13": TOO_LATE,
        "infinity": DOES_NOT_PARSE,
        "12000-01-01": TOO_LATE,
    },
    "movielens": SECONDS,
    "table-csv": SECONDS
    | {"2022-02-30": DOES_NOT_PARSE, "1899-06-13": TOO_LATE}
    | dict.fromkeys(("epoch", "0", "20220103", "1999-12-31 23:59:59", "4133980800"), OTHER_YEARS),
    "taobao": SECONDS
    | dict.fromkeys(("-1", "9223372036854775807", "1505000000"), "is not in 2017-11-25 to 2017-12-03, UTC+8"),
    "tmall": dict.fromkeys(("-1", "1", "11111", "0230", "1301", "8.29", "nan"), DOES_NOT_PARSE),
}
TIME = {
    "alidisplay": "time_stamp",
    "alipay": "time",
    "eleme": "times",
    "iaac": "context_timestamp",
    "marketbias": "timestamp",
    "movielens": "timestamp",
    "table-csv": "shown_at",
    "taobao": "timestamp",
    "tmall": "time_stamp",
}
FAR = {
    "alidisplay": ("4102444800", "253402300799"),
    "alipay": ("20990101", "99991231"),
    "eleme": ("4102444800", "0"),
    "marketbias": ("2099-01-01", "9999-12-31 23:59:59", "1970-01-01"),
    "table-csv": ("4102444800", "946684800"),
}
LABEL = {"alidisplay": "clk", "eleme": "label", "iaac": "is_trade", "table-csv": "clicked"}
LABELS = ("nan", "2", "-1", "inf", "yes")
CHOICE = {
    "alipay": ("act_ID", "0, 1"),
    "taobao": ("behavior", "pv, cart, fav, buy"),
    "tmall": ("action_type", "0, 1, 2, 3"),
}
CHOICES = ("", "-1", "nan", "PV")
RATING = {"marketbias": "rating", "movielens": "rating"}
RATINGS = ("", "-1", "6", "nan", "4,5")
FREE = {  # a column that may hold any text
    "alidisplay": "pid",
    "alipay": "use_ID",
    "eleme": "user_id",
    "iaac": "user_id",
    "marketbias": "user_id",
    "movielens": "userId",
    "table-csv": "user_id",
    "taobao": "user_id",
    "tmall": "seller_id",
}
TEXTS = {
    "nothing": "",
    "negative": "-7",
    "beyond 64 bits": "9223372036854775808",
    "fraction": "1.50",
    "not a number": "NaN",
    "no ASCII": "ünï-用户-🙂",
    "SQL": "'; DROP TABLE staged; --",
    "path": "../../etc/passwd",
    "shell": "$(reboot)",
    "zero byte": "a\0b",
    "blanks": "  7\t",
    "long": "x" * 10_000,
}
KEY = {
    "user_profile.csv": "userid",
    "ad_feature.csv": "adgroup_id",
    "round1_ijcai_18_train_20180301.txt": "instance_id",
    "movies.csv": "movieId",
    "user_info_format1.csv": "user_id",
}


def cases() -> Iterator[Case]:
    for name, log in GOOD.items():
        main = log.files[0]
        if isinstance(main, TextFile):
            yield from _bad_times(log, main, TIME[name])
            yield from _far_times(log, main, TIME[name])
            yield from _bad_labels(log, main)
            yield from _odd_texts(log, main, FREE[name])
            yield from _too_many(log, main)
        for file in log.files:
            if isinstance(file, TextFile):
                yield from _repeated(log, file)
    yield from _lists()


def _with_value(log: GoodLog, file: TextFile, column: str, value: str, expected: Refused | Ingested) -> Case:
    damage = rewriting(file.with_value(column, value))
    return Case(log=log, file=file.name, what=f"{column} {value[:24]!r}", damage=damage, expected=expected)


def _bad_times(log: GoodLog, file: TextFile, column: str) -> Iterator[Case]:
    for value, what in WHEN[log.name].items():
        reason = "no time" if what is None else f"time '{value}' {what}"
        yield _with_value(log, file, column, value, victim_set_aside(log, file, reason))


def _far_times(log: GoodLog, file: TextFile, column: str) -> Iterator[Case]:
    """A time that is one, but lies where no other row does."""
    for value in FAR.get(log.name, ()):
        expected = Refused(says=r"the period from .* has no rows")
        yield _with_value(log, file, column, value, expected)


def _bad_labels(log: GoodLog, file: TextFile) -> Iterator[Case]:
    if log.name in LABEL:
        reasons = {"": "no label"} | {value: f"label '{value}' is not 0 or 1" for value in LABELS}
        column = LABEL[log.name]
    elif log.name in RATING:
        column = RATING[log.name]
        reasons = {value: f"{column} '{value}' is not between 0 and 5" for value in RATINGS}
    else:
        column, allowed = CHOICE[log.name]
        reasons = {value: f"{column} '{value}' is none of {allowed}" for value in CHOICES}
    for value, reason in reasons.items():
        yield _with_value(log, file, column, value, victim_set_aside(log, file, reason))


def _odd_texts(log: GoodLog, file: TextFile, column: str) -> Iterator[Case]:
    """A value is a text, whatever it looks like."""
    tried = TEXTS if log.name == "table-csv" else {what: TEXTS[what] for what in ("nothing", "negative", "SQL")}
    for what, value in tried.items():
        expected = Ingested(like=log, victim_has=(column, value or None))
        damage = rewriting(file.with_value(column, value))
        yield Case(log=log, file=file.name, what=f"{column} {what}", damage=damage, expected=expected)


def _too_many(log: GoodLog, file: TextFile) -> Iterator[Case]:
    bad = replace(file, rows=tuple(row[:-1] for row in file.rows))
    first = 2 if file.header else 1
    says = rf"{len(file.rows)} of \d+ rows \(100\.00%\) are bad; the first: {file.name}, row {first}: "
    if len(log.files) == 1:
        yield Case(log=log, file=file.name, what="no good row", damage=rewriting(bad), expected=Refused(says=says))


def _repeated(log: GoodLog, file: TextFile) -> Iterator[Case]:
    """A second row of a key is set aside; where rows have no key it is a row like any other."""
    twice = replace(file, rows=(*file.rows, file.rows[file.victim]))
    if key := KEY.get(file.name):
        value = file.rows[file.victim][file.columns.index(key)]
        reject = (file.name, len(twice.lines()), f"{key} '{value}' is repeated")
        expected = Ingested(like=log, rejects=(reject,))
    else:
        expected = Ingested(like=log.having(twice))
    yield Case(log=log, file=file.name, what="row twice", damage=rewriting(twice), expected=expected)


def _lists() -> Iterator[Case]:
    log = GOOD["eleme"]
    file = log.text_file("D1_0.csv")
    for what, column, value in (
        ("ragged lists", "item_id_list", "3;4;5"),
        ("one list empty", "hours_list", ""),
        ("a list that no history uses is longer", "price_list", "1;2;3"),
        ("another separator", "shop_id_list", "3|4"),
    ):
        expected = victim_set_aside(log, file, "lists of different lengths")
        damage = rewriting(file.with_value(column, value))
        yield Case(log=log, file=file.name, what=what, damage=damage, expected=expected)
