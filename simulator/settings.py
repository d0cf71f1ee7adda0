"""The settings of a run: all sections, and what one of them cannot know of another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pkb.errors import SettingError
from simulator.arms import check_arm, check_layers
from simulator.config.checks import among, expand_home
from simulator.config.reading import read
from simulator.config.typed import yaml_of
from simulator.contender.models import MODELS
from simulator.contender.pace import SMALLEST
from simulator.contender.yardsticks import YARDSTICKS
from simulator.measure.settings import MeasureSettings
from simulator.sections import Sections
from simulator.stream.periods import width_seconds
from simulator.stream.settings import StreamSettings
from simulator.stream.typed_values import LONGEST_LIST

LARGEST_SEED = 2**31 - 1  # results hold them in 32 bits


@dataclass(frozen=True, kw_only=True)
class Settings(Sections):
    """One experiment, of parts that go together."""

    def __post_init__(self) -> None:
        expand_home(self, "runs")
        if not self.name or "/" in self.name or self.name.startswith("."):
            raise SettingError(f"name={self.name!r}: must be usable as a folder's name")
        if not self.seeds or len(set(self.seeds)) < len(self.seeds):
            raise SettingError(f"seeds={self.seeds}: must be one or more different numbers")
        if not all(0 <= seed <= LARGEST_SEED for seed in self.seeds):
            raise SettingError(f"seeds={self.seeds}: must lie between 0 and {LARGEST_SEED}")
        for name in MODELS:
            check_layers(f"backbones.{name}", getattr(self.backbones, name))
        for name, size in (("train", self.train.batch_size), ("compress", self.compress.batch_size)):
            if (size or SMALLEST) < self.train.workers:
                least = "" if size else f"makes minibatches of {SMALLEST} rows at the least, fewer than"
                raise SettingError(
                    f"{name}.batch_size={size}: {least or 'must be at least'} train.workers, {self.train.workers}"
                )
        if self.stream.history_length > LONGEST_LIST:
            raise SettingError(
                f"stream.history_length={self.stream.history_length}: must be at most {LONGEST_LIST}, to be served"
            )
        if self.tune.periods and self.stream.protocol == "split":
            raise SettingError(f"tune.periods={self.tune.periods}: must be 0 where stream.protocol=split")
        _check_staleness(self.measure, self.stream)
        for name in self.arms:
            check_arm(self, name)
        for place, name in enumerate(self.yardsticks):
            among(f"yardsticks[{place}]", name, YARDSTICKS)
            if name in self.arms:
                raise SettingError(
                    f"arms.{name}: is a yardstick's name; rename the arm, or leave {name} out of yardsticks"
                )
        if len(set(self.yardsticks)) < len(self.yardsticks):
            raise SettingError(f"yardsticks={self.yardsticks}: name each once")


def load(file: Path, overrides: Sequence[str] = ()) -> Settings:
    """Read an experiment from a YAML file, with overrides in Hydra's grammar; SettingError says what is wrong."""
    settings = read(Settings, file, overrides)
    if not settings.arms:
        raise SettingError("arms: is empty; name at least one, such as arms.finetune.backbone=deepfm")
    return settings


def to_yaml(settings: Settings) -> str:
    """Write an experiment, fully resolved, as `load` reads it back."""
    return yaml_of(settings)


def _check_staleness(measure: MeasureSettings, stream: StreamSettings) -> None:
    """One model takes the place of another within the period that follows, which has some length of time."""
    timed = stream.protocol == "stream" and not stream.period.endswith("rows")
    if measure.staleness_seconds > (width_seconds(stream.period) if timed else 0):
        longest = (
            f"no longer than stream.period, {stream.period}" if timed else "0m: its periods have no length of time"
        )
        raise SettingError(f"measure.staleness={measure.staleness}: must be {longest}")
