"""What a replica serves: a contender, with a live index where it reads neighbours."""

from __future__ import annotations

from pathlib import Path

import faiss
import numpy as np

from pkb.batch import Batch
from simulator.arms import Contender
from simulator.neighbours import Finder
from simulator.serve.app import Servable
from simulator.simulation import Past
from simulator.stream.log import Log
from simulator.train.checkpoint import load_contender


def load_servable(log: Log, checkpoint: Path, arm: str, seed: int) -> Servable:
    """The contender, and if it reads neighbours the pool of its log as of its last lesson."""
    contender = load_contender(checkpoint, arm, seed)
    return contender if contender.reads is None else Searching(contender, log)


class Searching:
    """A contender that searches for each request's neighbours before it predicts."""

    def __init__(self, contender: Contender, log: Log) -> None:
        faiss.omp_set_num_threads(1)  # as torch's: a request must not wait for other cores
        self.contender, self.schema, self.trained_through = contender, contender.schema, contender.trained_through
        self.finder = Finder(Path(), contender.settings, contender.schema, [contender])
        Past(log, contender.settings, contender.trained_through + 1, self.finder)
        self.until = log.periods[contender.trained_through].end

    def predict(self, batch: Batch) -> np.ndarray:
        return self.contender.predict(self.finder.for_now(self.contender, batch, until=self.until))
