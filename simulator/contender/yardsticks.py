"""What arms must beat to be worth comparing: cheap models that every run plays beside them, with the first seed.

They learn as their policies say, whatever the arms' are. To add one: add its line to `YARDSTICKS`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from simulator.contender.settings import ArmSettings
from simulator.policies.base import NoSettings
from simulator.policies.plain import RetrainWindow

WINDOW = 7  # periods that the logistic regression is fitted to


@dataclass(frozen=True, kw_only=True)
class Yardstick:
    """What one is made of; its backbone has the settings of `backbones`, as any arm's."""

    arm: ArmSettings
    policy: Any = field(default_factory=NoSettings)  # Settings of its policy, in place of those of `policies`


YARDSTICKS = {
    "popularity": Yardstick(arm=ArmSettings(backbone="popularity")),
    "logistic": Yardstick(
        arm=ArmSettings(backbone="logistic", policy="retrain_window"), policy=RetrainWindow.Settings(periods=WINDOW)
    ),
    "gbdt_counts": Yardstick(arm=ArmSettings(backbone="gbdt")),
}
