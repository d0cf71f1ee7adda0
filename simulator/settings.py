"""Every setting of a run, typed, with its default; one YAML file states one experiment.

`simulator/settings_file.py` reads it.
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field, make_dataclass, replace
from operator import attrgetter
from typing import Any

from pkb.backbones.base import FittedBackbone
from pkb.bases import KNOWLEDGE_BASES
from pkb.errors import SettingError
from pkb.plug import PLUGS
from retrieval.models import RETRIEVAL_MODELS
from retrieval.shelf import DENSE, RetrievalSettings
from simulator.models import MODELS
from simulator.policies import POLICIES
from simulator.serve.request import MAX_CANDIDATES, MAX_HISTORY

SOURCES = (
    *("alidisplay", "alipay", "ebnerd", "eleme", "iaac", "marketbias"),
    *("movielens", "table", "taobao", "tmall", "world"),
)


@dataclass(frozen=True, kw_only=True)
class DriftSettings:
    """Strength of each part of the synthetic world's drift; 0 leaves it out (docs/world.md)."""

    wander: float = 1.0  # users' tastes change a little every period
    turnover: float = 1.0  # items appear and retire
    regimes: float = 1.0  # meal times and weekends come back after an absence
    promotions: float = 1.0  # a spurious pattern is profitable for a few periods
    shifts: float = 0.0  # at one moment many effects change at once
    label_noise: float = 0.0  # share of labels that are drawn without regard to row and user


@dataclass(frozen=True, kw_only=True)
class WorldSettings:
    """The built-in synthetic world (docs/world.md)."""

    preset: str = "eleme"  # or alidisplay
    periods: int = 8
    rows_per_period: int = 55_000
    scale: float = 0.003  # 1 has as many users and items as the papers' data set
    users: int | None = None  # in place of what `scale` says
    items: int | None = None
    click_rate: float | None = None  # in place of the data set's
    drift: DriftSettings = field(default_factory=DriftSettings)
    seed: int = 0


@dataclass(frozen=True, kw_only=True)
class TableSettings:
    """Anybody's Parquet or CSV files: which columns there are and what each one is."""

    files: str = "*.parquet"  # glob under stream.root
    time: str = ""  # column of the impression's time
    time_unit: str = "s"  # s, ms, us: of an integer column; ignored for timestamps and text
    label: str = ""  # column that is 0 or 1
    further_labels: list[str] = field(default_factory=list)  # such as cart, purchase; columns that are 0 or 1
    request: str | None = None  # column that is equal for rows shown together
    user: list[str] = field(default_factory=list)  # the first one identifies the user
    item: list[str] = field(default_factory=list)  # the first one identifies the item
    context: list[str] = field(default_factory=list)
    scenario: list[str] = field(default_factory=list)
    histories: dict[str, str] = field(default_factory=dict)  # list column: the field whose values it holds
    separator: str = ","  # of a CSV file
    list_separator: str = ";"  # within a list that is written as text


@dataclass(frozen=True, kw_only=True)
class SplitSettings:
    """The papers' protocol: pool < train_from <= training < test_from <= test, times on the stream's clock."""

    train_from: str = ""  # T0: 2017-12-02, or 2017-12-02 16:00
    test_from: str = ""  # T1
    validation_share: float = 0.1  # of the time from T0 to T1, its last part
    target_share: float = 1.0  # of the rows from T0 on that are kept, drawn by row (RIM: 0.1)


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
    world: WorldSettings = field(default_factory=WorldSettings)
    table: TableSettings = field(default_factory=TableSettings)

    @property
    def label_delay_seconds(self) -> int | None:
        """None if the setting does not parse."""
        match = re.fullmatch(r"(\d+)([mhd])", self.label_delay)
        return int(match[1]) * {"m": 60, "h": 3_600, "d": 86_400}[match[2]] if match else None


@dataclass(frozen=True, kw_only=True)
class IngestSettings:
    max_reject_share: float = 0.01  # more bad rows than this stop the ingest
    memory_limit_gb: float = 2.0  # of the engine that parses and sorts; beyond it spills to disk


@dataclass(frozen=True, kw_only=True)
class TrainSettings:
    workers: int = 1  # processes of the Ray Train group
    threads: int = 0  # of torch in each worker; 0 shares the cores out
    batch_size: int = 1024  # rows of a minibatch over all workers together
    learning_rate: float = 1e-3  # of Adam, for the dense parameters
    embedding_learning_rate: float = 0.02  # of row-wise Adagrad, for the embedding tables
    epochs: int = 1  # passes over the rows of a lesson
    precision: str = "auto"  # of dense layers in training: float32, bfloat16, or auto: the latter where the CPU has it
    patience: int = 1  # epochs without a better validation AUC that end a lesson (protocol `split`)
    evict_after: int = 0  # an id unseen in so many periods loses its embedding; 0 keeps all
    ledger: bool = False  # write down which rows each rank has learned (folder `ledger` of the run)
    max_failures: int = 3  # restarts of the worker group from the last committed period


@dataclass(frozen=True, kw_only=True)
class CompressSettings:
    """When and from what knowledge bases are compressed."""

    batch_size: int = 1024
    learning_rate: float = 1e-3
    epochs: int = 1
    lag: int = 1  # a period becomes old this many periods after it was learned by the backbones
    every: int = 1  # periods between two compressions, each of all that has become old meanwhile


@dataclass(frozen=True, kw_only=True)
class ArmSettings:
    """One contender."""

    backbone: str = "deepfm"
    knowledge: str | None = None
    plug: str = "fields"  # how knowledge enters: fields, join, hidden, gate, fields+join (pkb/plug.py)
    layer: int = 1  # hidden layer, counted from 1, at which the plugs hidden and gate enter
    policy: str = "finetune"
    width: int | None = None  # of the backbone's embeddings, in place of the backbone's own setting
    epochs: int | None = None  # passes over the rows of a lesson, in place of `train.epochs`
    options: dict[str, Any] = field(default_factory=dict)  # of its knowledge base, in place of `knowledge.<name>`
    control: str | None = None  # what knowledge must beat: untrained (the base learns nothing), shuffled (its labels)


@dataclass(frozen=True, kw_only=True)
class BudgetSettings:
    """The same for every arm; 0 leaves each arm what its policy asks for (simulator/budget.py)."""

    bytes: int = 0  # that an arm keeps after the last period: model, optimiser, knowledge base, buffers
    row_updates: int = 0  # rows that an arm trains on in a period, repeated ones and compression included


@dataclass(frozen=True, kw_only=True)
class MeasureSettings:
    holdout_periods: int = 0  # measure R on the latest N holdouts only; 0 is all
    bootstrap: int = 200  # resamples of users behind an interval
    predict_batch_size: int = 8192


@dataclass(frozen=True, kw_only=True)
class ServeSettings:
    enabled: bool = True
    host: str = "127.0.0.1"
    port: int = 0  # 0 takes a free one
    candidates: int = 50  # in a request, for one user
    rates: list[float] = field(default_factory=lambda: [50.0, 100.0])  # offered requests/s
    seconds: float = 10.0  # of load at each rate and repeat; a p99 wants 459 requests or more
    repeats: int = 1
    slo_ms: float = 100.0  # p99 that max_qps_at_slo asks for
    timeout_s: float = 5.0
    check_rows: int = 1000  # served and offline scores are compared on so many holdout rows


def _section(name: str, registry: dict[str, type[Any]]) -> type[Any]:
    """A dataclass with one field of settings for each entry of a registry."""
    entries = [(key, cls.Settings, field(default_factory=cls.Settings)) for key, cls in registry.items()]
    return make_dataclass(name, entries, frozen=True, kw_only=True)


Backbones = _section("Backbones", MODELS)
KnowledgeBases = _section("KnowledgeBases", KNOWLEDGE_BASES)
Policies = _section("Policies", POLICIES)


@dataclass(frozen=True, kw_only=True)
class Settings:
    """One experiment."""

    name: str = "run"
    runs: str = "runs"  # folder of run folders
    seeds: list[int] = field(default_factory=lambda: [0])
    stream: StreamSettings = field(default_factory=StreamSettings)
    ingest: IngestSettings = field(default_factory=IngestSettings)
    train: TrainSettings = field(default_factory=TrainSettings)
    compress: CompressSettings = field(default_factory=CompressSettings)
    arms: dict[str, ArmSettings] = field(default_factory=dict)
    backbones: Backbones = field(default_factory=Backbones)  # type: ignore[valid-type]
    knowledge: KnowledgeBases = field(default_factory=KnowledgeBases)  # type: ignore[valid-type]
    policies: Policies = field(default_factory=Policies)  # type: ignore[valid-type]
    budget: BudgetSettings = field(default_factory=BudgetSettings)
    retrieval: RetrievalSettings = field(default_factory=RetrievalSettings)
    measure: MeasureSettings = field(default_factory=MeasureSettings)
    serve: ServeSettings = field(default_factory=ServeSettings)


def knowledge_settings(settings: Settings, arm: str) -> Any:
    """Those of an arm's knowledge base; SettingError if it has no such option, or one of another type."""
    choice = settings.arms[arm]
    common = getattr(settings.knowledge, choice.knowledge or "")
    for name, value in choice.options.items():
        wanted = type(getattr(common, name, None))
        if not hasattr(common, name):
            raise SettingError(f"arms.{arm}.options.{name}: is not a setting of {choice.knowledge}")
        if not isinstance(value, (int, float) if wanted is float else list if wanted is tuple else wanted):
            raise SettingError(f"arms.{arm}.options.{name}={value!r}: must be of type {wanted.__name__}")
    given = {name: tuple(value) if isinstance(value, list) else value for name, value in choice.options.items()}
    return replace(common, **given)


def check(settings: Settings) -> None:
    """What types cannot say; SettingError names the key, the value and what to write instead."""

    def among(key: str, value: str | None, allowed: Sequence[str]) -> None:
        if value not in allowed:
            near = difflib.get_close_matches(str(value), allowed, n=1)
            hint = f"; did you mean {near[0]}?" if near else ""
            raise SettingError(f"{key}={value}: is not one of {', '.join(allowed)}{hint}")

    def within(key: str, low: float, high: float = math.inf) -> None:
        value = attrgetter(key)(settings)
        if not low <= value <= high:
            limits = f"be at least {low}" if math.isinf(high) else f"lie between {low} and {high}"
            raise SettingError(f"{key}={value}: must {limits}")

    if not settings.name or "/" in settings.name or settings.name.startswith("."):
        raise SettingError(f"name={settings.name!r}: must be usable as a folder's name")
    among("stream.source", settings.stream.source, SOURCES)
    among("stream.when_missing", settings.stream.when_missing, ("error", "synthetic"))
    among("stream.time_unit", settings.stream.time_unit, ("s", "ms", "us"))
    if not settings.arms:
        raise SettingError("arms: is empty; name at least one, such as arms.finetune.backbone=deepfm")
    for name, arm in settings.arms.items():
        if not re.fullmatch(r"[\w.-]+", name, re.ASCII):
            raise SettingError(f"arms.{name}: name arms with letters, digits, _, - and . only")
        among(f"arms.{name}.backbone", arm.backbone, list(MODELS))
        among(f"arms.{name}.policy", arm.policy, list(POLICIES))
        among(f"arms.{name}.plug", arm.plug, PLUGS)
        if issubclass(MODELS[arm.backbone], FittedBackbone) and arm.policy in ("distil", "ewc"):
            raise SettingError(
                f"arms.{name}.policy={arm.policy}: adds to the loss of a step, but {arm.backbone} takes none"
            )
        if arm.width is not None and not hasattr(MODELS[arm.backbone].Settings(), "width"):
            raise SettingError(f"arms.{name}.width={arm.width}: {arm.backbone} has no embedding width")
        if arm.policy == "ewc" and settings.train.evict_after:
            raise SettingError(f"arms.{name}.policy=ewc: holds rows by their place; set train.evict_after=0")
        for key, value in (("layer", arm.layer), ("epochs", arm.epochs)):
            if value is not None and value < 1:
                raise SettingError(f"arms.{name}.{key}={value}: must be at least 1")
        if arm.knowledge is not None:
            among(f"arms.{name}.knowledge", arm.knowledge, list(KNOWLEDGE_BASES))
            base = knowledge_settings(settings, name)
            if KNOWLEDGE_BASES[arm.knowledge].taught:
                among(f"knowledge.{arm.knowledge}.teacher", base.teacher, list(RETRIEVAL_MODELS))
                if MODELS[arm.backbone].retriever == DENSE == RETRIEVAL_MODELS[base.teacher].retriever:
                    raise SettingError(
                        f"arms.{name}: {arm.backbone} and its teacher each search by an encoder; choose one"
                    )
                if arm.policy in ("distil", "ewc") and getattr(base, "update", "fixed") != "fixed":
                    raise SettingError(f"arms.{name}.policy={arm.policy}: holds the model alone; set update=fixed")
        if arm.control is not None:
            among(f"arms.{name}.control", arm.control, ("untrained", "shuffled"))
            if arm.control == "shuffled" and arm.knowledge == "retrieved":
                raise SettingError(f"arms.{name}.control=shuffled: retrieved knowledge reads labels when it is used")
        if arm.knowledge is None and (arm.options or arm.control):
            raise SettingError(f"arms.{name}: has no knowledge for options or a control; name one, or leave them out")
    if not settings.seeds or len(set(settings.seeds)) < len(settings.seeds):
        raise SettingError(f"seeds={settings.seeds}: must be one or more different numbers")
    within("stream.holdout_share", 0.001, 0.5)
    among("stream.protocol", settings.stream.protocol, ("stream", "split"))
    within("stream.window", 1)
    within("stream.split.validation_share", 0.001, 0.9)
    within("stream.split.target_share", 0.001, 1)
    within("stream.history_length", 1, MAX_HISTORY)
    within("stream.utc_offset_hours", -23, 23)
    within("stream.world.periods", 2)
    within("stream.world.rows_per_period", 1)
    within("stream.world.scale", 1e-5, 1)
    if settings.stream.world.users is not None:
        within("stream.world.users", 1)
    if settings.stream.world.items is not None:
        within("stream.world.items", 8)
    if settings.stream.world.click_rate is not None:
        within("stream.world.click_rate", 0.001, 0.999)
    for part in ("wander", "turnover", "regimes", "promotions", "shifts"):
        within(f"stream.world.drift.{part}", 0)
    within("stream.world.drift.label_noise", 0, 1)
    within("ingest.max_reject_share", 0, 1)
    within("ingest.memory_limit_gb", 0.1)
    within("train.workers", 1)
    within("train.batch_size", settings.train.workers)
    within("train.epochs", 1)
    within("train.patience", 1)
    among("train.precision", settings.train.precision, ("auto", "float32", "bfloat16"))
    within("train.evict_after", 0)
    within("compress.epochs", 1)
    if settings.stream.label_delay_seconds is None:
        raise SettingError(
            f"stream.label_delay={settings.stream.label_delay}: write a number and m, h or d, such as 6h"
        )
    within("compress.batch_size", settings.train.workers)
    within("compress.lag", 1)
    within("compress.every", 1)
    within("budget.bytes", 0)
    within("budget.row_updates", 0)
    within("measure.holdout_periods", 0)
    within("measure.bootstrap", 0)
    within("serve.port", 0, 65_535)
    within("serve.candidates", 1, MAX_CANDIDATES)
    within("serve.seconds", 0.1)
    within("serve.repeats", 1)
    within("serve.timeout_s", 0.001)
    within("serve.check_rows", 1)
    if not settings.serve.rates or min(settings.serve.rates) <= 0:
        raise SettingError(f"serve.rates={settings.serve.rates}: must be one or more numbers above 0")
