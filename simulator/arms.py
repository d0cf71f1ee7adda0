"""What a contender is: an arm (backbone, knowledge, policy) with a seed, and what it has learned so far."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from pkb.backbones import BACKBONES
from pkb.bases import KNOWLEDGE_BASES
from pkb.batch import Batch, Schema
from pkb.errors import FutureError
from pkb.knowledge import KnowledgeBase
from pkb.plug import ClickModel, ExtraFields
from simulator.seeding import derived_seed, generator
from simulator.settings import Settings
from simulator.stream.log import Period
from simulator.train.ranks import Ranks
from simulator.train.steps import DivergedError, Steps, dense_parameters, tables_of

Progress = Callable[[int], None]  # told the number of rows of each minibatch that is done


@dataclass(frozen=True, kw_only=True)
class Lesson:
    """What a policy makes of a new period: the periods whose rows to learn, mixed, and whether from scratch."""

    periods: range
    afresh: bool = False


def lesson(policy: str, period: int, frozen_after: int) -> Lesson | None:
    """The lesson of `policy` when period number `period` has become known; None is to learn nothing."""
    match policy:
        case "frozen":
            return Lesson(periods=range(period, period + 1)) if period < frozen_after else None
        case "finetune":
            return Lesson(periods=range(period, period + 1))
        case "retrain_all":
            return Lesson(periods=range(period + 1), afresh=True)
        case _:
            raise ValueError(policy)


class Contender:
    """One arm with one seed. Every random draw depends on the seed, what is drawn for, and the period."""

    def __init__(self, arm: str, seed: int, settings: Settings, schema: Schema, ranks: Ranks | None = None) -> None:
        self.arm, self.seed, self.settings, self.schema = arm, seed, settings, schema
        self.ranks = ranks or Ranks()
        self.choice = settings.arms[arm]
        self.trained_through = -1  # number of the last period learned
        self.built_until: int | None = None  # end of that period, seconds
        self.compressed_through = -1
        self.knowledge_built_until: int | None = None
        self.stopped: str | None = None  # why this contender takes no further part
        self.knowledge, self.knowledge_steps = self._new_knowledge()
        self.model, self.model_steps = self._new_model()

    @property
    def key(self) -> str:
        return f"{self.arm}-{self.seed}"

    def _new_model(self) -> tuple[ClickModel, Steps]:
        """Untrained; the same weights for every arm with this backbone, knowledge and seed."""
        cls = BACKBONES[self.choice.backbone]
        torch.manual_seed(derived_seed(self.seed, "weights", self.choice.backbone))
        extra = 0 if self.knowledge is None else self.knowledge.vectors
        backbone = cls(self.schema, getattr(self.settings.backbones, self.choice.backbone), extra)
        plug = None if self.knowledge is None else ExtraFields(self.knowledge.width, backbone.embedding_width)
        model = ClickModel(backbone, plug)
        backbone.grow(self.schema.first_value_id, generator(self.seed, "new rows", self.choice.backbone))
        train = self.settings.train
        groups = [{"params": dense_parameters(model), "lr": train.learning_rate}]
        return model, Steps(model, groups, train.embedding_learning_rate, self.ranks)

    def _new_knowledge(self) -> tuple[KnowledgeBase | None, Steps | None]:
        if self.choice.knowledge is None:
            return None, None
        torch.manual_seed(derived_seed(self.seed, "weights", self.choice.knowledge))
        cls = KNOWLEDGE_BASES[self.choice.knowledge]
        base = cls(self.schema, getattr(self.settings.knowledge, self.choice.knowledge))
        base.grow(self.schema.first_value_id, generator(self.seed, "new rows", self.choice.knowledge))
        groups = base.parameter_groups(self.settings.compress.learning_rate)
        return base, Steps(base, groups, self.settings.train.embedding_learning_rate, self.ranks)

    def logits(self, batch: Batch) -> Tensor:
        """[B]; knowledge takes part once the base has been compressed from something."""
        compressed = self.knowledge if self.compressed_through >= 0 else None
        logits: Tensor = self.model(batch, compressed.knowledge(batch) if compressed else None)
        return logits

    @torch.inference_mode()
    def predict(self, batch: Batch, progress: Progress | None = None) -> np.ndarray:
        """Click probabilities, [B] float32."""
        self.model.eval()
        start, stop = self.ranks.bounds(len(batch))
        probability = torch.zeros(len(batch))
        for part in batch.select(slice(start, stop)).minibatches(self.settings.measure.predict_batch_size):
            probability[start : start + len(part)] = torch.sigmoid(self.logits(part))
            start += len(part)
            if progress:
                progress(len(part) * self.ranks.world)
        return self.ranks.sum(probability).numpy()

    def predict_prequentially(self, period: Period, batch: Batch, progress: Progress | None = None) -> np.ndarray:
        """`predict` on a period that nothing here may have seen; FutureError if something has."""
        for artefact, until in [("model", self.built_until), ("knowledge base", self.knowledge_built_until)]:
            if until is not None and until > period.start:
                raise FutureError(f"the {artefact} of {self.key}", until, period.start)
        return self.predict(batch, progress)

    def compress(self, period: Period, rows: Batch, now: Period, progress: Progress | None = None) -> None:
        """Compress `rows` of an old `period` into the knowledge base, at the time of `now`."""
        if self.knowledge is None or self.knowledge_steps is None:
            return
        if period.end > now.start:
            raise FutureError(f"the knowledge base of {self.key}", period.end, now.start)
        base, size = self.knowledge, self.settings.compress.batch_size
        base.grow(
            period.vocabulary_size,
            generator(self.seed, "new rows", self.choice.knowledge or "", period.index),
        )
        base.train()
        self._seed_draws("compress", period)
        for step, minibatch in enumerate(self._minibatches(rows, size, "compress", period)):
            part = self.ranks.share(minibatch)
            loss = base.compression_losses(part)["total"] * (len(part) / len(minibatch)) if len(part) else None
            self._take(self.knowledge_steps, loss, f"compressing period {period.index}, step {step}")
            if progress:
                progress(len(minibatch))
        self.compressed_through, self.knowledge_built_until = period.index, period.end

    def learn(self, period: Period, rows: Batch, now: Period, progress: Progress | None = None) -> None:
        """Learn `rows`, the latest of which are of `period`, at the end of period `now`."""
        if period.end > now.end:
            raise FutureError(f"the model of {self.key}", period.end, now.end)
        self.model.train()
        self.model.backbone.grow(
            period.vocabulary_size, generator(self.seed, "new rows", self.choice.backbone, period.index)
        )
        self._seed_draws("learn", period)
        for step, minibatch in enumerate(self._minibatches(rows, self.settings.train.batch_size, "learn", period)):
            part = self.ranks.share(minibatch)
            loss = None
            if len(part):
                loss = binary_cross_entropy_with_logits(self.logits(part), part.label, reduction="sum")
                loss = loss / len(minibatch)
            self._take(self.model_steps, loss, f"learning period {period.index}, step {step}")
            if progress:
                progress(len(minibatch))
        self.trained_through, self.built_until = now.index, now.end

    def start_afresh(self) -> None:
        """Forget the click model; the knowledge base stays."""
        self.model, self.model_steps = self._new_model()
        self.trained_through, self.built_until = -1, None

    def knowledge_bytes(self) -> int:
        """Bytes of the base's float32 weights, those that serve compression alone included; 0 without a base."""
        if self.knowledge is None:
            return 0
        tables = sum(t.size * t.width for t in tables_of(self.knowledge).values())
        return 4 * (tables + sum(p.numel() for p in dense_parameters(self.knowledge)))

    def _take(self, steps: Steps, loss: Tensor | None, where: str) -> None:
        try:
            steps.step(loss)
        except DivergedError as error:
            raise DivergedError(f"{error} while {where}") from None

    def _minibatches(self, rows: Batch, size: int, stage: str, period: Period) -> Iterable[Batch]:
        """In an order that seed and period decide, so that every arm sees the same minibatches."""
        order = torch.randperm(len(rows), generator=generator(self.seed, "order", stage, period.index))
        return rows.minibatches(size, order)

    def _seed_draws(self, stage: str, period: Period) -> None:
        """Dropout and sampled masks: the same for every arm, different on every rank."""
        torch.manual_seed(derived_seed(self.seed, stage, period.index, self.ranks.rank))
