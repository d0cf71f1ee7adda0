"""One trial: an arm with some settings, played alone over the first periods by the loop that plays every run."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from simulator.contender.recipe import Recipe
from simulator.loop.play import Play
from simulator.loop.simulate import simulate
from simulator.measure.ranking import auc
from simulator.measure.value import Value, undefined
from simulator.record.costs import read_costs, stop_reasons
from simulator.record.experiment import key_of
from simulator.record.layout import RunFolder
from simulator.record.predictions import Predictions, read_predictions
from simulator.record.tuning import Values
from simulator.stream.log import Log
from simulator.tune.space import with_values


def named(recipe: Recipe, number: int) -> Recipe:
    """Give an arm the name of one of its trials. No draw depends on a name, so it learns what the arm would."""
    return replace(recipe, name=f"{recipe.name}.{number}")


def play_trial(play: Play, arm: str, number: int, values: Values, first: Log, run: RunFolder) -> Value:
    """Play a trial of one of the arms and measure it; one that was killed goes on after its last period.

    The shared files of `run` hold the first periods; what the trial leaves there is the caller's to remove.
    """
    recipes = {recipe.name: recipe for recipe in play.recipes}
    tried = recipes[arm] = named(with_values(recipes[arm], values), number)
    among = replace(play, recipes=tuple(recipes.values()))  # the rows have what any of them reads
    simulate(among, 0, [tried.key], first, run, _silent)
    return mean_auc(run, tried)


def mean_auc(run: RunFolder, recipe: Recipe) -> Value:
    """Average the AUC over the periods after the first, each predicted before it was learned."""
    if reason := stop_reasons(read_costs(run, [recipe.key])).get((recipe.name, recipe.seed)):
        return undefined(reason)
    mine = [
        piece
        for pieces in read_predictions(run, [recipe.key])
        for piece in pieces
        if key_of((piece.arm, piece.seed)) == recipe.key and not piece.holdout and piece.evaluated_on >= 1
    ]
    known = [value for value in map(_auc, mine) if value is not None]
    if not known:
        return undefined("no period after the first holds both classes")
    return Value(value=float(np.mean(known)), n=len(known))


def _auc(piece: Predictions) -> float | None:
    return auc(piece.label, piece.probability).value


def _silent(**_: Any) -> None:
    pass
