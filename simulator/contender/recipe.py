"""What makes a contender: an arm, a seed, and every setting that plays a part, resolved."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from pkb.bases import KNOWLEDGE_BASES
from retrieval.models import RETRIEVAL_MODELS
from simulator.config.typed import plain, typed
from simulator.contender.models import MODELS
from simulator.contender.settings import ArmSettings, CompressSettings
from simulator.policies import POLICIES
from simulator.record.experiment import key_of
from simulator.train.settings import TrainSettings


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """All that decides what a contender is and learns; two with equal recipes are equal to the bit."""

    name: str  # of the arm
    seed: int
    arm: ArmSettings
    backbone: Any  # Settings of the click model, at the arm's width
    policy: Any  # Settings of the policy
    base: Any = None  # Settings of the knowledge base, with the arm's options
    beside: Any = None  # Settings of the second base
    teacher: Any = None  # Settings of the retrieval model that teaches it, if one does
    train: TrainSettings
    compress: CompressSettings
    histories: tuple[str, ...] = ()  # fields of which the search pool gives histories, where the log has none
    label_delay: int = 0  # seconds
    row_updates: int = 0  # that a period may take; 0 is no bound
    predict_batch_size: int = 8192
    learns_sub_domain: bool = False  # and no rows of other domains

    @property
    def key(self) -> str:
        return key_of((self.name, self.seed))

    @property
    def uses_histories(self) -> bool:
        """Whether the click model reads behaviour histories."""
        return MODELS[self.arm.backbone].uses_histories

    @property
    def reads_histories(self) -> bool:
        """Whether its click model or its base reads those of the log, if it has any."""
        bases = [KNOWLEDGE_BASES[name] for name in (self.arm.knowledge, self.arm.beside) if name is not None]
        return self.uses_histories or any(base.uses_histories for base in bases)

    @property
    def epochs(self) -> int:
        """Passes over the rows of a lesson."""
        return self.arm.epochs or self.train.epochs

    def to_json(self) -> str:
        return json.dumps(plain(self), indent=1)

    @classmethod
    def from_json(cls, text: str) -> Recipe:
        raw = json.loads(text)
        arm = typed(ArmSettings, raw.pop("arm"))
        teacher, base, beside = raw.pop("teacher"), raw.pop("base"), raw.pop("beside")
        if arm.knowledge is not None:
            base = typed(KNOWLEDGE_BASES[arm.knowledge].Settings, base)
            teacher = None if teacher is None else typed(RETRIEVAL_MODELS[base.teacher].Settings, teacher)
        if arm.beside is not None:
            beside = typed(KNOWLEDGE_BASES[arm.beside].Settings, beside)
        return cls(
            arm=arm,
            beside=beside,
            backbone=typed(MODELS[arm.backbone].Settings, raw.pop("backbone")),
            policy=typed(POLICIES[arm.policy].Settings, raw.pop("policy")),
            base=base,
            teacher=teacher,
            train=typed(TrainSettings, raw.pop("train")),
            compress=typed(CompressSettings, raw.pop("compress")),
            histories=tuple(raw.pop("histories")),
            **raw,
        )
