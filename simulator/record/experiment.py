"""What measuring and reporting must know of a run's settings, resolved (`experiment.json`).

The run writes it when its folder is opened. So whoever reads a run later needs none of the registries of backbones,
knowledge bases and policies that its settings name, and none of what these import.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import Any

from pkb.errors import RunError
from simulator.record.layout import RunFolder
from simulator.record.typed_json import read_typed, write_json

ArmAndSeed = tuple[str, int]  # who takes part: one arm with one seed


def key_of(who: ArmAndSeed) -> str:
    """Name a contender, as its files are named."""
    arm, seed = who
    return f"{arm}-{seed}"


def who_of(key: str) -> ArmAndSeed:
    """Read the name of a contender."""
    parts = re.fullmatch(r"(.+?)-(-?\d+)", key)
    assert parts, f"{key} is no arm and seed"
    return parts[1], int(parts[2])


@dataclass(frozen=True, kw_only=True)
class Arm:
    """What one arm is made of."""

    backbone: str
    policy: str
    knowledge: str | None  # the base; None of an arm without knowledge
    plug: str
    layer: int
    width: int | None
    epochs: int | None
    options: dict[str, Any]  # of its knowledge base
    control: str | None  # untrained, shuffled: all of its base but what that learned
    base_is_control: bool  # the base tells only what any other can tell beside its knowledge
    remedies: dict[str, str]  # what to do, by the health figure of its base that is bad
    untuned: bool = False  # a tuned arm once more, with its settings as they were given
    restart_at: list[int] = field(default_factory=list)  # periods of which what learns them starts from nothing
    plug_from: int | None = None  # period that is the first to be learned with knowledge; None: all
    domains: str | None = None  # all: its click model learns every domain's rows, not those of the sub-domain alone
    compress_from: int = 0  # period that is the first its base takes in
    beside: str | None = None  # its second base
    beside_from: int | None = None  # period that is the first to be learned with the second base's knowledge
    backbone_options: dict[str, Any] = field(default_factory=dict)  # settings of its backbone that are its own

    @property
    def model(self) -> str:
        """Its click model, but for the width: the backbone, with what of its settings is the arm's own."""
        return self.backbone + (json.dumps(self.backbone_options, sort_keys=True) if self.backbone_options else "")

    @property
    def moments(self) -> dict[str, Any]:
        """What of it changes on the way, or begins late, by setting; None where nothing does."""
        names = ("restart_at", "plug_from", "compress_from", "beside", "beside_from", "domains")
        return {name: getattr(self, name) or None for name in names}


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """One run: what it replayed, and who took part."""

    name: str
    data: str  # the data set's name
    seeds: list[int]
    arms: dict[str, Arm]  # in the order of the settings
    yardsticks: list[str]  # what arms must beat to be worth comparing: played with the first seed, beside the arms
    protocol: str  # stream, split
    holdout_share: float
    utc_offset_hours: int  # of the clock that days are cut at
    bootstrap: int  # redraws of users behind an interval
    by_row: bool = False  # the order of rows stands for time, of which the log tells nothing
    of_lists: list[str] = field(default_factory=list)  # features that tell a row's place among those shown with it
    tuned_on: int = 0  # periods, the first ones, by which arms were tuned; no mean is over them
    staleness: str | None = None  # from a period's end to its model's service, if that is measured

    @property
    def first_measured(self) -> int:
        """Number of the first period that counts in a mean: before period 1 nothing has been learned."""
        return max(1, self.tuned_on)

    @property
    def everyone(self) -> list[ArmAndSeed]:
        """List who takes part: arms with every seed, then yardsticks with the first."""
        arms = [(arm, seed) for arm in self.arms for seed in self.seeds]
        return [*arms, *((name, self.seeds[0]) for name in self.yardsticks)]

    @property
    def keys(self) -> list[str]:
        """Name everyone who takes part."""
        return [key_of(who) for who in self.everyone]


def write_experiment(run: RunFolder, experiment: Experiment) -> None:
    """Write `experiment.json`."""
    write_json(run.experiment, experiment)


def read_experiment(run: RunFolder) -> Experiment:
    """Read `experiment.json`; RunError where the folder is none of a run, DataError where the file is damaged."""
    if not run.experiment.exists():
        raise RunError(f"{run}: holds no {run.experiment.name}, so it is not the folder of a run")
    return read_typed(run.experiment, Experiment)
