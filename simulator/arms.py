"""What a contender is: an arm (backbone, knowledge, policy) with a seed, and what it has learned so far."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

from pkb.backbones.base import Backbone, ClickModel, FittedBackbone
from pkb.bases import KNOWLEDGE_BASES
from pkb.batch import Batch, Schema
from pkb.dated import Dated
from pkb.knowledge import Knowledge, KnowledgeBase, evaluate
from pkb.plug import EMPTY, Sockets, make_plug, sockets_for
from pkb.rok.teacher import Teacher
from retrieval.encoding import Encoder
from retrieval.models import RETRIEVAL_MODELS
from retrieval.models.dert import DERT
from retrieval.shelf import BEHAVIOURS, DENSE, as_histories, pool_histories
from simulator.control import shuffled
from simulator.measure.ranking import auc
from simulator.models import MODELS
from simulator.policies import POLICIES
from simulator.seeding import derived_seed, generator
from simulator.settings import Settings, knowledge_settings
from simulator.stream.log import Period
from simulator.train.early_stopping import EarlyStopping
from simulator.train.ranks import Ranks
from simulator.train.steps import DivergedError, Steps, dense_parameters, nbytes, tables_of, uses_bfloat16

EXAMINED = 5_000  # rows that tell how a knowledge base fares, and how long its knowledge is
Progress = Callable[[int], None]  # told the number of rows of each minibatch that is done
Extra = Callable[[Batch, Tensor], Tensor]  # what a policy adds to the loss of a batch with these logits


class Fit(Protocol):
    """Learns rows, with a policy's part of the loss if there is one."""

    def __call__(self, rows: Batch, extra: Extra | None = None) -> None: ...


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
        self.bfloat16 = uses_bfloat16(settings.train.precision)
        self.policy = POLICIES[self.choice.policy](getattr(settings.policies, self.choice.policy), seed)
        self._spent = (-1, 0)  # period, and the row updates in it
        self.notes: dict[str, float] = {}  # figures about the knowledge base of the present period
        searched = MODELS[self.choice.backbone].uses_histories
        self.histories = pool_histories(settings.retrieval.histories if searched else ())
        self.lessons = 0  # fits and compressions so far, by this process
        self.ledger: list[Tensor] = []  # row ids that this rank has learned in the present period
        self.knowledge, self.knowledge_steps = self._new_knowledge()
        self.model, self.model_steps = self._new_model()

    @property
    def key(self) -> str:
        return f"{self.arm}-{self.seed}"

    def _new_model(self) -> tuple[ClickModel, Steps]:
        """Untrained; the same weights for every arm with this backbone, knowledge and seed."""
        cls = MODELS[self.choice.backbone]
        torch.manual_seed(derived_seed(self.seed, "weights", self.choice.backbone))
        choice, knowledge, sockets = self.choice, self.knowledge, Sockets()
        plug_name = "columns" if issubclass(cls, FittedBackbone) else choice.plug
        if knowledge is not None:
            sockets = sockets_for(plug_name, knowledge.shape, choice.layer)
        shape = getattr(self.settings.backbones, choice.backbone)
        schema = replace(self.schema, histories=self.schema.histories + self.histories)
        backbone = cls(schema, replace(shape, width=choice.width) if choice.width else shape, sockets)
        plug = None
        if knowledge is not None:
            plug = make_plug(
                plug_name,
                knowledge.shape,
                fields=len(self.schema.fields),
                embedding_width=backbone.embedding_width,
                hidden_width=backbone.hidden_width,
            )
        model = ClickModel(backbone, plug)
        backbone.grow(self.schema.first_value_id, generator(self.seed, "new rows", self.choice.backbone))
        train = self.settings.train
        learned = nn.ModuleList([model] if knowledge is None else [model, knowledge.learns_on()])
        groups = [{"params": dense_parameters(learned), "lr": train.learning_rate}]
        return model, Steps(learned, groups, train.embedding_learning_rate, self.ranks)

    def _new_knowledge(self) -> tuple[KnowledgeBase | None, Steps | None]:
        if self.choice.knowledge is None:
            return None, None
        torch.manual_seed(derived_seed(self.seed, "weights", self.choice.knowledge))
        cls: Any = KNOWLEDGE_BASES[self.choice.knowledge]
        shape = knowledge_settings(self.settings, self.arm)
        taught_by = [self._new_teacher(shape.teacher)] if cls.taught else []
        base: KnowledgeBase = cls(self.schema, shape, *taught_by)
        base.grow(self.schema.first_value_id, generator(self.seed, "new rows", self.choice.knowledge))
        groups = base.parameter_groups(self.settings.compress.learning_rate)
        return base, Steps(base, groups, self.settings.train.embedding_learning_rate, self.ranks)

    def _new_teacher(self, name: str) -> Teacher:
        return RETRIEVAL_MODELS[name](self.schema, getattr(self.settings.backbones, name))

    @property
    def reads(self) -> set[str]:
        """The retrievers whose neighbours a prediction reads; none if it reads a row alone."""
        searching = self.knowledge.retriever if self.knowledge is not None and self.knowledge.searches else None
        names = (BEHAVIOURS if self.histories else None, self.model.backbone.retriever, searching)
        return {name for name in names if name is not None}

    @property
    def retrievers(self) -> set[str]:
        """Those, and the one whose neighbours the compression of the knowledge base reads."""
        taught = None if self.knowledge is None else self.knowledge.retriever
        return self.reads if taught is None else self.reads | {taught}

    def encoder(self) -> tuple[Encoder, int, int | None]:
        """The model's own encoder of rows as it is now, or its teacher's; the width of a vector; built until."""
        own = self.model.backbone.retriever == DENSE
        model = self.model.backbone if own else getattr(self.knowledge, "teacher", None)
        assert isinstance(model, DERT)
        evaluate(model)
        return model.encode, model.settings.vector_width, self.built_until if own else self.knowledge_built_until

    def logits(self, batch: Batch, model: ClickModel | None = None) -> Tensor:
        """[B], of this contender's or another model; knowledge takes part once there has been something to compress."""
        logits: Tensor = (model or self.model)(self._with_histories(batch), self._knowledge_of(batch))
        return logits

    def _with_histories(self, batch: Batch) -> Batch:
        """The batch, its neighbours as histories where the log has none and the model wants them."""
        if not self.histories:
            return batch
        found = as_histories(batch.neighbours[BEHAVIOURS], self.histories, self.schema)
        return replace(batch, histories=batch.histories | found)

    def _knowledge_of(self, batch: Batch) -> Knowledge | None:
        compressed = self.knowledge if self.compressed_through >= 0 else None
        return compressed.knowledge(batch) if compressed else None

    def _knowledge_to_learn_with(self, batch: Batch) -> Knowledge | None:
        """The same, with a gradient to what learns on with the model, if anything does."""
        compressed = self.knowledge if self.compressed_through >= 0 else None
        return compressed.knowledge_with_gradient(batch) if compressed else None

    @torch.inference_mode()
    def predict(self, batch: Batch, progress: Progress | None = None) -> np.ndarray:
        """Click probabilities, [B] float32."""
        evaluate(self.model)
        if self.knowledge is not None:
            evaluate(self.knowledge)
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
        for artefact, part, until in [
            ("model", self.model, self.built_until),
            ("knowledge base", self.knowledge, self.knowledge_built_until),
        ]:
            Dated(what=f"the {artefact} of {self.key}", value=part, built_until=until).at(period.start)
        return self.predict(batch, progress)

    def compress(self, rows: Batch, old: Period, now: Period, progress: Progress | None = None) -> None:
        """Compress the rows of an old period into the knowledge base, if there is one, at the start of `now`."""
        if self.knowledge is None or self.knowledge_steps is None:
            return
        self._check_known(f"the knowledge base of {self.key}", rows, old.end, now.start)
        base, choice = self.knowledge, self.settings.compress
        draw = generator(self.seed, "new rows", self.choice.knowledge or "", old.index)
        self._make_room(base, rows, old, draw)
        base.train()
        self._seed_draws("compress", old)
        if self.choice.control == "shuffled":
            rows = shuffled(rows, generator(self.seed, "shuffled", old.index))
        half, stages = self.settings.budget.row_updates // 2, base.stages
        for number, what in enumerate(() if self.choice.control == "untrained" else stages, start=1):
            for order in self._passes(rows, choice.epochs, what, old, now, most=half * number // len(stages)):
                for step, minibatch in enumerate(rows.minibatches(choice.batch_size, order)):
                    part = self.ranks.share(minibatch)
                    share = len(part) / len(minibatch)
                    loss = base.compression_losses(part, what)["total"] * share if len(part) else None
                    self._take(self.knowledge_steps, loss, f"compressing period {old.index}, step {step}")
                    if progress:
                        progress(len(minibatch))
        if len(rows) > 1:
            base.standardise(some_of(rows))
        self.compressed_through = old.index
        self.lessons += 1
        self.knowledge_built_until = max(old.end, self.knowledge_built_until or old.end)

    def examine_knowledge(self, old: Batch, new: Batch) -> None:
        """Note how the base fares on rows that it has compressed, and on rows of the present period."""
        if self.knowledge is None:
            return
        for name, rows in (("old", old), ("next", new)):
            sample = some_of(rows)
            figures = self.knowledge.health(sample)
            teacher = getattr(self.knowledge, "teacher", None)
            if teacher is not None:
                figures |= self._teacher_and_student(teacher, sample)
            self.notes |= {f"{figure}_{name}": value for figure, value in figures.items()}

    @torch.inference_mode()
    def _teacher_and_student(self, teacher: Teacher, rows: Batch) -> dict[str, float]:
        """AUCs on the same rows, of a base's teacher and of the model that the base is plugged into."""
        label = rows.label.numpy()
        scores = {"teacher_auc": teacher.eval()(rows).numpy(), "student_auc": self.predict(rows)}
        reached = {name: auc(label, score).value for name, score in scores.items()}
        return {name: value for name, value in reached.items() if value is not None}

    def learn(
        self,
        now: Period,
        window: range,
        rows: Callable[[range], Batch],
        progress: Progress | None = None,
        validation: Batch | None = None,
    ) -> None:
        """Meet the end of period `now` as the arm's policy says; `rows` gives what is known of earlier periods."""

        def fit(rows: Batch, extra: Extra | None = None) -> None:
            self.fit(rows, now, extra, progress, validation)

        self.policy.learn(self, window.stop - 1, window, rows, fit)

    def fit(
        self,
        rows: Batch,
        now: Period,
        extra: Extra | None = None,
        progress: Progress | None = None,
        validation: Batch | None = None,
    ) -> None:
        """Learn `rows` at the end of period `now`; with `validation`, stop early and keep the best epoch.

        Without rows, as when no label has arrived yet, nothing happens.
        """
        if not len(rows):
            return
        self._check_known(f"the model of {self.key}", rows, now.start, now.end)
        self._make_room(self.model, rows, now, generator(self.seed, "new rows", self.choice.backbone, now.index))
        self._seed_draws("learn", now)
        stopping = EarlyStopping(self.model_steps.module, self.settings.train.patience)
        epochs, most = self.choice.epochs or self.settings.train.epochs, self.settings.budget.row_updates
        for order in self._passes(rows, epochs, "learn", now, now, most=most):
            if isinstance(self.model.backbone, FittedBackbone):
                self._fit_whole(self.model.backbone, rows.select(order), progress)
                break
            self._learn_once(rows, order, now, extra, progress)
            if validation is not None and stopping.stop(self._auc(validation)):
                break
        stopping.restore()
        self.trained_through, self.built_until = now.index, now.end
        self.lessons += 1
        if self.knowledge is not None and self.knowledge.learns_on():
            self.knowledge_built_until = now.end

    def _auc(self, rows: Batch) -> float | None:
        return auc(rows.label.numpy(), self.predict(rows)).value

    def _learn_once(
        self, rows: Batch, order: Tensor, now: Period, extra: Extra | None, progress: Progress | None
    ) -> None:
        self.model.train()
        for step, minibatch in enumerate(rows.minibatches(self.settings.train.batch_size, order)):
            part = self.ranks.share(minibatch)
            loss = None
            if len(part):
                with torch.autocast("cpu", torch.bfloat16, enabled=self.bfloat16):
                    logits, auxiliary = self.model.with_auxiliary(
                        self._with_histories(part), self._knowledge_to_learn_with(part)
                    )
                logits = logits.float()
                loss = binary_cross_entropy_with_logits(logits, part.label)
                if auxiliary is not None:
                    loss = loss + auxiliary.float()
                if extra is not None:
                    loss = loss + extra(part, logits)
                loss = loss * (len(part) / len(minibatch))
            self._take(self.model_steps, loss, f"learning period {now.index}, step {step}")
            if self.settings.train.ledger:
                self.ledger.append(part.row_id)
            if progress:
                progress(len(minibatch))

    def _fit_whole(self, backbone: FittedBackbone, rows: Batch, progress: Progress | None) -> None:
        """One pass of a backbone that takes no steps, alike on every rank: each fits all rows."""
        plugged = EMPTY
        if self.knowledge is not None and self.compressed_through >= 0:
            parts = rows.minibatches(self.settings.measure.predict_batch_size)
            known = [self.knowledge.knowledge(part).vectors_BKd for part in parts]
            plugged = self.model.plugged(Knowledge(vectors_BKd=torch.cat(known)))
        backbone.fit(rows, plugged)
        if self.settings.train.ledger:
            self.ledger.append(self.ranks.share(rows).row_id)
        if progress:
            progress(len(rows))

    def _check_known(self, what: str, rows: Batch, until: int, now: int) -> None:
        """FutureError unless `until` and every row's label lie before `now`."""
        if rows.ts is not None and len(rows):
            until = max(until, int(rows.ts.max()) + 1 + (self.settings.stream.label_delay_seconds or 0))
        Dated(what=what, value=rows, built_until=until).at(now)

    def _make_room(
        self, module: Backbone | KnowledgeBase | ClickModel, rows: Batch, at: Period, draw: torch.Generator
    ) -> None:
        """Every id of `rows` gets a row of its own; long unseen ones lose theirs if the settings say so."""
        keep = self.settings.train.evict_after
        if keep:
            ids = rows.unique_ids()
            for table in tables_of(module).values():
                table.renew(ids, now=at.index, keep=keep, generator=draw)
        else:
            grown = module.backbone if isinstance(module, ClickModel) else module
            grown.grow(rows.end_of_ids, draw)

    def start_afresh(self) -> None:
        """Forget the click model; the knowledge base stays."""
        self.model, self.model_steps = self._new_model()
        self.trained_through, self.built_until = -1, None

    def memory_bytes(self) -> dict[str, int]:
        """Bytes that the arm must keep to go on, by part: model, optimiser, knowledge base, policy."""
        parts = {"model": nbytes(self.model), "policy": self.policy.nbytes(), "knowledge": 0}
        if self.knowledge is not None:
            parts["knowledge"] = nbytes(self.knowledge)
        steps = [s for s in (self.model_steps, self.knowledge_steps) if s is not None]
        parts["optimiser"] = sum(s.nbytes() for s in steps)
        return parts

    def knowledge_bytes(self) -> int:
        """Bytes of the base's float32 weights without the parts that serve compression alone; 0 without a base."""
        if self.knowledge is None:
            return 0
        return _weight_bytes(self.knowledge) - sum(_weight_bytes(part) for part in self.knowledge.compression_only())

    def _take(self, steps: Steps, loss: Tensor | None, where: str) -> None:
        try:
            steps.step(loss)
        except DivergedError as error:
            raise DivergedError(f"{error} while {where}") from None

    def _passes(
        self, rows: Batch, epochs: int, stage: str, period: Period, now: Period, *, most: int
    ) -> Iterator[Tensor]:
        """The rows of each pass in an order that seed, period and pass decide, so that every arm sees the same.

        Under a budget of row updates at most `most` are spent by the end: by compression half of the budget, shared
        by its stages; learning goes on until all of it is used up.
        """
        if self._spent[0] != now.index:
            self._spent = (now.index, 0)
        budget = self.settings.budget.row_updates
        until_spent = bool(budget) and stage == "learn"
        for epoch in itertools.count():
            left = most - self._spent[1]
            if (epoch == epochs and not until_spent) or (budget and left <= 0):
                return
            order = torch.randperm(len(rows), generator=generator(self.seed, "order", stage, period.index, epoch))
            order = order[:left] if budget else order
            self._spent = (now.index, self._spent[1] + len(order))
            yield order

    def _seed_draws(self, stage: str, period: Period) -> None:
        """Dropout and sampled masks: the same for every arm, different on every rank."""
        torch.manual_seed(derived_seed(self.seed, stage, period.index, self.ranks.rank))


def some_of(rows: Batch) -> Batch:
    """About `EXAMINED` of the rows, evenly spaced."""
    return rows.select(torch.arange(0, len(rows), max(1, len(rows) // EXAMINED)))


def _weight_bytes(module: nn.Module) -> int:
    tables = sum(t.size * t.width for t in tables_of(module).values())
    return 4 * (tables + sum(p.numel() for p in dense_parameters(module)))
