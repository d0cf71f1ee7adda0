"""Models of many scenarios beside the plain network: a training step, and scores of one request.

MI-DPG's experiments have a network of 128-64-32 and minibatches of 512 rows; a request has 100 candidates of one
scenario. All in one thread and by the processor's time, so that what else the machine does counts for little.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from benchmarks.figures import Figure, in_turns
from pkb.backbones import BACKBONES
from pkb.backbones.base import ClickModel
from pkb.batch import Batch, Field, Schema
from pkb.step import Optimiser, click_loss

FIELDS, SCENARIOS, FEATURES = 17, 8, 100_000
SCHEMA = Schema(
    fields=(
        *(Field(name=f"f{number}", role="context") for number in range(FIELDS - 1)),
        Field(name="scenario", role="scenario"),
    ),
    user="f0",
    item="f1",
)
HIDDEN, BATCH, CANDIDATES = (128, 64, 32), 512, 100
BATCHES = 5  # of each kind in a repeat
PLAIN = "dnn"
MODELS: dict[str, tuple[str, dict[str, Any]]] = {
    PLAIN: (PLAIN, {}),
    **{name: (name, {}) for name, model in BACKBONES.items() if ".scenario." in model.__module__},
    **{f"midpg_{variant}": ("midpg", {"variant": variant}) for variant in ("c", "rc", "non")},
}


def rows(number: int, seed: int, scenarios: int = SCENARIOS) -> Batch:
    """Rows of which each next scenario has about half as many as the one before."""
    draw, first = torch.Generator().manual_seed(seed), SCHEMA.first_value_id
    ids_BF = torch.randint(first + SCENARIOS, FEATURES, (number, FIELDS), generator=draw, dtype=torch.int32)
    halvings_B = -torch.rand(number, generator=draw).log2()
    ids_BF[:, -1] = first + halvings_B.int().clamp(max=scenarios - 1)
    label = (torch.rand(number, generator=draw) < 0.1).float()
    return Batch(row_id=torch.arange(number), ids_BF=ids_BF, label=label)


def model_of(name: str) -> ClickModel:
    """Make a model that has met all scenarios."""
    torch.manual_seed(0)
    backbone, settings = MODELS[name]
    cls = BACKBONES[backbone]
    model = ClickModel(cls(SCHEMA, cls.Settings(hidden=HIDDEN, **settings)))
    model.backbone.grow(FEATURES, torch.Generator().manual_seed(0))
    every = rows(SCENARIOS, 0)
    every.ids_BF[:, -1] = SCHEMA.first_value_id + torch.arange(SCENARIOS)
    model.backbone.meet(every, torch.Generator().manual_seed(0))
    return model


def step_of(model: ClickModel) -> Callable[[Batch], object]:
    optimiser = Optimiser(model.train())
    return lambda batch: optimiser.step(click_loss(model, batch), len(batch))


def scenarios(repeats: int) -> list[Figure]:
    """Steps of each model, then its scores, both beside the plain network's."""
    torch.set_num_threads(1)
    steps = {name: step_of(model_of(name)) for name in MODELS}
    batches = [rows(BATCH, seed) for seed in range(BATCHES)]
    figures = in_turns("step", steps, PLAIN, batches, unit=f"ms a step of {BATCH}", repeats=repeats)
    served: dict[str, Callable[[Batch], object]] = {name: model_of(name).eval() for name in MODELS}
    requests = [rows(CANDIDATES, seed, scenarios=1) for seed in range(BATCHES)]
    with torch.inference_mode():
        figures += in_turns("score", served, PLAIN, requests, unit=f"ms a request of {CANDIDATES}", repeats=repeats)
    return figures
