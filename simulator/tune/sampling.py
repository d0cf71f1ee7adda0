"""What an arm is tried with next: Optuna's sampler, asked as a function of the seed and of the trials that have ended.

A sampler that lived on between trials would have to be stored to go on after a kill. This one is made anew for each
trial, with a seed of the trial's own, and told of all earlier ones.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution
from optuna.trial import FrozenTrial, TrialState

from pkb.seeding import derived_seed
from pkb.space import Between, Space
from simulator.record.tuning import Trial, Values

AT_RANDOM = 5  # trials before the sampler begins to learn from them (Optuna: 10, made for longer searches)
DIGITS = 3  # of a number that is tried: more would only be hard to read


def suggest(space: Mapping[str, Space], ended: Sequence[Trial], seed: int) -> Values:
    """Suggest values for an arm's next trial (tree-structured Parzen estimator, Bergstra et al. 2011)."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    drawn = derived_seed(seed, "tune", len(ended)) % 2**32  # alike for all arms: at random they try the same
    sampler = optuna.samplers.TPESampler(n_startup_trials=AT_RANDOM, seed=drawn)
    study = optuna.create_study(direction="maximize", sampler=sampler)
    study.add_trials([_told(trial, space) for trial in ended])
    suggested = study.ask({name: _distribution(its) for name, its in space.items()}).params
    return {name: _rounded(value) if isinstance(value, float) else value for name, value in suggested.items()}


def _told(trial: Trial, space: Mapping[str, Space]) -> FrozenTrial:
    """A trial as Optuna takes it; a value that is given beyond its space, as the first trial may have, stays untold."""
    within = {name: its for name, its in space.items() if its.holds(trial.values[name])}
    return optuna.trial.create_trial(
        state=TrialState.PRUNED if trial.auc is None else TrialState.COMPLETE,  # worse than any with an AUC
        value=trial.auc,
        params={name: trial.values[name] for name in within},
        distributions={name: _distribution(its) for name, its in within.items()},
    )


def _distribution(space: Space) -> BaseDistribution:
    if isinstance(space, Between):
        return FloatDistribution(space.low, space.high, log=space.log)
    return CategoricalDistribution(space.values)


def _rounded(value: float) -> float:
    return float(f"{value:.{DIGITS}g}")
