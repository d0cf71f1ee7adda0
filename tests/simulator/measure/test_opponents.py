"""Whom an arm is held against."""

from __future__ import annotations

from dataclasses import replace

from simulator.measure.opponents import bare_arms, controls, references
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


def test_the_same_work_or_size_without_knowledge_is_a_control_wherever_it_stands() -> None:
    rok = an_arm(knowledge="rok")
    arms = {
        "thrice": an_arm(epochs=3),
        "rok": rok,
        "finetune": an_arm(),
        "wide": an_arm(width=40, plug="join"),
        "replay": an_arm(policy="replay", epochs=3),
        "thrice_din": an_arm(backbone="din", epochs=3),
        "edk": an_arm(knowledge="edk", plug="join"),
    }
    experiment = an_experiment(arms)
    assert references(experiment) == {"rok": "finetune", "edk": "finetune"}
    assert controls(experiment) == {"rok": ["thrice", "wide"], "edk": ["thrice", "wide"]}
    assert bare_arms(experiment) == ["finetune"]


def test_with_a_budget_every_arm_has_a_width_and_the_bare_arm_is_still_found() -> None:
    arms = {
        "thrice": an_arm(width=16, epochs=3),
        "finetune": an_arm(width=16),
        "rok": an_arm(width=9, knowledge="rok"),
    }
    assert references(an_experiment(arms)) == {"rok": "finetune"}
    assert controls(an_experiment(arms)) == {"rok": ["thrice"]}


def test_where_no_arm_goes_without_knowledge_the_first_one_is_what_others_are_held_against() -> None:
    arms = {"rok": an_arm(knowledge="rok"), "edk": an_arm(knowledge="edk")}
    assert bare_arms(an_experiment(arms)) == ["rok"]
    assert bare_arms(an_experiment({"frozen": an_arm(policy="frozen"), "finetune": an_arm()})) == ["frozen"]
