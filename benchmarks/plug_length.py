"""What a plug makes of knowledge that tells a world's true click probability, by the length of its vectors.

python -m benchmarks.plug_length RUN      RUN is a finished run on the synthetic world, such as that of `make demo`

The knowledge has the parts of ROK's, so that the plug is the one that ROK's would enter by.

Shapes: B rows, K vectors of a part, d their width.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch

from pkb.batch import Batch
from pkb.errors import DataError
from pkb.knowledge import Knowledge, Part
from simulator.contender.assembly import make_base
from simulator.contender.contender import Contender
from simulator.contender.learning import fit
from simulator.contender.settings import ArmSettings
from simulator.measure.ranking import auc
from simulator.plays import recipe_of
from simulator.record.layout import RunFolder
from simulator.settings import Settings, load
from simulator.stream.ingest import ingest
from simulator.stream.log import Log

PERIODS = 6
LENGTHS = (0.0, 0.01, 0.1, 1.0)
PLUG = "fields+join"
ARMS = {"truth": ArmSettings(plug=PLUG), "rok": ArmSettings(plug=PLUG, knowledge="rok")}


class Truth:
    """A source that tells the logit of the true click probability, along directions drawn once, so many times."""

    def __init__(self, parts: Sequence[Part], length: float) -> None:
        draw = torch.Generator().manual_seed(1)
        self.parts, self.length = tuple(parts), length
        self.built_until: int | None = None  # it is made from no rows
        self.directions_Kd = {part.name: torch.randn(part.vectors, part.width, generator=draw) for part in parts}

    def knowledge(self, batch: Batch) -> Knowledge:
        """Answer from each row's own probability; DataError where the log does not tell it."""
        if batch.p_true is None:
            raise DataError("the log holds no true click probabilities; name a run on the synthetic world")
        logit_B11 = (torch.logit(batch.p_true).float() + 3)[:, None, None]  # about centred
        directions = self.directions_Kd.items()
        return {name: self.length * logit_B11 * along_Kd.to(logit_B11.device) for name, along_Kd in directions}

    def knowledge_with_gradient(self, batch: Batch) -> Knowledge:
        """Answer the same: nothing of it learns."""
        return self.knowledge(batch)


def main(run: RunFolder) -> None:
    """Print the mean AUC by length."""
    settings = replace(load(run.config), arms=ARMS)
    log = ingest(settings.stream, settings.ingest, print)
    for length in LENGTHS:
        sys.stdout.write(f"vectors {length:g} long: mean AUC {played(length, settings, log):.4f}\n")


def played(length: float, settings: Settings, log: Log) -> float:
    """Play the first periods with such knowledge; the mean prequential AUC of all but the first."""
    base = make_base(recipe_of(settings, "rok", 0), log.schema)
    assert base is not None
    contender = Contender(recipe_of(settings, "truth", 0), log.schema, source=Truth(base.parts, length))
    aucs = []
    for period in log.periods[:PERIODS]:
        rows = log.read(period)
        if period.index:
            aucs.append(auc(rows.label.numpy(), contender.predict_prequentially(period, rows)).value or 0.0)
        fit(contender, rows, period)
    return sum(aucs) / len(aucs)


if __name__ == "__main__":
    main(RunFolder(Path(sys.argv[1])))
