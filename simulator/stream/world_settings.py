"""What the synthetic world is made of (docs/world.md)."""

from __future__ import annotations

from dataclasses import dataclass, field, fields

from pkb.errors import SettingError
from simulator.config.checks import at_least, between


@dataclass(frozen=True, kw_only=True)
class DriftSettings:
    """Strength of each part of the synthetic world's drift; 0 leaves it out (docs/world.md)."""

    wander: float = 1.0  # users' tastes change a little every period
    turnover: float = 1.0  # items appear and retire
    regimes: float = 1.0  # meal times and weekends come back after an absence
    promotions: float = 1.0  # a spurious pattern is profitable for a few periods
    shifts: float = 0.0  # at one moment many effects change at once
    fashion: float = 0.0  # what brands, kinds and themes are worth changes a little every period
    holidays: float = 0.0  # for a few periods, after a long absence, groups of users like something else
    scenarios: float = 0.0  # share of what items are worth that is a scenario's own, where the world has scenarios
    label_noise: float = 0.0  # share of labels that are drawn without regard to row and user

    def __post_init__(self) -> None:
        for part in fields(self):
            at_least(self, part.name, 0)
        between(self, "scenarios", 0, 1)
        between(self, "label_noise", 0, 1)


@dataclass(frozen=True, kw_only=True)
class DomainSettings:
    """The world's sub-domain, of which it has none unless it holds impressions (docs/world.md).

    The sizes to ask for are those of KEEP's Table 1: 1/27 of the impressions, half of the users.
    """

    impressions: float = 0.0  # share of them that is of the sub-domain
    users: float = 0.5  # share of them that it ever shows anything to
    shared: float = 1.0  # correlation of what users like there with what they like elsewhere

    def __post_init__(self) -> None:
        between(self, "impressions", 0, 0.9)
        between(self, "users", 0.001, 1)
        between(self, "shared", 0, 1)


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
    habit: float = 0.35  # spread of the users' own logits
    taste: float = 0.16  # spread of the users' own tastes
    scenarios: int = 0  # of very different sizes, the field `scenario`; 0 leaves the preset's
    leak: float = 0.0  # share of the clicks that a field gives away, as if it had been written after them
    drift: DriftSettings = field(default_factory=DriftSettings)
    domains: DomainSettings = field(default_factory=DomainSettings)
    seed: int = 0

    def __post_init__(self) -> None:
        at_least(self, "periods", 2)
        at_least(self, "rows_per_period", 1)
        between(self, "scale", 1e-5, 1)
        at_least(self, "users", 1)
        at_least(self, "items", 8)
        between(self, "click_rate", 0.001, 0.999)
        at_least(self, "habit", 0)
        at_least(self, "taste", 0)
        between(self, "scenarios", 0, 100)
        if self.drift.scenarios and not self.scenarios:
            raise SettingError(f"drift.scenarios={self.drift.scenarios}: needs scenarios, the number of them, above 0")
        if self.scenarios and self.domains.impressions:
            raise SettingError(f"scenarios={self.scenarios}: must be 0 in a world with a sub-domain")
        between(self, "leak", 0, 1)
