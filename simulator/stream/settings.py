"""Where the log comes from, how it is cut into periods, and what an ingest allows."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

from pkb.errors import SettingError
from simulator.config.checks import among, at_least, between, expand_home, one_of
from simulator.config.durations import seconds_of
from simulator.stream.addresses import is_remote, refuse_credentials
from simulator.stream.features import COUNTED, OF_CLOCK, OF_LIST, Feature, parsed
from simulator.stream.world_settings import WorldSettings

SOURCES = (
    *("alidisplay", "alipay", "ebnerd", "eleme", "iaac", "marketbias"),
    *("movielens", "table", "taobao", "tmall", "world"),
)


HAVE_NEGATIVES = ("alipay", "taobao", "tmall", "world")  # sources that draw them as their papers do
BY_ROW = "row"  # in place of a column of times: the order of rows in the files


@dataclass(frozen=True, kw_only=True)
class NumberSettings:
    """How fields that are numbers are read (docs/data.md)."""

    encoding: str = "linear"  # or buckets, standardise
    bins: int = 32  # quantiles that are told apart, fewer where values are few

    def __post_init__(self) -> None:
        one_of(self, "encoding", ("linear", "buckets", "standardise"))
        between(self, "bins", 2, 1_000)


@dataclass(frozen=True, kw_only=True)
class NegativeSettings:
    """Rows without a click that are drawn beside a log's positives (docs/data.md)."""

    per_positive: int = 0  # so many behind each positive
    from_: str = "catalogue"  # or popularity, user: which of the items known by then are likely

    def __post_init__(self) -> None:
        between(self, "per_positive", 0, 1_000)
        among("from", self.from_, ("catalogue", "popularity", "user"))


@dataclass(frozen=True, kw_only=True)
class ListSettings:
    """How fields that are lists of categories are read (docs/data.md)."""

    pooling: str = "mean"  # or sum: of the vectors of a list's values
    length: int = 20  # of a longer list the first ones are kept

    def __post_init__(self) -> None:
        one_of(self, "pooling", ("mean", "sum"))
        between(self, "length", 1, 1_000)


@dataclass(frozen=True, kw_only=True)
class TableSettings:
    """Anybody's Parquet or CSV files: which columns there are and what each one is."""

    # Glob under stream.root, path of its own, s3://bucket/...; or a list of these; or either by the files' domain:
    # {ad: "ads/*.parquet", shop: "behaviour.csv"} makes a field `domain`, and a domain may lack some columns.
    files: Any = "*.parquet"
    time: str = ""  # column of the impression's time; row: there is none, and the order of the files' rows is the time
    time_unit: str = "s"  # s, ms, us, ns: of a column of numbers; ignored for timestamps and text
    time_format: str = ""  # of numbers or texts in another form, in strptime's words: "%y%m%d%H", "%d/%m/%Y %H:%M"
    first_year: int = 2000  # rows of earlier years are set aside, as a wrong unit or format makes them
    last_year: int = 2100  # and so are rows of later years
    label: str = ""  # column that is 0 or 1
    label_time: str | None = None  # column of the time at which a positive's label arrived
    weight: str | None = None  # column of a row's weight, 0 or more, in losses and in metrics called ..._weighted
    further_labels: list[str] = field(default_factory=list)  # such as cart; columns of 0, 1 or nothing
    request: str | None = None  # column that is equal for rows shown together
    user: list[str] = field(default_factory=list)  # the first one identifies the user
    item: list[str] = field(default_factory=list)  # the first one identifies the item
    context: list[str] = field(default_factory=list)
    scenario: list[str] = field(default_factory=list)  # of several the crossing is what models tell apart
    numeric: list[str] = field(default_factory=list)  # fields that are numbers, such as price, age
    lists: list[str] = field(default_factory=list)  # fields that hold several categories, such as genres, tags
    vectors: dict[str, int] = field(default_factory=dict)  # fields that hold numbers: how many, such as embedding: 64
    histories: dict[str, str] = field(default_factory=dict)  # list column: the field whose values it holds
    explode: dict[str, str] = field(default_factory=dict)  # column of lists shown: id-label, or column of ids clicked
    columns: list[str] = field(default_factory=list)  # names of a CSV file's columns, where it has no header line
    separator: str = ","  # of a CSV file, of any length; \t is a tab
    quoting: str = "minimal"  # of a CSV file: values may be quoted; none: a quote is a character like any other
    list_separator: str = ";"  # within a list that is written as text
    missing: list[str] = field(default_factory=list)  # texts that mean a missing value: "\\N", "NULL"; "" always does

    def __post_init__(self) -> None:
        if not all(self.by_domain.values()) or not all(isinstance(pattern, str) for pattern in self.patterns):
            raise SettingError(
                f"files={self.files!r}: must be a pattern, a list of patterns, or either for each domain"
            )
        expand_home(self, "files")
        for pattern in filter(is_remote, self.patterns):
            refuse_credentials(pattern)
        one_of(self, "quoting", ("minimal", "none"))
        if len(self.explode) > 1 or not all(self.explode.values()):
            raise SettingError(
                f"explode={self.explode}: must be one column, such as {{impressions: id-label}} or {{shown: clicked}}"
            )
        for column, how in self.explode.items():
            if swapped := re.fullmatch("label(.+)id", how):
                raise SettingError(
                    f"explode.{column}={how}: the label stands behind the id; write id{swapped[1]}label if elements are"
                    " so written"
                )
        if self.time_format and ("%" not in self.time_format or "'" in self.time_format):
            raise SettingError(f"time_format={self.time_format!r}: must be in the words of strptime, such as %Y%m%d%H")
        between(self, "first_year", 1970, 9999)
        between(self, "last_year", self.first_year, 9999)
        for name, length in self.vectors.items():
            if length < 1:
                raise SettingError(f"vectors.{name}={length}: must be the number of its entries, at least 1")

    @property
    def by_domain(self) -> dict[str, tuple[str, ...]]:
        """The patterns of `files`, one or several, by domain; by an empty text where it names no domains."""
        named = self.files if isinstance(self.files, dict) else {"": self.files}
        return {str(d): tuple(given) if isinstance(given, list) else (given,) for d, given in named.items()} or {"": ()}

    @property
    def patterns(self) -> tuple[str, ...]:
        """Of `files`, all."""
        return tuple(pattern for patterns in self.by_domain.values() for pattern in patterns)


@dataclass(frozen=True, kw_only=True)
class SplitSettings:
    """The papers' protocol: pool < train_from <= training < test_from <= test, times on the stream's clock."""

    train_from: str = ""  # T0: 2017-12-02, or 2017-12-02 16:00
    test_from: str = ""  # T1
    validation_share: float = 0.1  # of the time from T0 to T1, its last part
    target_share: float = 1.0  # of the rows from T0 on that are kept, drawn by row (RIM: 0.1)

    def __post_init__(self) -> None:
        between(self, "validation_share", 0.001, 0.9)
        between(self, "target_share", 0.001, 1)


@dataclass(frozen=True, kw_only=True)
class StreamSettings:
    source: str = "world"  # the raw format (docs/data.md), or world
    root: str = ""  # folder of the raw files
    when_missing: str = "error"  # or synthetic: replay the world in the shape of the source
    data: str = "data"  # folder of the logs that ingests write
    protocol: str = "stream"  # periods by time; or split: pool, training, validation and test
    split: SplitSettings = field(default_factory=SplitSettings)
    period: str = "1d"  # width of a period: 30m, 6h, 1d, ..., or its rows: 100000rows
    window: int = 1  # periods that a lesson spans; above 1 it is a sliding window, moved on by a period
    label_delay: str = "0m"  # 30m, 6h, 1d, ...: a row is learned once so much time has passed since it was shown
    utc_offset_hours: int = 0  # days are cut at this clock's midnight
    time_unit: str = "s"  # of a source whose time unit is not certain (eleme): s, ms, us
    holdout_share: float = 0.1  # of each period's requests (or rows), never trained on
    history_length: int = 20  # latest behaviours kept per impression
    domain: str = "domain"  # categorical field that tells an impression's domain, where there is a sub-domain
    sub_domain: Any = None  # a value of it, or several: the rows that backbones serve; knowledge bases learn from all
    world: WorldSettings = field(default_factory=WorldSettings)
    table: TableSettings = field(default_factory=TableSettings)
    numbers: NumberSettings = field(default_factory=NumberSettings)
    negatives: NegativeSettings = field(default_factory=NegativeSettings)
    features: dict[str, str] = field(default_factory=dict)  # new fields of earlier rows: "item_age: age(item_id)"
    lists: ListSettings = field(default_factory=ListSettings)

    def __post_init__(self) -> None:
        expand_home(self, "root", "data")
        if is_remote(self.root):
            scheme = self.root.partition("://")[0]
            raise SettingError(f"root={scheme}://...: must be a folder; name files that lie elsewhere in table.files")
        one_of(self, "source", SOURCES)
        one_of(self, "when_missing", ("error", "synthetic"))
        one_of(self, "protocol", ("stream", "split"))
        at_least(self, "window", 1)
        if not all(isinstance(value, str | int) and not isinstance(value, bool) for value in self._asked_domains):
            raise SettingError(f"sub_domain={self.sub_domain!r}: must be a value of {self.domain}, or a list of values")
        if self.label_delay_seconds is None:
            raise SettingError(f"label_delay={self.label_delay}: write a number and m, h or d, such as 6h")
        between(self, "utc_offset_hours", -23, 23)
        one_of(self, "time_unit", ("s", "ms", "us"))
        between(self, "holdout_share", 0.001, 0.5)
        at_least(self, "history_length", 1)
        if self.negatives.per_positive and self.source in HAVE_NEGATIVES:
            raise SettingError(
                f"negatives.per_positive={self.negatives.per_positive}: must be 0 with source={self.source}, which"
                " draws negatives of its own"
            )
        if self.by_row and (self.protocol != "stream" or not self.period.endswith("rows")):
            raise SettingError(
                f"period={self.period}: must be a number of rows, such as 100000rows, and protocol=stream where"
                f" table.time={BY_ROW}: there are no times"
            )
        if self.by_row and self.label_delay_seconds:
            raise SettingError(f"label_delay={self.label_delay}: must be 0m where table.time={BY_ROW}")
        if self.by_row and self.table.label_time:
            raise SettingError(f"table.label_time={self.table.label_time}: must be null where table.time={BY_ROW}")
        for feature in self.derived:
            self._check(feature)

    def _check(self, feature: Feature) -> None:
        """SettingError where a feature cannot be, by these settings."""
        written = f"features.{feature.name}={self.features[feature.name]!r}"
        if self.by_row and (feature.kind in OF_CLOCK or feature.window is not None):
            raise SettingError(f"{written}: must not ask for a clock where table.time={BY_ROW}: there are no times")
        if self.negatives.per_positive and feature.kind in OF_LIST:
            raise SettingError(
                f"{written}: would tell which rows are drawn, as each stands behind its positive; leave it out, or"
                " negatives"
            )
        delay = self.label_delay_seconds or 0
        if feature.kind in COUNTED and feature.window is not None and feature.window < delay:
            raise SettingError(
                f"{written}: would be 0 for ever, as no label arrives within so short a time; write more than"
                f" label_delay={self.label_delay}"
            )

    @property
    def _asked_domains(self) -> list[Any]:
        asked = self.sub_domain
        return asked if isinstance(asked, list) else [] if asked is None else [asked]

    @property
    def sub_domains(self) -> tuple[str, ...]:
        """The values of the domain that make up the sub-domain; none where backbones serve all rows."""
        return tuple(dict.fromkeys(map(str, self._asked_domains)))

    @property
    def derived(self) -> tuple[Feature, ...]:
        """The features, as their lines are read."""
        return parsed(self.features)

    @property
    def by_row(self) -> bool:
        """Whether the order of rows stands for time."""
        return self.source == "table" and self.table.time == BY_ROW

    @property
    def label_delay_seconds(self) -> int | None:
        """None if the setting does not parse."""
        return seconds_of(self.label_delay)


@dataclass(frozen=True, kw_only=True)
class IngestSettings:
    max_reject_share: float = 0.01  # more bad rows than this stop the ingest
    memory_limit_gb: float = 2.0  # of the engine that parses and sorts; beyond it spills to disk

    def __post_init__(self) -> None:
        between(self, "max_reject_share", 0, 1)
        at_least(self, "memory_limit_gb", 0.1)
