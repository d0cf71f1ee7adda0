"""What the sample shows of each column: how many values it has, what they look like, and how its name is made up."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from simulator.inspect.sample import Sample
from simulator.stream.raw import texts
from simulator.stream.seen import USUAL

EXAMPLES = 2_000  # values of a column that are looked at one by one
TOP = 60  # most frequent values that are kept
YES_NO = {"0", "1", "0.0", "1.0", "true", "false"}
WRITTEN = r"\s*[\[({].*[\])}]\s*"
JOINED = {";": 0.02, "|": 0.02, "^": 0.02, ",": 0.3, " ": 0.3}  # and the share of values that has it, at the least
ELEMENT = r"[\w.:#&'/+-]{1,40}"
TITLE = 60  # characters of a text that nobody counts by, on average
SHOWN = r"(\S+)-([01])"  # an element of a list that says what was shown and whether it was clicked


@dataclass(frozen=True, kw_only=True)
class Column:
    """A column of the sample. Missing are nulls, empty texts and what usually means that there is no value."""

    name: str
    key: str  # in the table `sample`
    kinds: tuple[str, ...]  # its types in Parquet files
    rows: int
    present: int  # rows with a value
    distinct: int
    numbers: int  # of the present values
    whole: int  # 12, 12.0
    pointed: int  # 12.0
    low: float | None  # of the numbers
    median: float | None
    high: float | None
    top: tuple[tuple[str, int], ...]  # the most frequent values
    usual: dict[str, int]  # texts that usually mean none
    examples: tuple[str, ...]
    length: float  # characters of a value, on average
    is_list: bool = False  # a list column; its figures are of the elements
    sizes: tuple[int, int] = (0, 0)  # of the lists: the shortest, the longest
    tokens: frozenset[str] = field(default_factory=frozenset)

    @property
    def missing(self) -> float:
        return 1 - self.present / self.rows if self.rows else 1.0

    @property
    def is_constant(self) -> bool:
        """Whether it holds one value at the most, and a missing one tells nothing either."""
        return self.distinct == 0 or (self.distinct == 1 and self.present == self.rows)

    @property
    def is_yes_no(self) -> bool:
        """Whether it can be a label."""
        values = {value.lower() for value, _ in self.top}
        return 0 < self.distinct <= 4 and values <= YES_NO and self.missing < 0.01

    @property
    def is_number(self) -> bool:
        return self.present > 0 and self.numbers == self.present

    @property
    def is_whole(self) -> bool:
        return self.is_number and self.whole == self.present

    @property
    def is_time(self) -> bool:
        """Whether Parquet files say so."""
        return bool(self.kinds) and all(kind.startswith(("timestamp", "date")) for kind in self.kinds)

    @cached_property
    def separator(self) -> str:
        """What joins the elements of lists written as text; `written` where they are as Python or JSON writes them."""
        values = [value for value in self.examples if value]
        if self.is_list or self.is_number or self.is_time or len(values) < 2:
            return ""
        if any("," in value for value in values) and all(re.fullmatch(WRITTEN, value, re.DOTALL) for value in values):
            return "written"
        for separator, least in JOINED.items():
            joined = [value for value in values if separator in value.strip()]
            if len(joined) < max(2, least * len(values)):
                continue
            elements = [each.strip() for value in values for each in value.strip().strip(separator).split(separator)]
            if all(re.fullmatch(ELEMENT, each) for each in elements) and self._are_codes(separator, elements):
                return separator
        return ""

    @property
    def holds_lists(self) -> bool:
        return self.is_list or bool(self.separator)

    @property
    def is_shown_and_clicked(self) -> bool:
        """Whether it is a list of `id-0` and `id-1`."""
        values = [value for value in self.examples if value.strip()]
        return bool(values) and all(re.fullmatch(SHOWN, each) for value in values for each in value.split())

    @staticmethod
    def _are_codes(separator: str, elements: Sequence[str]) -> bool:
        """Whether elements are no words of a sentence and no parts of a time or number."""
        coded = sum(any(c.isdigit() for c in each) for each in elements) / len(elements)
        if separator == " ":
            return coded > 0.95 and not any(re.search(r"\d:\d\d", each) for each in elements)
        return separator != "," or coded > 0.95 or Counter(elements).most_common(1)[0][1] > 2


def tokens_of(name: str) -> tuple[str, ...]:
    """The words of a name: userId, user_id and `User ID` are user, id."""
    apart = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", " ", name)
    return tuple(word.lower() for word in re.split(r"[\W_]+", apart) if word)


def columns_of(sample: Sample) -> list[Column]:
    """All columns of the sample, in the files' order; table `few` gets some rows of it, to be looked at one by one."""
    one_in = max(1, sample.rows // EXAMPLES)
    sample.ask(f"""
        CREATE TABLE few AS SELECT * FROM sample WHERE md5_number_lower(concat_ws(' ', _file, _row)) % {one_in} = 0""")
    few = sample.arrow("SELECT * FROM few")
    return [_column(sample, name, few.column(sample.key(name)).to_pylist()) for name in sample.shape.names]


def _column(sample: Sample, name: str, few: Sequence[Any]) -> Column:
    key, is_list = sample.key(name), name in sample.shape.lists
    values = f"(SELECT {f'unnest({key})' if is_list else key} AS value FROM sample)"
    there = f"value IS NOT NULL AND value <> '' AND value NOT IN ({texts(USUAL)})"
    number = "TRY_CAST(value AS DOUBLE)"
    sizes = f"SELECT min(len({key})) AS least, max(len({key})) AS most FROM sample" if is_list else "SELECT 0, 0"
    ((rows, present, distinct, numbers, whole, pointed, low, median, high, length, top, usual, (least, most)),) = (
        sample.ask(rf"""
        WITH counts AS MATERIALIZED (SELECT value, count(*) AS n FROM {values} GROUP BY value),
            present AS (SELECT *, {number} AS number FROM counts WHERE {there})
        SELECT (SELECT sum(n) FROM counts), coalesce(sum(n), 0)::BIGINT, count(*),
            coalesce(sum(n) FILTER (isfinite(number)), 0)::BIGINT,
            coalesce(sum(n) FILTER (regexp_full_match(value, '[+-]?\d+(\.0*)?')), 0)::BIGINT,
            coalesce(sum(n) FILTER (regexp_full_match(value, '[+-]?\d+\.0+')), 0)::BIGINT,
            min(number) FILTER (isfinite(number)),
            (SELECT median({number}) FROM {values} WHERE isfinite({number})),
            max(number) FILTER (isfinite(number)),
            coalesce(sum(n * length(value)) / sum(n), 0),
            (SELECT list((value, n)) FROM (SELECT value, n FROM present ORDER BY n DESC, value LIMIT {TOP})),
            (SELECT list((value, n)) FROM counts WHERE value IN ({texts(USUAL)})),
            (SELECT (least, most) FROM ({sizes}) AS size(least, most))
        FROM present""")
    )
    looked_at = [one for each in few if each for one in each] if is_list else few
    return Column(
        name=name,
        key=key,
        kinds=sample.shape.kinds[name],
        rows=int(rows or 0),
        present=present,
        distinct=distinct,
        numbers=numbers,
        whole=whole,
        pointed=pointed,
        low=low,
        median=median,
        high=high,
        top=tuple(top or ()),
        usual=dict(usual or ()),
        examples=tuple(value for value in looked_at if value and value not in USUAL),
        length=float(length),
        is_list=is_list,
        sizes=(least or 0, most or 0),
        tokens=frozenset(tokens_of(name)),
    )
