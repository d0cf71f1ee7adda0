"""A play from its first period to its last in this process, without Ray."""

from __future__ import annotations

from typing import Any

import numpy as np

from simulator.loop.commons import Commons
from simulator.loop.play import Play
from simulator.loop.shared_files import SharedFiles
from simulator.loop.simulate import simulate
from simulator.record.experiment import key_of
from simulator.record.layout import RunFolder
from simulator.record.predictions import read_predictions
from simulator.stream.log import Log

Cell = tuple[str, int, int, bool]  # arm, trained through, evaluated on, holdout


def silent(**_: Any) -> None:
    """Stands for whoever is told how far a play is."""


def provided(play: Play, log: Log, run: RunFolder) -> RunFolder:
    """Write the shared files of every period of a run."""
    SharedFiles(run, len(log.schema.fields)).clear()
    commons = Commons(play, log, run)
    for period in log.periods:
        commons.provide_period(period, log.read(period, histories=commons.histories))
    return run


def played(play: Play, log: Log, run: RunFolder) -> RunFolder:
    """Play every contender to the end."""
    simulate(play, 0, [recipe.key for recipe in play.recipes], log, provided(play, log, run), silent)
    return run


def predictions(run: RunFolder, keys: list[str]) -> dict[Cell, np.ndarray]:
    """Read what these contenders have predicted."""
    return {
        (p.arm, p.trained_through, p.evaluated_on, p.holdout): p.probability
        for pieces in read_predictions(run, keys)
        for p in pieces
        if key_of((p.arm, p.seed)) in keys
    }
