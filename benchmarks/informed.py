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
from simulator.arms import Contender
from simulator.measure.ranking import auc
from pkb.seeding import generator
from simulator.contender.settings import ArmSettings
from simulator.settings import Settings
from simulator.settings import load
from simulator.stream.holdout import holdout_mask
from simulator.stream.ingest import ingest
from simulator.stream.log import Log

UNTRAINED = ArmSettings(knowledge="rok", plug="fields+join", control="untrained")
ARMS = {"finetune": ArmSettings(), "untrained": UNTRAINED, "informed": UNTRAINED}


def main(run: Path) -> None:
    settings = replace(load(run / "config.yaml"), arms=ARMS)
    log = ingest(settings, print)
    for arm in ARMS:
        aucs = [played(arm, seed, settings, log) for seed in settings.seeds]
        told = ", ".join(f"{each:.4f}" for each in aucs)
        sys.stdout.write(f"{arm}: mean AUC {sum(aucs) / len(aucs):.4f} ({told})\n")


def played(arm: str, seed: int, settings: Settings, log: Log) -> float:
    """Mean prequential AUC of the periods after the first."""
    contender, aucs = Contender(arm, seed, settings, log.schema), []
    old: Batch | None = None
    for period in log.periods:
        rows = log.read(period)
        known = rows.select(~holdout_mask(rows, settings.stream.holdout_share))
        if old is not None:
            aucs.append(auc(rows.label.numpy(), contender.predict_prequentially(period, rows)).value or 0.0)
            contender.compress(old, log.periods[period.index - 1], period)
        if arm == "informed" and contender.knowledge is not None:
            contender.knowledge.grow(known.end_of_ids, generator(seed, "informed", period.index))
        contender.fit(known, period)
        old = known
    return sum(aucs) / len(aucs)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
