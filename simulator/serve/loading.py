"""What a replica serves: a contender, with a live index where it reads neighbours."""

from __future__ import annotations

from pathlib import Path

import faiss
import numpy as np

from pkb.batch import Batch
from retrieval.indexed_pool import RetrievalSettings
from simulator.contender.centered import Centered
from simulator.contender.checkpoint import load_contender
from simulator.contender.contender import Contender
from simulator.loop.finder import Finder
from simulator.record.experiment import key_of
from simulator.record.layout import RunFolder
from simulator.serve.app import Servable
from simulator.stream.learnable import Learnable
from simulator.stream.log import Log
from simulator.stream.protocol import joins_pool, last_prediction
from simulator.stream.settings import StreamSettings


def load_servable(
    log: Log, stream: StreamSettings, retrieval: RetrievalSettings, run: Path, arm: str, seed: int
) -> Servable:
    """Load a contender of a run that is over, and if it reads neighbours the pool of all periods."""
    checkpoint = RunFolder(run).checkpoint(key_of((arm, seed)), len(log.periods) - 1)
    contender = load_contender(checkpoint)
    if isinstance(contender.source, Centered):
        contender.source.read_from(RunFolder(run).center(contender.key))
    return Searching(contender, log, stream, retrieval, checkpoint) if contender.reads.predicting else contender


class Searching:
    """A contender that searches for each request's neighbours before it predicts."""

    def __init__(
        self, contender: Contender, log: Log, stream: StreamSettings, retrieval: RetrievalSettings, checkpoint: Path
    ) -> None:
        """The pool is that of the periods that the checkpoint has seen."""
        played = contender.next_period
        faiss.omp_set_num_threads(1)  # as torch's: a request must not wait for other cores
        self.contender, self.schema, self.trained_through = contender, contender.schema, contender.trained_through
        self.finder = Finder(retrieval, contender.schema, contender.reads.predicting)
        learnable = Learnable(log, stream)
        for index in range(played)[-retrieval.periods :]:
            if joins_pool(stream, index):
                self.finder.append_arrived(index, learnable, log.read)
        self.finder.load_index(contender, checkpoint)
        _, holdout = last_prediction(stream, played - 1)
        self.until = log.periods[played - 1].end if holdout else log.periods[played - 1].start
        # The first search compiles: seconds that no request should wait for.
        self.predict(log.read(log.periods[played - 1], histories=bool(log.schema.histories)).select(slice(1)))

    def predict(self, batch: Batch) -> np.ndarray:
        """Predict click probabilities, [B]."""
        return self.contender.predict(self.finder.with_all(self.contender, batch, until=self.until))
