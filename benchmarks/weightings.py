"""What MI-DPG's weighting matrices A_s tell of the scenario, with and without MIR (MI-DPG, figure 2b, d and f).

python -m benchmarks.weightings RUN [ARM ...]    arms of the backbones midpg and dpg; all of them unless some are named

Of the last period's rows, at most 300 of a scenario, each contender's last checkpoint gives A_s of all layers,
unrepeated and side by side. Printed are a classifier's lower bound of I(s; A_s) beside H(s), the silhouette of the
scenarios (1: apart, 0: one cloud; Rousseeuw 1987) and the cosine similarity of their means, of the pair least and most
alike as well. RUN/weightings.png holds t-SNE and similarities of the first seed.

Shapes: B rows, A numbers of all layers' matrices, S scenarios.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib as mpl
import numpy as np
import torch
from matplotlib import pyplot as plt
from sklearn.manifold import TSNE
from sklearn.metrics import silhouette_score

from benchmarks.apart import entropy, information, likeness
from pkb.backbones.scenario.midpg import MIDPG
from pkb.batch import Batch
from pkb.errors import RunError
from simulator.contender.checkpoint import load_contender
from simulator.contender.models import MODELS
from simulator.contender.recipe import Recipe
from simulator.plays import play_of
from simulator.record.layout import RunFolder
from simulator.serving import log_of
from simulator.settings import load
from simulator.stream.log import Log

MOST, LEAST = 300, 20  # rows of a scenario that are looked at; with fewer than the second it is left out


@dataclass(frozen=True, kw_only=True)
class Reading:
    """A_s of one contender."""

    arm: str
    seed: int
    a_BA: np.ndarray


def main(run: RunFolder, arms: Sequence[str]) -> Path:
    """Print what the matrices tell, and draw them; the file."""
    settings = load(run.config)
    recipes = chosen(run, play_of(settings).recipes, arms)
    log = Log(log_of(run, settings))
    column = log.schema.names.index(log.schema.scenario or "")
    rows = sample(log.read(log.periods[-1]), column)
    scenario_B = rows.ids_BF[:, column].numpy()
    readings = [read(run, recipe, rows) for recipe in recipes]
    sys.stdout.write(table(scenario_B, readings))
    return drawn(scenario_B, [r for r in readings if r.seed == settings.seeds[0]], run.path / "weightings.png")


def chosen(run: RunFolder, recipes: Sequence[Recipe], arms: Sequence[str]) -> list[Recipe]:
    """Those of these arms, or of all, whose model has weighting matrices and no knowledge, in the order of the arms."""
    fit = [r for r in recipes if issubclass(MODELS[r.arm.backbone], MIDPG) and r.arm.knowledge is None]
    names = list(dict.fromkeys(recipe.name for recipe in fit))
    if not names or not set(arms) <= set(names):
        raise RunError(f"{run}: of its arms {', '.join(names) or 'none'} can be read; these are midpg or dpg alone")
    return [recipe for name in arms or names for recipe in fit if recipe.name == name]


def sample(rows: Batch, column: int) -> Batch:
    """Draw rows of each scenario, in random order."""
    order, drawn = torch.randperm(len(rows), generator=torch.Generator().manual_seed(0)), []
    for scenario in rows.ids_BF[:, column].unique():
        of_scenario = order[rows.ids_BF[order, column] == scenario]
        drawn += [of_scenario[:MOST]] if len(of_scenario) >= LEAST else []
    if len(drawn) < 2:
        raise RunError(f"the last period has fewer than two scenarios of {LEAST} rows: nothing can be compared")
    kept = torch.zeros(len(rows), dtype=torch.bool)
    kept[torch.cat(drawn)] = True
    return rows.select(order[kept[order]])


@torch.inference_mode()
def read(run: RunFolder, recipe: Recipe, rows: Batch) -> Reading:
    contender = load_contender(run.checkpoint(recipe.key, run.committed(recipe.key)))
    model = contender.model.eval().backbone
    assert isinstance(model, MIDPG)
    _, _, a_BA = model.weighted(contender.place(rows))
    return Reading(arm=recipe.name, seed=recipe.seed, a_BA=a_BA.cpu().numpy())


def table(scenario_B: np.ndarray, readings: Sequence[Reading]) -> str:
    """A line for each contender, then the similarities of each."""
    h, apart = entropy(scenario_B), ~np.eye(len(np.unique(scenario_B)), dtype=bool)
    lines = ["| arm | seed | I(s; A_s) of H(s) | silhouette | cosine of means |", "|---|---|---|---|---|"]
    below = []
    for r in readings:
        bound, silhouette = information(scenario_B, r.a_BA), silhouette_score(r.a_BA, scenario_B)
        alike = likeness(scenario_B, r.a_BA)
        pairs = alike[apart]
        told = f"{pairs.mean():.3f} ({pairs.min():.3f} to {pairs.max():.3f})"
        lines.append(f"| {r.arm} | {r.seed} | {bound:.2f} of {h:.2f} | {silhouette:.3f} | {told} |")
        below += [f"\n{r.arm}, seed {r.seed}, scenarios {', '.join(map(str, np.unique(scenario_B)))}:"]
        below += [" ".join(f"{c:6.3f}" for c in row) for row in alike]
    return "\n".join([*lines, *below]) + "\n"


def drawn(scenario_B: np.ndarray, readings: Sequence[Reading], file: Path) -> Path:
    """t-SNE above, the means' similarity below, an arm a column."""
    mpl.use("agg")
    scenarios = np.unique(scenario_B)
    likenesses = [likeness(scenario_B, r.a_BA) for r in readings]
    figure, panels = plt.subplots(
        2, len(readings), figsize=(4 * len(readings), 8), squeeze=False, constrained_layout=True
    )
    for r, alike, (above, below) in zip(readings, likenesses, panels.T, strict=True):
        placed = TSNE(random_state=0).fit_transform(r.a_BA)
        for scenario in scenarios:
            above.scatter(*placed[scenario_B == scenario].T, s=3, label=str(scenario))
        above.set(title=r.arm, xticks=[], yticks=[])
        image = below.imshow(alike, vmin=min(map(np.min, likenesses)), vmax=1, cmap="Blues")
        below.set_xticks(range(len(scenarios)), map(str, scenarios))
        below.set_yticks(range(len(scenarios)), map(str, scenarios))
    panels[0, 0].legend(title="scenario", markerscale=4)
    figure.colorbar(image, ax=panels[1].tolist(), label="cosine similarity of means")
    figure.savefig(file, dpi=100)
    plt.close(figure)
    return file


if __name__ == "__main__":
    sys.stdout.write(f"{main(RunFolder(Path(sys.argv[1])), sys.argv[2:])}\n")
