"""Whom an arm is held against."""

from __future__ import annotations

from dataclasses import replace

from simulator.measure.opponents import controls
from tests.simulator.measure.fake_run import an_arm, an_experiment


def test_the_controls_of_an_arm_differ_from_it_in_nothing_else() -> None:
    rok = an_arm(knowledge="rok")
    arms = {
        "finetune": an_arm(),
        "rok": rok,
        "untrained": replace(rok, control="untrained"),
        "shuffled": replace(rok, control="shuffled"),
        "elsewhere": replace(rok, control="untrained", plug="join"),
        "novelty": an_arm(knowledge="novelty", base_is_control=True, plug="join"),
        "din": an_arm(backbone="din", knowledge="novelty", base_is_control=True),
    }
    found = controls(an_experiment(arms))
    assert found == {"rok": ["untrained", "shuffled", "novelty"], "novelty": [], "din": []}
