"""The sections of all rooms in one dataclass; what one of them cannot know of another stands in `settings` and `arms`.

Each section's dataclass stands beside the code that it configures and checks itself; `simulator/config/` reads them.
"""

from __future__ import annotations

from dataclasses import dataclass, field, make_dataclass
from typing import Any

from pkb.bases import KNOWLEDGE_BASES
from retrieval.indexed_pool import RetrievalSettings
from simulator.contender.models import MODELS
from simulator.contender.settings import ArmSettings, BudgetSettings, CenterSettings, CompressSettings
from simulator.contender.yardsticks import YARDSTICKS
from simulator.measure.settings import MeasureSettings
from simulator.policies import POLICIES
from simulator.serve.settings import ServeSettings
from simulator.stream.settings import IngestSettings, StreamSettings
from simulator.train.settings import TrainSettings
from simulator.tune.settings import TuneSettings


def _section(name: str, registry: dict[str, type[Any]]) -> type[Any]:
    """A dataclass with one field of settings for each entry of a registry."""
    entries = [(key, cls.Settings, field(default_factory=cls.Settings)) for key, cls in registry.items()]
    return make_dataclass(name, entries, frozen=True, kw_only=True)


Backbones = _section("Backbones", MODELS)
KnowledgeBases = _section("KnowledgeBases", KNOWLEDGE_BASES)
Policies = _section("Policies", POLICIES)


@dataclass(frozen=True, kw_only=True)
class Sections:
    """The settings of all rooms."""

    name: str = "run"
    runs: str = "runs"  # folder of run folders
    seeds: list[int] = field(default_factory=lambda: [0])
    stream: StreamSettings = field(default_factory=StreamSettings)
    ingest: IngestSettings = field(default_factory=IngestSettings)
    train: TrainSettings = field(default_factory=TrainSettings)
    compress: CompressSettings = field(default_factory=CompressSettings)
    tune: TuneSettings = field(default_factory=TuneSettings)
    arms: dict[str, ArmSettings] = field(default_factory=dict)
    yardsticks: list[str] = field(default_factory=lambda: list(YARDSTICKS))  # played beside the arms; [] for none
    backbones: Backbones = field(default_factory=Backbones)  # type: ignore[valid-type]
    knowledge: KnowledgeBases = field(default_factory=KnowledgeBases)  # type: ignore[valid-type]
    policies: Policies = field(default_factory=Policies)  # type: ignore[valid-type]
    center: CenterSettings = field(default_factory=CenterSettings)
    budget: BudgetSettings = field(default_factory=BudgetSettings)
    retrieval: RetrievalSettings = field(default_factory=RetrievalSettings)
    measure: MeasureSettings = field(default_factory=MeasureSettings)
    serve: ServeSettings = field(default_factory=ServeSettings)
