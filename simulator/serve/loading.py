"""What a replica serves: a contender, with a live index where it reads neighbours."""

from __future__ import annotations

import time
from pathlib import Path

import faiss
import numpy as np
import torch

from pkb.batch import Batch
from pkb.center import Folded
from pkb.knowledge import evaluate
from pkb.plug import AddedToHidden
from retrieval.indexed_pool import RetrievalSettings
from simulator.contender.centered import Centered
from simulator.contender.checkpoint import load_contender
from simulator.contender.contender import Contender
from simulator.loop.finder import Finder
from simulator.record.layout import center_of
from simulator.stream.learnable import Learnable
from simulator.stream.log import Log
from simulator.stream.protocol import joins_pool, last_prediction
from simulator.stream.settings import StreamSettings


def load_scorer(log: Log, stream: StreamSettings, retrieval: RetrievalSettings, checkpoint: Path) -> Scorer:
    """Load a contender as it was after a period, and if it reads neighbours the pool of all periods until then."""
    contender = load_contender(checkpoint, learns=False)
    if isinstance(contender.source, Centered):
        contender.source.read_from(center_of(checkpoint))
    return scorer_of(contender, log, stream, retrieval, checkpoint)


def scorer_of(
    contender: Contender, log: Log, stream: StreamSettings, retrieval: RetrievalSettings, checkpoint: Path
) -> Scorer:
    """What serves a contender, which has this checkpoint."""
    for network in (contender.model, contender.base):
        if network is not None:
            evaluate(network)
    searches = bool(contender.reads.predicting)
    return Scorer(contender, Search(contender, log, stream, retrieval, checkpoint) if searches else None)


class Stopwatch:
    """Seconds of each stage of a request, one after the other."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._since = time.perf_counter()

    def lap(self, stage: str) -> None:
        """End a stage."""
        now = time.perf_counter()
        self.seconds[stage] = now - self._since
        self._since = now


class Scorer:
    """A contender that searches for each request's neighbours, where it reads any, before it predicts."""

    def __init__(self, contender: Contender, search: Search | None) -> None:
        self.contender, self.search, self.folded = contender, search, folded(contender)
        self.schema, self.trained_through = contender.schema, contender.trained_through

    def predict(self, batch: Batch) -> np.ndarray:
        """Predict click probabilities, [B] float32."""
        return self.score(batch, Stopwatch())

    @torch.inference_mode()
    def score(self, batch: Batch, watch: Stopwatch) -> np.ndarray:
        """The same, as `Contender.predict` has it, stage by stage."""
        if self.search is not None:
            batch = self.search.with_neighbours(batch)
        watch.lap("retrieval")
        batch = self.contender.place(batch)
        knowledge = self.contender.knowledge(batch) if self.folded is None else self.folded.plugged(batch)
        watch.lap("knowledge")
        probability_B: np.ndarray = torch.sigmoid(self.contender.model(batch, knowledge)).cpu().numpy()
        watch.lap("backbone")
        return probability_B


def folded(contender: Contender) -> Folded | None:
    """Apply the plug ahead of requests where knowledge is looked up and added to a hidden layer, or gates it."""
    source, plug = contender.source, contender.model.plug
    if not isinstance(source, Centered) or source.cached is None or not contender.plugged:
        return None
    return Folded(source.cached.version, contender.schema, plug) if isinstance(plug, AddedToHidden) else None


class Search:
    """The pool and the indexes that a contender's predictions read."""

    def __init__(
        self, contender: Contender, log: Log, stream: StreamSettings, retrieval: RetrievalSettings, checkpoint: Path
    ) -> None:
        """The pool is that of the periods that the checkpoint has seen."""
        played = contender.next_period
        faiss.omp_set_num_threads(1)  # as torch's: a request must not wait for other cores
        self.contender = contender
        self.finder = Finder(retrieval, contender.schema, contender.reads.predicting)
        learnable = Learnable(log, stream)
        for index in range(played)[-retrieval.periods :]:
            if joins_pool(stream, index):
                self.finder.append_arrived(index, learnable, log.read)
        self.finder.load_index(contender, checkpoint)
        _, holdout = last_prediction(stream, played - 1)
        self.until = log.periods[played - 1].end if holdout else log.periods[played - 1].start
        # The first search compiles: seconds that no request should wait for.
        self.with_neighbours(log.read(log.periods[played - 1], histories=bool(log.schema.histories)).select(slice(1)))

    def with_neighbours(self, batch: Batch) -> Batch:
        """Give rows what the contender reads of older ones."""
        return self.finder.with_all(self.contender, batch, until=self.until)
