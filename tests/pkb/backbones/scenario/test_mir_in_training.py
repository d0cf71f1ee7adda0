"""MIR makes the weighting matrices tell more of the scenario; with the scenarios shuffled it does not."""

from __future__ import annotations

import math
from functools import cache

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from pkb.backbones.scenario.midpg import MIDPG
from pkb.backbones.scenario.mir import mutual_information_loss
from tests.pkb.backbones.check_backbone import IDS
from tests.pkb.backbones.scenario.made import COLUMN, FIRST, in_scenarios, met

SCENARIOS, WEIGHT, STEPS = 4, 0.3, 120


def information(scenario: np.ndarray, a: np.ndarray) -> float:
    """A lower bound of I(s; A_s) in nats: H(s) minus a classifier's cross entropy on rows that it has not seen."""
    half = len(scenario) // 2
    scaled = StandardScaler().fit(a[:half])
    told = LogisticRegression(max_iter=500).fit(scaled.transform(a[:half]), scenario[:half])
    p = told.predict_proba(scaled.transform(a[half:]))[np.arange(len(scenario) - half), scenario[half:]]
    return math.log(SCENARIOS) + float(np.log(p).mean())


@cache
def measured(kind: str) -> float:
    """Of a model that learned clicks which no scenario changes: without MIR, with it, or with shuffled scenarios."""
    rows = in_scenarios(SCENARIOS, 1_024)
    model = met(MIDPG, rows, hidden=(8,), width=4, lively=False, mir=WEIGHT, mir_shuffled=WEIGHT).float().train()
    draw = torch.Generator().manual_seed(1)
    with torch.no_grad():  # far apart, so that the matrices tell of more than the scenario
        model.table.weight.copy_(torch.randn(IDS, 4, generator=draw))
    rows.label.copy_((rows.ids_BF[:, 1] % 2).float())
    adam = torch.optim.Adam(model.parameters(), lr=0.01)
    for _ in range(STEPS):
        batch = rows.select(torch.randperm(len(rows), generator=draw)[:128])
        logit, x, a = model.weighted(batch)
        loss = torch.nn.functional.binary_cross_entropy_with_logits(logit, batch.label)
        if kind != "without":
            x = x[torch.randperm(len(x), generator=draw)] if kind == "shuffled" else x
            loss = loss + WEIGHT * sum(mutual_information_loss(model.discriminator, x, a))
        adam.zero_grad()
        loss.backward()
        adam.step()
    with torch.no_grad():
        _, _, a = model.eval().weighted(rows)
    return information((rows.ids_BF[:, COLUMN] - FIRST).numpy(), a.numpy())


def test_mir_raises_what_the_matrices_tell_of_the_scenario_and_its_shuffled_control_does_not() -> None:
    without, with_mir, shuffled = (measured(kind) for kind in ("without", "mir", "shuffled"))
    assert with_mir > without + 0.2
    assert shuffled < without + 0.1
