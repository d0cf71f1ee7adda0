"""What a replica serves: a contender, with a live index where it reads neighbours."""

from __future__ import annotations

from pathlib import Path

import faiss
import numpy as np

from pkb.batch import Batch
from simulator.arms import Contender
from simulator.learnable import Learnable
from simulator.neighbours import Finder
from simulator.plan import last_prediction
from simulator.serve.app import Servable
from simulator.stream.log import Log
from simulator.train.checkpoint import load_contender


def load_servable(log: Log, checkpoint: Path, arm: str, seed: int) -> Servable:
    """The contender, and if it reads neighbours the pool of all periods that the checkpoint has seen."""
    contender = load_contender(checkpoint, arm, seed)
    return Searching(contender, log, checkpoint) if contender.reads else contender


class Searching:
    """A contender that searches for each request's neighbours before it predicts."""

    def __init__(self, contender: Contender, log: Log, checkpoint: Path) -> None:
        """The pool is that of the periods that the checkpoint has seen."""
        played = 1 + int((checkpoint / "period").read_text())
        faiss.omp_set_num_threads(1)  # as torch's: a request must not wait for other cores
        self.contender, self.schema, self.trained_through = contender, contender.schema, contender.trained_through
        self.finder = Finder(Path(), contender.settings, contender.schema, [contender])
        learnable = Learnable(log, contender.settings)
        kept = contender.settings.retrieval.periods
        for index in range(played)[-kept:]:
            learnable.join_pool(self.finder, index, log.read)
        self.finder.load_index(contender, checkpoint)
        _, holdout = last_prediction(contender.settings, played - 1)
        self.until = log.periods[played - 1].end if holdout else log.periods[played - 1].start
        # The first search compiles: seconds that no request should wait for.
        self.predict(log.read(log.periods[played - 1], histories=bool(log.schema.histories)).select(slice(1)))

    def predict(self, batch: Batch) -> np.ndarray:
        return self.contender.predict(self.finder.for_now(self.contender, batch, until=self.until))
