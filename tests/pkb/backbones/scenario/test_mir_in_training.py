"""MIR makes the weighting matrices tell more of the scenario; with the scenarios shuffled it does not."""

from __future__ import annotations

import pytest
import torch
from torch.nn.functional import binary_cross_entropy_with_logits

from benchmarks.apart import information
from pkb.backbones.scenario.midpg import MIDPG
from pkb.backbones.scenario.mir import mutual_information_loss
from pkb.batch import Batch
from pkb.step import Optimiser
from tests.pkb.backbones.check_backbone import IDS
from tests.pkb.backbones.scenario.made import COLUMN, FIRST, in_scenarios, met

pytestmark = pytest.mark.usefixtures("one_thread")
SCENARIOS, WEIGHT, STEPS = 4, 0.3, 150


def told(rows: Batch, kind: str, seed: int) -> float:
    """What A_s tells after learning clicks that no scenario changes: without MIR, with it, or with shuffled x_s."""
    model = met(MIDPG, rows, hidden=(8,), width=4, lively=False, mir=WEIGHT, mir_shuffled=WEIGHT).float().train()
    draw = torch.Generator().manual_seed(seed)
    with torch.no_grad():  # embeddings far apart, so that the matrices tell of more than the scenario
        model.table.weight.copy_(torch.randn(IDS, 4, generator=draw))
    optimiser = Optimiser(model, learning_rate=0.01)
    for _ in range(STEPS):
        batch = rows.select(torch.randperm(len(rows), generator=draw)[:128])
        logit, x, a = model.weighted(batch)
        loss = binary_cross_entropy_with_logits(logit, batch.label)
        if kind != "without":
            x = x[torch.randperm(len(x), generator=draw)] if kind == "shuffled" else x
            loss = loss + WEIGHT * sum(mutual_information_loss(model.discriminator, x, a))
        optimiser.step(loss, len(batch))
    fresh = in_scenarios(SCENARIOS, 2_048, seed=100 + seed)
    with torch.no_grad():
        _, _, a = model.eval().weighted(fresh)
    return information((fresh.ids_BF[:, COLUMN] - FIRST).numpy(), a.numpy())


@pytest.mark.parametrize("seed", [0, 1])
def test_mir_raises_what_the_matrices_tell_of_the_scenario_and_its_shuffled_control_does_not(seed: int) -> None:
    rows = in_scenarios(SCENARIOS, 1_024, seed=seed)
    rows.label.copy_((rows.ids_BF[:, 1] % 2).float())
    without, with_mir, shuffled = (told(rows, kind, seed) for kind in ("without", "mir", "shuffled"))
    assert with_mir > without + 0.3
    assert shuffled < without + 0.1
