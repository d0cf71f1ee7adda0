"""What a teacher reads and how a knowledge base imitates it, drawn with t-SNE (ROK, figures 4 and 7).

python -m benchmarks.knowledge RUN      writes RUN/knowledge.png; the run must be one of protocol `split`

Shapes: B rows, X numbers of a reading.
"""

from __future__ import annotations

import sys
from pathlib import Path

import matplotlib as mpl
import numpy as np
import torch
from matplotlib import pyplot as plt
from sklearn.manifold import TSNE

from pkb.batch import Batch
from pkb.rok import ROK
from simulator.neighbours import Finder
from simulator.past import Past
from simulator.plan import TEST, TRAINING
from simulator.settings import load
from simulator.stream.ingest import ingest
from simulator.train.checkpoint import load_contenders

SAMPLE = 5_000  # rows of each period


def main(run: Path) -> Path:
    settings = load(run / "config.yaml")
    log = ingest(settings, print)
    folder = max(file.parent for file in run.rglob("manifest.json") if (file.parent / "period").exists())
    contender = next(c for c in load_contenders(folder) if isinstance(c.knowledge, ROK))
    past = Past(log, settings, TEST, Finder(run, settings, log.schema, [contender]))
    past.arrive(log.periods[TEST], log.read(log.periods[TEST], histories=past.histories))
    parts = {"training": past.old(TRAINING, contender), "test": past.present(contender)}
    assert isinstance(contender.knowledge, ROK)
    readings = {
        what: [read(contender.knowledge, sample(rows)) for rows in parts.values()] for what, read in READ.items()
    }
    mpl.use("agg")
    figure, panels = plt.subplots(1, 2, figsize=(10, 5), constrained_layout=True)
    for panel, (what, (training, test)) in zip(panels, readings.items(), strict=True):
        placed = TSNE(random_state=0).fit_transform(np.concatenate([training, test]))
        panel.scatter(*placed[: len(training)].T, s=2, label="training")
        panel.scatter(*placed[len(training) :].T, s=2, label="test")
        panel.set(title=what, xticks=[], yticks=[])
    panels[0].legend(markerscale=4)
    figure.savefig(run / "knowledge.png", dpi=120)
    return run / "knowledge.png"


def sample(rows: Batch) -> Batch:
    return rows.select(torch.randperm(len(rows), generator=torch.Generator().manual_seed(0))[:SAMPLE])


@torch.inference_mode()
def retrieved(base: ROK, rows: Batch) -> np.ndarray:
    """r, [B, X]."""
    reading: np.ndarray = base.teacher.eval().aggregated(rows).flatten(1).numpy()
    return reading


def imitated(base: ROK, rows: Batch) -> np.ndarray:
    """z, [B, X]."""
    reading: np.ndarray = base.knowledge(rows).vectors_BKd.flatten(1).numpy()
    return reading


READ = {"retrieved by the teacher": retrieved, "imitated by ROK": imitated}

if __name__ == "__main__":
    sys.stdout.write(f"{main(Path(sys.argv[1]))}\n")
