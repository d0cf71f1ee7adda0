"""The figure of docs/world.md: the best attainable AUC by period, for each part of the drift by itself.

python -m benchmarks.world docs/world.png
"""

from __future__ import annotations

import dataclasses
import sys

import matplotlib.pyplot as plt

from simulator.stream.world.impressions import Market
from simulator.stream.world.presets import PRESETS
from simulator.stream.world.truth import best_auc, expected_auc
from simulator.stream.world_settings import DriftSettings, WorldSettings

PERIODS, REQUESTS, DAY = 16, 40_000, 86_400
STRENGTH = {
    **dict.fromkeys(("wander", "turnover", "regimes", "promotions", "shifts", "fashion", "holidays"), 1.0),
    "label_noise": 0.2,
}
STILL = DriftSettings(**dict.fromkeys(STRENGTH, 0.0))


def curves(drift: DriftSettings) -> tuple[list[float], list[float]]:
    """By period: the best AUC, and that of one who knows the world of period 0 and nothing later."""
    settings = WorldSettings(drift=drift)
    preset = PRESETS[settings.preset]
    market, at_first = (Market(preset, settings, DAY) for _ in range(2))
    best, stale = [], []
    for period in range(PERIODS):
        market.begin(period)
        shown = market.impressions(market.rng("figure", period), 0, 1, REQUESTS)
        p_true = shown.p_true.reshape(-1)
        best.append(best_auc(p_true))
        stale.append(expected_auc(at_first.appeal(shown.requests, shown.place).reshape(-1), p_true))
    return best, stale


def main(file: str) -> None:
    figure, panels = plt.subplots(2, 4, figsize=(12, 5), sharex=True, sharey=True, layout="constrained")
    still, _ = curves(STILL)
    for panel, (part, strength) in zip(panels.flat, STRENGTH.items(), strict=True):
        best, stale = curves(dataclasses.replace(STILL, **{part: strength}))
        panel.plot(still, color="0.7", label="best, no drift")
        panel.plot(best, color="C0", label="best")
        panel.plot(stale, color="C3", linestyle="--", label="best of period 0's knowledge")
        panel.set_title(f"{part} = {strength:g}", fontsize=10)
        panel.set_xticks(range(0, PERIODS, 3))
        panel.grid(alpha=0.3)
        print(f"{part:12s} best {min(best):.3f} to {max(best):.3f}, of period 0's knowledge at last {stale[-1]:.3f}")
    panels[0, 0].legend(fontsize=8, loc="lower left")
    figure.supxlabel("period (day)")
    figure.supylabel("expected AUC")
    figure.savefig(file, dpi=100)


if __name__ == "__main__":
    main(sys.argv[1])
