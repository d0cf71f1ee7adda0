"""What takes part: an arm, what its knowledge is compressed from, and what all arms may spend."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Any

from pkb.center.writing import MOST_VERSIONS
from pkb.errors import SettingError
from pkb.plug import INTO_USE, PLUGS, WEIGHTS
from pkb.space import Between, OneOf
from simulator.config.checks import above_zero, at_least, between, one_of

MOST_ROWS = 2**31 - 1  # of a minibatch
WIDEST = 4096  # embeddings
LIVE, CENTER = SOURCES = ("live", "center")  # of an arm's knowledge


@dataclass(frozen=True, kw_only=True)
class CompressSettings:
    """When and from what knowledge bases are compressed."""

    batch_size: int = 0  # rows of a minibatch; 0: as many as make 128 steps of a pass, 1,024 at most
    learning_rate: Annotated[float, Between(1e-4, 1e-2, log=True)] = 1e-3
    epochs: Annotated[int, OneOf((1, 2, 3))] = 1
    lag: int = 1  # a period becomes old this many periods after it was learned by the backbones
    every: int = 1  # periods between two compressions, each of all that has become old meanwhile

    def __post_init__(self) -> None:
        between(self, "batch_size", 0, MOST_ROWS)
        above_zero(self, "learning_rate")
        for name in ("epochs", "lag", "every"):
            at_least(self, name, 1)


@dataclass(frozen=True, kw_only=True)
class ArmSettings:
    """One contender."""

    backbone: str = "deepfm"
    knowledge: str | None = None
    plug: str = "fields"  # how knowledge enters: fields, join, hidden, gate, fields+join, weights (pkb/plug.py)
    layer: int = 1  # hidden layer, counted from 1, at which the plugs hidden and gate enter
    # Of its knowledge: the base itself (live), or stored versions of what it knows (center; docs/keep.md).
    source: str = "live"
    policy: str = "finetune"
    width: int | None = None  # of the backbone's embeddings, in place of the backbone's own setting
    backbone_options: dict[str, Any] = field(default_factory=dict)  # of its backbone, in place of `backbones.<name>`
    domains: str = "sub"  # whose rows its click model learns, where the stream has a sub-domain: sub, all
    epochs: int | None = None  # passes over the rows of a lesson, in place of `train.epochs`
    options: dict[str, Any] = field(default_factory=dict)  # of its knowledge base, in place of `knowledge.<name>`
    control: str | None = None  # what knowledge must beat: untrained (the base learns nothing), shuffled (its labels)
    # Periods at which its click model is replaced: what learns this period starts from nothing, learns it as its policy
    # says and goes on from there. The former model has still predicted it; the knowledge base stays (docs/restart.md).
    restart_at: list[int] = field(default_factory=list)
    # Period that is the first to be learned with knowledge: before it the arm is its bare arm, though its base
    # compresses; then knowledge is plugged into the model in use, which goes on from its weights; where the plug is a
    # new input, the layers that read it start anew (docs/keep.md).
    plug_from: int | None = None
    beside: str | None = None  # a second base, plugged in beside the first by a plug of its own (docs/keep.md)
    beside_options: dict[str, Any] = field(default_factory=dict)  # of the second base
    beside_from: int | None = None  # period that is the first to be learned with the second base's knowledge
    compress_from: int = 0  # period that is the first its base takes in; earlier ones reach it no more than its model

    def __post_init__(self) -> None:
        one_of(self, "plug", (*PLUGS, WEIGHTS))
        one_of(self, "domains", ("sub", "all"))
        one_of(self, "source", SOURCES)
        at_least(self, "layer", 1)
        between(self, "width", 1, WIDEST)
        if "width" in self.backbone_options:
            raise SettingError(f"backbone_options={self.backbone_options}: the arm itself has a width; write it there")
        at_least(self, "epochs", 1)
        one_of(self, "control", ("untrained", "shuffled"))
        if list(self.restart_at) != sorted(set(self.restart_at)) or min(self.restart_at, default=1) < 1:
            raise SettingError(
                f"restart_at={self.restart_at}: list numbers of periods, each once, in their order, from 1 on: "
                "what learns period 0 starts from nothing anyway"
            )
        at_least(self, "plug_from", 1)
        at_least(self, "compress_from", 0)
        at_least(self, "beside_from", self.plug_from or 1)
        if self.plug == WEIGHTS:
            self._check_weights()
        if self.knowledge is None:
            if self.source != LIVE:
                raise SettingError(f"source={self.source}: the arm has no knowledge; name one, or leave it out")
            for name in ("options", "control", "plug_from", "compress_from", "beside"):
                if value := getattr(self, name):
                    raise SettingError(f"{name}={value}: the arm has no knowledge for it; name one, or leave it out")
        if self.beside is None and (self.beside_options or self.beside_from):
            raise SettingError("beside_options and beside_from: there is no second base; name it (beside)")
        if self.beside is not None and (self.beside_from is None or self.plug not in INTO_USE):
            raise SettingError(
                f"beside={self.beside}: say from which period on (beside_from), and plug both in by "
                f"{' or '.join(INTO_USE)}, which leave room for another"
            )

    def _check_weights(self) -> None:
        """Hold an arm whose base's network becomes its click model to what can be."""
        if self.knowledge is None or self.plug_from is None:
            raise SettingError(
                f"plug={WEIGHTS}: a base becomes the click model; name the base (knowledge) and the period (plug_from)"
            )
        for name in ("width", "backbone_options"):
            if value := getattr(self, name):
                raise SettingError(f"{name}={value}: leave it out with plug={WEIGHTS}, where it is the base's")
        if max(self.restart_at, default=0) > self.plug_from:
            raise SettingError(
                f"restart_at={self.restart_at}: name no period after plug_from={self.plug_from} with plug={WEIGHTS}: "
                "the base that became the model is no more"
            )


@dataclass(frozen=True, kw_only=True)
class CenterSettings:
    """What the centers hold that arms with `source: center` read (docs/keep.md)."""

    versions: int = MOST_VERSIONS  # that are kept; then the oldest leaves
    category: str | None = None  # the field that is an item's category; by default one named like it, else the last one

    def __post_init__(self) -> None:
        at_least(self, "versions", 1)


@dataclass(frozen=True, kw_only=True)
class BudgetSettings:
    """What every arm may take alike; 0 leaves each arm what its policy asks for."""

    bytes: int = 0  # that an arm keeps after the last period: model, optimiser, knowledge base, buffers
    row_updates: int = 0  # rows that an arm trains on in a period, repeated ones and compression included

    def __post_init__(self) -> None:
        at_least(self, "bytes", 0)
        at_least(self, "row_updates", 0)
