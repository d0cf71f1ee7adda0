"""`make bench`: measures what the README claims, and writes `results.json` and a table beside it.

python -m benchmarks            training and stream
python -m benchmarks stream     one group; the figures of the others stay
python -m benchmarks peers      against FuxiCTR, once `pip install '.[comparison]'` has brought it
python -m benchmarks ceiling    our step against its bare matrix products
python -m benchmarks quality    AUC against dense Adam's, likewise
python -m benchmarks ranks      two Ray Train workers against torchrun
python -m benchmarks retrieval  field-match and dense search beside bm25s and tantivy, once '.[comparison]' is there
python -m benchmarks numbers    13 numeric of 26 fields, 3 lists, beside as many categorical ones; ingest, with features
python -m benchmarks center     KEEP through its center: look-ups, models, a million users
python -m benchmarks center_10m ten million users
python -m benchmarks scenarios  steps and scores of the models of many scenarios beside the plain network's
python -m benchmarks serving    the model's path, requests over HTTP, deployment; plays a run of its own; five minutes
python -m benchmarks busy       of the last `make demo`
python -m benchmarks large      a world of 50 million rows generated, ingested and replayed; about ten minutes
"""

from __future__ import annotations

import sys
from collections.abc import Callable

import torch

from benchmarks.busy import main_job
from benchmarks.center import many_users, ratios
from benchmarks.figures import Figure, write
from benchmarks.numbers import ingest_of_numbers, step_of_numbers
from benchmarks.peers import ceiling, peers, quality
from benchmarks.ranks import ranks
from benchmarks.retrieval import retrieval
from benchmarks.scenarios import scenarios
from benchmarks.serving import serving
from benchmarks.stream import stream
from benchmarks.training import edk_encoder, edk_whole, step_size

GROUPS: dict[str, Callable[[], list[Figure]]] = {
    "training": lambda: [*step_size(9), *edk_encoder(9), *edk_whole(9)],
    "stream": stream,
    "peers": peers,
    "ceiling": ceiling,
    "quality": quality,
    "ranks": ranks,
    "retrieval": retrieval,
    "numbers": lambda: [*step_of_numbers(9), *ingest_of_numbers()],
    "center": lambda: [*ratios(9), *many_users(1)],
    "center_10m": lambda: many_users(10),
    "scenarios": lambda: scenarios(9),
    "serving": serving,
    "busy": main_job,
    "large": lambda: [f for f in stream(50_000_000, 1) if "peak" in f.name],
}


def main() -> None:
    torch.set_num_threads(2)
    for group in sys.argv[1:] or ["training", "stream"]:
        sys.stdout.write(write(GROUPS[group]()))


if __name__ == "__main__":
    main()
