"""What an untrained base of ROK is worth once it cannot tell which values are new.

python -m benchmarks.informed RUN      RUN is a run's folder: its log, seeds and settings are taken, its arms are not

The base is compressed from the first period on, where ROK, which imitates neighbours, begins with the second. Its
vectors are as drawn, so a backbone can read two things in them: which value a row holds, and whether that is new.
Before each lesson the informed base is given vectors for the values of the period to be learned, as the backbone
is: what it then still gains, it gains by the first.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

from pkb.batch import Batch
from pkb.seeding import generator
from simulator.contender.compression import compress
from simulator.contender.contender import Contender
from simulator.contender.learning import fit, make_room
from simulator.contender.settings import ArmSettings
from simulator.measure.ranking import auc
from simulator.plays import recipe_of
from simulator.record.layout import RunFolder
from simulator.settings import Settings, load
from simulator.stream.holdout import holdout_mask
from simulator.stream.ingest import ingest
from simulator.stream.log import Log

UNTRAINED = ArmSettings(knowledge="rok", plug="fields+join", control="untrained")
ARMS = {"finetune": ArmSettings(), "untrained": UNTRAINED, "informed": UNTRAINED}


def main(run: RunFolder) -> None:
    """Print the mean AUC of each arm, and that of each seed."""
    settings = replace(load(run.config), arms=ARMS)
    log = ingest(settings.stream, settings.ingest, print)
    for arm in ARMS:
        aucs = [played(arm, seed, settings, log) for seed in settings.seeds]
        by_seed = ", ".join(f"{each:.4f}" for each in aucs)
        sys.stdout.write(f"{arm}: mean AUC {sum(aucs) / len(aucs):.4f} ({by_seed})\n")


def played(arm: str, seed: int, settings: Settings, log: Log) -> float:
    """Mean prequential AUC of the periods after the first."""
    contender, aucs = Contender(recipe_of(settings, arm, seed), log.schema), []
    old: Batch | None = None
    for period in log.periods:
        rows = log.read(period)
        known = rows.select(~holdout_mask(rows, settings.stream.holdout_share))
        if old is not None:
            aucs.append(auc(rows.label.numpy(), contender.predict_prequentially(period, rows)).value or 0.0)
            compress(contender, old, log.periods[period.index - 1], period)
        if arm == "informed" and contender.base is not None:
            make_room(contender, contender.base, known, period, generator(seed, "informed", period.index))
        fit(contender, known, period)
        old = known
    return sum(aucs) / len(aucs)


if __name__ == "__main__":
    main(RunFolder(Path(sys.argv[1])))
