"""What takes part: a click model, a source of knowledge and a policy, and how far they have learned.

Every random draw depends on the seed, on what is drawn for, and on the period. Who teaches a contender
(`learning`, `compression`) tells it so by `learned`, `compressed` and `stop`; nothing else changes how far it is.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from torch import Tensor

from pkb.backbones.base import ClickModel
from pkb.batch import Batch, Schema
from pkb.dated import Dated
from pkb.knowledge import Knowledge
from pkb.parameters import tables_of
from pkb.plug import INTO_USE
from pkb.ranks import Ranks
from pkb.source import Live, Source
from retrieval.indexed_pool import pool_histories
from simulator.contender.assembly import base_optimiser, device_of, make_base, make_model, model_optimiser, source_of
from simulator.contender.passes import Passes
from simulator.contender.prediction import Progress, probabilities
from simulator.contender.recipe import Recipe
from simulator.contender.searching import Encoder, encodes, reads_of, with_behaviours
from simulator.policies import POLICIES
from simulator.record.costs import Lesson
from simulator.stream.log import Period


class Contender:
    """One arm with one seed."""

    def __init__(
        self, recipe: Recipe, schema: Schema, ranks: Ranks | None = None, source: Source | None = None
    ) -> None:
        """Its knowledge comes from `source`, or from a base of its own if the arm names one."""
        self.recipe, self.schema, self.ranks, self.key = recipe, schema, ranks or Ranks(), recipe.key
        self.device = device_of(recipe)
        self.base = make_base(recipe, schema)
        self.live = None if self.base is None else Live(self.base.to(self.device.name))
        self.source = source or source_of(recipe, schema, self.live, self.device)
        if self.base is not None:
            self.base_optimiser = base_optimiser(recipe, self.base, self.ranks)
        self.policy = POLICIES[recipe.arm.policy](recipe.policy, recipe.seed)
        self.passes = Passes(recipe.seed, recipe.row_updates)
        self.trained_through = -1  # number of the last period learned
        self.built_until: int | None = None  # end of that period, seconds
        self.stopped: str | None = None  # why it takes no further part
        self.next_period = 0  # number of the first one that is not committed
        self.passes_at_first: int | None = None  # of a lesson that starts from nothing, once that was found out
        self.lesson: Lesson | None = None  # how the latest period was learned, by steps
        self.trainings = 0  # starts, fits and compressions so far, by this process
        self.known = 0  # ids below it are not new, though the model may have started afresh
        self.plugged = recipe.arm.plug_from is None  # whether knowledge takes part, once there is any (`plugging`)
        self._start()
        self.histories = pool_histories(recipe.histories if self.model.backbone.uses_histories else ())
        self.reads = reads_of(recipe)

    def start_afresh(self) -> None:
        """Forget the click model; the knowledge stays, and what is no longer new."""
        self.known = max([self.known, *(table.end_of_ids for table in tables_of(self.model).values())])
        self._start()

    def _start(self) -> None:
        self.model = self.new_model()
        self.restart_optimiser()
        self.trained_through, self.built_until, self.trainings = -1, None, self.trainings + 1

    def restart_optimiser(self) -> None:
        """Forget what the click model's optimiser has gathered outside the tables."""
        self.model_optimiser = model_optimiser(self.recipe, self.model, self.base, self.ranks)

    def learned(self, period: Period) -> None:
        """Take note that the model has learned this period's rows."""
        self.trained_through, self.built_until, self.trainings = period.index, period.end, self.trainings + 1
        if self.live is not None and self.live.base.learns_on():
            self.live.learned(period.end)

    def compressed(self, old: Period) -> None:
        """Take note that the base holds this period's rows."""
        assert self.live is not None, f"{self.key} has no base"
        self.live.compressed(old.index, old.end)
        self.trainings += 1

    def stop(self, reason: str) -> None:
        """Take no further part."""
        self.stopped = reason

    def committed(self, period: Period) -> None:
        """Take note that this period's results and checkpoint are on disk."""
        self.next_period = period.index + 1

    def resume(self, *, passes_at_first: int | None, next_period: int, stopped: str | None, **model: Any) -> None:
        """Go on where a stored contender was; `model` is what its model had learned, and what is not new to it."""
        self.passes_at_first, self.next_period, self.stopped = passes_at_first, next_period, stopped
        self.trained_through, self.built_until = model["trained_through"], model["built_until"]
        self.known, self.plugged = model["known"], model["plugged"]

    @property
    def compressed_through(self) -> int:
        """Number of the latest period in the base; -1 without any."""
        return -1 if self.live is None else self.live.compressed_through

    def new_model(self) -> ClickModel:
        """Draw the click model anew, as it was before it learned anything."""
        takes = self.plugged or self.recipe.arm.plug in INTO_USE  # a new input changes its layers' shapes
        parts = self.source.parts if takes and self.source is not None else ()
        return make_model(self.recipe, self.schema, parts).to(self.device.name)

    @property
    def encoder(self) -> Encoder | None:
        """What encodes rows for a search of this contender's own, as it is now; None if it has no such search."""
        model, until = self.model.backbone, self.built_until
        if not encodes(model) and self.source is not None:
            model, until = getattr(self.base, "teacher", model), self.source.built_until
        return Encoder(model=model, device=self.device, built_until=until) if encodes(model) else None

    def place(self, batch: Batch) -> Batch:
        """Move rows to where the model is, with their neighbours as histories where the model wants these."""
        return self.device.place(with_behaviours(batch, self.histories, self.schema))

    def logits(self, batch: Batch, model: ClickModel | None = None) -> Tensor:
        """Score rows, [B], by this contender's or another model."""
        batch = self.place(batch)
        logits: Tensor = (model or self.model)(batch, self.knowledge(batch))
        return logits

    def knowledge(self, batch: Batch, *, learning: bool = False) -> Knowledge | None:
        """Ask the source, with a gradient if `learning`; None before it is plugged in, or knows anything."""
        if self.source is None or not self.plugged:
            return None
        return self.source.knowledge_with_gradient(batch) if learning else self.source.knowledge(batch)

    def predict(self, batch: Batch, progress: Progress | None = None) -> np.ndarray:
        """Predict click probabilities, [B] float32."""
        size = self.recipe.predict_batch_size
        return probabilities(self.model, self.logits, batch, size=size, ranks=self.ranks, progress=progress)

    def predict_prequentially(self, period: Period, batch: Batch, progress: Progress | None = None) -> np.ndarray:
        """Predict a period that nothing here may have seen; FutureError if something has."""
        knows = self.source.built_until if self.source else None
        for artefact, until in (("model", self.built_until), ("knowledge base", knows)):
            Dated(what=f"the {artefact} of {self.key}", value=self, built_until=until).at(period.start)
        return self.predict(batch, progress)
