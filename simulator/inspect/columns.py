"""What the sample shows of each column: how many values it has, what they look like, and how its name is made up."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

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
        if all(re.fullmatch(WRITTEN, value, re.DOTALL) for value in values):
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
    """All columns of the sample, in the files' order."""
    sample.ask(f"CREATE TABLE few AS SELECT * FROM sample USING SAMPLE reservoir({EXAMPLES} ROWS) REPEATABLE (0)")
    return [_column(sample, name) for name in sample.shape.names]


def _column(sample: Sample, name: str) -> Column:
    key, is_list = sample.key(name), name in sample.shape.lists
    values = f"(SELECT unnest({key}) AS value FROM sample)" if is_list else f"(SELECT {key} AS value FROM sample)"
    nothing = f"value IS NULL OR value = '' OR value IN ({texts(USUAL)})"
    number = "TRY_CAST(value AS DOUBLE)"
    counts = f"(SELECT value, count(*) AS n FROM {values} GROUP BY value)"
    ((present, distinct, numbers, whole, pointed, low, median, high, length),) = sample.ask(rf"""
        SELECT coalesce(sum(n), 0)::BIGINT, count(*),
            coalesce(sum(n) FILTER (isfinite({number})), 0)::BIGINT,
            coalesce(sum(n) FILTER (regexp_full_match(value, '[+-]?\d+(\.0*)?')), 0)::BIGINT,
            coalesce(sum(n) FILTER (regexp_full_match(value, '[+-]?\d+\.0+')), 0)::BIGINT,
            min({number}) FILTER (isfinite({number})),
            (SELECT median({number}) FROM {values} WHERE isfinite({number})),
            max({number}) FILTER (isfinite({number})),
            coalesce(sum(n * length(value)) / sum(n), 0)
        FROM {counts} WHERE NOT ({nothing})""")
    ((rows,),) = sample.ask(f"SELECT count(*) FROM {values}") if is_list else [(sample.rows,)]
    top = sample.ask(f"SELECT value, n FROM {counts} WHERE NOT ({nothing}) ORDER BY n DESC, value LIMIT {TOP}")
    usual = sample.ask(f"SELECT value, n FROM {counts} WHERE value IN ({texts(USUAL)})")
    few = f"(SELECT unnest({key}) AS value FROM few)" if is_list else f"(SELECT {key} AS value FROM few)"
    examples = sample.ask(f"SELECT value FROM {few} WHERE NOT ({nothing}) LIMIT {EXAMPLES}")
    sizes = sample.ask(f"SELECT min(len({key})), max(len({key})) FROM sample") if is_list else [(0, 0)]
    return Column(
        name=name,
        key=key,
        kinds=sample.shape.kinds[name],
        rows=rows,
        present=present,
        distinct=distinct,
        numbers=numbers,
        whole=whole,
        pointed=pointed,
        low=low,
        median=median,
        high=high,
        top=tuple(top),
        usual=dict(usual),
        examples=tuple(value for (value,) in examples),
        length=float(length),
        is_list=is_list,
        sizes=(sizes[0][0] or 0, sizes[0][1] or 0),
        tokens=frozenset(tokens_of(name)),
    )
