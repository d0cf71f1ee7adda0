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
from simulator.contender.checkpoint import load_contender
from simulator.loop.past import Past
from simulator.plays import play_of
from simulator.record.layout import RunFolder
from simulator.settings import load
from simulator.stream.ingest import ingest
from simulator.stream.protocol import TEST, TRAINING

SAMPLE = 5_000  # rows of each period


def main(run: RunFolder) -> Path:
    """Draw both readings of training and test rows; the file."""
    settings = load(run.config)
    log = ingest(settings.stream, settings.ingest, print)
    play = play_of(settings)
    latest = [load_contender(run.checkpoint(r.key, run.committed(r.key))) for r in play.recipes if r.arm.knowledge]
    contender = next(c for c in latest if isinstance(c.base, ROK))
    base = contender.base
    assert isinstance(base, ROK)
    past = Past(log, play, run, [contender], TEST)  # what rows found is stored: nobody searches
    past.arrive(log.periods[TEST], log.read(log.periods[TEST], histories=past.histories))
    both = [contender.device.place(sample(rows)) for rows in (past.old(TRAINING, contender), past.rows(contender))]
    readings = {what: [read(base, rows) for rows in both] for what, read in READ.items()}
    mpl.use("agg")
    figure, panels = plt.subplots(1, 2, figsize=(10, 5), constrained_layout=True)
    for panel, (what, (training, test)) in zip(panels, readings.items(), strict=True):
        placed = TSNE(random_state=0).fit_transform(np.concatenate([training, test]))
        panel.scatter(*placed[: len(training)].T, s=2, label="training")
        panel.scatter(*placed[len(training) :].T, s=2, label="test")
        panel.set(title=what, xticks=[], yticks=[])
    panels[0].legend(markerscale=4)
    file = run.path / "knowledge.png"
    figure.savefig(file, dpi=120)
    return file


def sample(rows: Batch) -> Batch:
    return rows.select(torch.randperm(len(rows), generator=torch.Generator().manual_seed(0))[:SAMPLE])


@torch.inference_mode()
def retrieved(base: ROK, rows: Batch) -> np.ndarray:
    """r, [B, X]."""
    reading: np.ndarray = base.teacher.eval().aggregated(rows).flatten(1).cpu().numpy()
    return reading


def imitated(base: ROK, rows: Batch) -> np.ndarray:
    """z, [B, X]."""
    reading: np.ndarray = base.knowledge(rows)[base.aggregate.name].flatten(1).cpu().numpy()
    return reading


READ = {"retrieved by the teacher": retrieved, "imitated by ROK": imitated}

if __name__ == "__main__":
    sys.stdout.write(f"{main(RunFolder(Path(sys.argv[1])))}\n")
