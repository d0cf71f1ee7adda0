"""What a plug makes of knowledge that tells a world's true click probability, by the length of its vectors.

python -m benchmarks.told RUN      RUN is a finished run on the synthetic world, such as that of `make demo`

Shapes: B rows, K knowledge vectors, d their width, F fields, e width of a field's feature.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from pkb.batch import Batch
from pkb.knowledge import Knowledge
from simulator.arms import Contender
from simulator.measure.ranking import auc
from simulator.contender.settings import ArmSettings
from simulator.settings import load
from simulator.stream.ingest import ingest

PERIODS = 6
LENGTHS = (0.0, 0.01, 0.1, 1.0)


def main(run: Path) -> None:
    settings = replace(load(run / "config.yaml"), arms={"told": ArmSettings(knowledge="rok", plug="fields+join")})
    log = ingest(settings, print)
    for length in LENGTHS:
        contender, aucs = Contender("told", 0, settings, log.schema), []
        told(contender, length)
        for period in log.periods[:PERIODS]:
            rows = log.read(period)
            if period.index:
                aucs.append(auc(rows.label.numpy(), contender.predict(rows)).value or 0.0)
            contender.fit(rows, period)
        sys.stdout.write(f"vectors {length:g} long: mean AUC {sum(aucs) / len(aucs):.4f}\n")


def told(contender: Contender, length: float) -> None:
    """In place of what the base says, so many times the logit of the true probability along directions drawn once."""
    assert contender.knowledge is not None
    shape, fields = contender.knowledge.shape, len(contender.schema.fields)
    draw = torch.Generator().manual_seed(1)
    vectors_Kd = torch.randn(shape.vectors, shape.width, generator=draw)
    features_Fe = torch.randn(fields, shape.feature_width, generator=draw)

    def says(batch: Batch) -> Knowledge:
        assert batch.p_true is not None
        telling_B11: Tensor = length * (torch.logit(batch.p_true).float() + 3)[:, None, None]  # about centred
        return Knowledge(vectors_BKd=telling_B11 * vectors_Kd, features_BFe=telling_B11 * features_Fe)

    contender._knowledge_of = contender._knowledge_to_learn_with = says  # type: ignore[method-assign]


if __name__ == "__main__":
    main(Path(sys.argv[1]))
