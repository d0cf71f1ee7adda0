"""Whom an arm is held against."""

from __future__ import annotations

from dataclasses import replace

from simulator.measure.opponents import bare_arms, baselines, controls, learners_of_all, references, twins
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


def test_a_bare_arm_has_the_settings_of_the_backbone_that_the_arm_has() -> None:
    own = {"hidden": [8], "dropout": 0.1}
    arms = {
        "large": an_arm(),
        "small": an_arm(backbone_options=own, width=4),
        "rok": an_arm(knowledge="rok"),
        "small_rok": an_arm(knowledge="rok", backbone_options=dict(reversed(own.items()))),
        "tiny_rok": an_arm(knowledge="rok", backbone_options={"hidden": [2]}),
    }
    assert references(an_experiment(arms)) == {"rok": "large", "small_rok": "small", "tiny_rok": None}
    assert controls(an_experiment(arms))["rok"] == []


def test_where_no_arm_goes_without_knowledge_the_first_one_is_what_others_are_held_against() -> None:
    arms = {"rok": an_arm(knowledge="rok"), "edk": an_arm(knowledge="edk")}
    assert bare_arms(an_experiment(arms)) == ["rok"]
    assert bare_arms(an_experiment({"frozen": an_arm(policy="frozen"), "finetune": an_arm()})) == ["frozen"]


def test_restarted_arms_are_held_against_arms_that_were_restarted_in_the_same_periods() -> None:
    rok, again = an_arm(knowledge="rok"), an_arm(restart_at=[5])
    arms = {
        "again": again,
        "finetune": an_arm(),
        "rok": rok,
        "shuffled": replace(rok, control="shuffled"),
        "rok_again": replace(rok, restart_at=[5]),
        "shuffled_again": replace(rok, control="shuffled", restart_at=[5]),
        "thrice_again": replace(again, epochs=3),
        "rok_later": replace(rok, restart_at=[6]),
    }
    experiment = an_experiment(arms)
    assert references(experiment) == {
        "rok": "finetune",
        "shuffled": "finetune",
        "rok_again": "again",
        "shuffled_again": "again",
        "rok_later": None,
    }
    assert controls(experiment) == {
        "rok": ["shuffled"],
        "rok_again": ["shuffled_again", "thrice_again"],
        "rok_later": [],
    }
    assert bare_arms(experiment) == ["again", "finetune"]
    assert twins(experiment) == {
        "again": "finetune",
        "rok_again": "rok",
        "shuffled_again": "shuffled",
        "thrice_again": None,
        "rok_later": "rok",
    }


def test_a_restarted_arm_is_tested_against_itself_without_and_nobody_against_one_that_only_comes_first() -> None:
    arms = {
        "again": an_arm(restart_at=[5]),
        "finetune": an_arm(),
        "replay": an_arm(policy="replay"),
        "rok": an_arm(knowledge="rok"),
        "rok_again": an_arm(knowledge="rok", restart_at=[5]),
        "rok_later": an_arm(knowledge="rok", restart_at=[6]),
    }
    assert baselines(an_experiment(arms)) == {
        "again": "finetune",
        "replay": "finetune",
        "rok": "finetune",
        "rok_again": "again",
        "rok_later": "rok",
    }


def test_an_untuned_arm_has_an_untuned_twin() -> None:
    arms = {"finetune": an_arm(), "again": an_arm(restart_at=[5])}
    arms |= {f"{name}_default": replace(arm, untuned=True) for name, arm in arms.items()}
    assert twins(an_experiment(arms)) == {"again": "finetune", "again_default": "finetune_default"}


def test_an_arm_that_learns_all_domains_is_no_bare_arm_of_those_that_learn_the_sub_domain() -> None:
    merged = an_arm(domains="all")
    arms = {"merged": merged, "finetune": an_arm(), "keep": an_arm(knowledge="keep")}
    experiment = an_experiment(arms | {"merged_keep": replace(merged, knowledge="keep")})
    assert references(experiment) == {"keep": "finetune", "merged_keep": "merged"}
    assert learners_of_all(experiment) == {"keep": ["finetune"], "merged_keep": ["merged"]}
    assert controls(experiment) == {"keep": [], "merged_keep": []}
