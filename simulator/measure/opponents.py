"""Whom each arm is held against: itself without knowledge, a baseline to be tested against, its controls."""

from __future__ import annotations

from dataclasses import replace

from simulator.record.experiment import Arm, Experiment
from simulator.record.tuning import untuned

LEARN_ALL = ("finetune", "retrain_all")  # policies whose model has learned all of the log so far
AFRESH = ("retrain_window",)  # policies whose model has learned the newest rows alone
Kind = tuple[str, str, str | None, bool, tuple[int, ...]]


def references(experiment: Experiment) -> dict[str, str | None]:
    """Find for each arm with knowledge its bare arm, or None: of the same model, policy, restarts and domains."""
    bare, arms = _bare(experiment), experiment.arms.items()
    return {name: bare.get(_kind(arm)) for name, arm in arms if arm.knowledge is not None}


def learners_of_all(experiment: Experiment) -> dict[str, list[str]]:
    """Find for each arm with knowledge the arms of its model without it that have learned all of the log so far.

    The better of them is what an arm can hope to come up to whose backbone has not.
    """
    bare, arms = _bare(experiment), experiment.arms.items()
    kinds = {
        name: [_kind(replace(arm, policy=policy, restart_at=[])) for policy in LEARN_ALL]
        for name, arm in arms
        if arm.knowledge
    }
    return {name: [bare[kind] for kind in its if kind in bare] for name, its in kinds.items()}


def _bare(experiment: Experiment) -> dict[Kind, str]:
    """The arm without knowledge of each kind.

    Of several it is the one with the fewest of `epochs` and `width` of its own (with a budget every arm has a width),
    the first among equals.
    """
    plain = {name: arm for name, arm in experiment.arms.items() if arm.knowledge is None}
    by_changes = sorted(plain, key=lambda name: (plain[name].epochs is not None) + (plain[name].width is not None))
    return {_kind(plain[name]): name for name in reversed(by_changes)}


def baselines(experiment: Experiment) -> dict[str, str]:
    """Find what each arm is tested against: itself without knowledge, where there is such an arm, else the first.

    An arm that is played untuned as well is tested against itself, tuned, and a restarted one without knowledge against
    itself without restarts.
    """
    found, first, whole = references(experiment), _first(experiment), twins(experiment)
    tuned = {untuned(name): name for name, arm in experiment.arms.items() if not arm.untuned}
    against = {
        name: tuned[name] if arm.untuned else found.get(name) or whole.get(name) or first
        for name, arm in experiment.arms.items()
    }
    return {name: other for name, other in against.items() if other != name}


def bare_arms(experiment: Experiment) -> list[str]:
    """List the arms that what others know is held against: bare ones, or the first arm where there is none."""
    first = _first(experiment)
    against = {reference or first for reference in references(experiment).values()} or {first}
    return [name for name in experiment.arms if name in against]


def controls(experiment: Experiment) -> dict[str, list[str]]:
    """Find for each arm with knowledge that is no control the arms that it must beat to show that it knows something.

    They have its base without what it learned, or a base that tells only what any other can tell beside its knowledge,
    or no knowledge but more work or parameters than its bare arm.
    """
    bare, arms = references(experiment), experiment.arms

    def larger(other: Arm, plain: Arm | None) -> bool:
        """Tell whether an arm is the bare one with other passes over its rows, or another width, and no more."""
        if plain is None or (other.epochs, other.width) == (plain.epochs, plain.width):
            return False
        same = replace(other, epochs=plain.epochs, width=plain.width, plug=plain.plug, layer=plain.layer)
        return same == plain  # without knowledge nothing is plugged in

    def holds(control: Arm, arm: Arm) -> bool:
        if control.base_is_control and not arm.base_is_control:
            return _kind(control) == _kind(arm)
        return control.control is not None and replace(control, control=None) == arm

    return {
        name: [other for other, its in arms.items() if holds(its, arm) or larger(its, arms.get(bare[name] or ""))]
        for name, arm in arms.items()
        if arm.knowledge is not None and arm.control is None
    }


def twins(experiment: Experiment) -> dict[str, str | None]:
    """Find for each restarted arm the same one without restarts, or None."""
    arms = experiment.arms
    return {
        name: next((other for other, its in arms.items() if its == replace(arm, restart_at=[])), None)
        for name, arm in arms.items()
        if arm.restart_at
    }


def retrained_on_all(experiment: Experiment) -> dict[str, str]:
    """Find for each model the first arm that retrains it on all periods, without knowledge."""
    return {
        arm.model: name
        for name, arm in reversed(experiment.arms.items())
        if arm.policy == "retrain_all" and arm.knowledge is None and arm.domains is None
    }


def starts_afresh(arm: Arm) -> bool:
    """Tell whether an arm's model is kept from old rows, which reach it through a base alone."""
    return arm.policy in AFRESH or bool(arm.restart_at)


def _first(experiment: Experiment) -> str:
    """The first arm, of those without restarts if there are any."""
    return min(experiment.arms, key=lambda name: bool(experiment.arms[name].restart_at))


def _kind(arm: Arm) -> Kind:
    """What an arm shares with the same one without knowledge."""
    return arm.model, arm.policy, arm.domains, arm.untuned, tuple(arm.restart_at)
