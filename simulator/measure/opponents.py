"""Whom each arm is held against: itself without knowledge, a baseline to be tested against, its controls."""

from __future__ import annotations

from dataclasses import replace

from simulator.record.experiment import Arm, Experiment
from simulator.record.tuning import untuned


def references(experiment: Experiment) -> dict[str, str | None]:
    """Find for each arm with knowledge the arm of the same backbone and policy without it, or None."""
    arms = experiment.arms
    plain = {_kind(arm): name for name, arm in reversed(arms.items()) if arm.knowledge is None}
    return {name: plain.get(_kind(arm)) for name, arm in arms.items() if arm.knowledge is not None}


def baselines(experiment: Experiment) -> dict[str, str]:
    """Find what each arm is tested against: itself without knowledge, where there is such an arm, else the first.

    An arm that is played untuned as well is tested against itself, tuned.
    """
    found, first = references(experiment), next(iter(experiment.arms))
    tuned = {untuned(name): name for name, arm in experiment.arms.items() if not arm.untuned}
    against = {name: tuned[name] if arm.untuned else found.get(name) or first for name, arm in experiment.arms.items()}
    return {name: other for name, other in against.items() if other != name}


def controls(experiment: Experiment) -> dict[str, list[str]]:
    """Find for each arm with knowledge that is no control the arms that it must beat to show that it knows something.

    They have its base without what it learned, or a base that tells only what any other can tell beside its knowledge.
    """

    def holds(control: Arm, arm: Arm) -> bool:
        if control.base_is_control and not arm.base_is_control:
            return _kind(control) == _kind(arm)
        return control.control is not None and replace(control, control=None) == arm

    return {
        name: [other for other, its in experiment.arms.items() if holds(its, arm)]
        for name, arm in experiment.arms.items()
        if arm.knowledge is not None and arm.control is None
    }


def retrained_on_all(experiment: Experiment) -> dict[str, str]:
    """Find for each backbone the first arm that retrains it on all periods, without knowledge."""
    return {
        arm.backbone: name
        for name, arm in reversed(experiment.arms.items())
        if arm.policy == "retrain_all" and arm.knowledge is None
    }


def _kind(arm: Arm) -> tuple[str, str, bool]:
    """What an arm shares with the same one without knowledge."""
    return arm.backbone, arm.policy, arm.untuned
