"""What is tried next depends on the seed and on what has ended, and on nothing else."""

from __future__ import annotations

from math import log10

from pkb.space import Between, OneOf, Space
from simulator.record.tuning import Trial, Tuning, Values
from simulator.tune.sampling import AT_RANDOM, suggest

SPACE: dict[str, Space] = {"train.learning_rate": Between(1e-4, 1e-1, log=True), "train.epochs": OneOf((1, 2, 3))}
GIVEN = {"train.learning_rate": 1e-3, "train.epochs": 1}
TRIALS = 16


def auc_of(values: Values) -> float | None:
    """Best at a rate of 0.02 and two passes; too high a rate diverges."""
    rate, epochs = float(values["train.learning_rate"]), int(values["train.epochs"])
    if rate > 0.05:
        return None
    return 0.7 - 0.05 * abs(log10(rate / 0.02)) - 0.02 * abs(epochs - 2)


def trial(number: int, values: Values) -> Trial:
    auc = auc_of(values)
    return Trial(arm="a", number=number, values=values, auc=auc, reason=None if auc else "it diverged", seconds=1.0)


def search(seed: int, ended: list[Trial] | None = None) -> list[Trial]:
    ended = list(ended or [trial(0, GIVEN)])
    while len(ended) < TRIALS:
        ended.append(trial(len(ended), suggest(SPACE, ended, seed)))
    return ended


def test_a_seed_decides_all_trials_wherever_they_are_taken_up_again() -> None:
    ended = search(0)
    assert search(0) == ended
    assert all(search(0, ended[:done]) == ended for done in (1, AT_RANDOM, 12))
    assert search(1) != ended


def test_values_lie_within_their_space_and_no_trial_is_another_ones_copy() -> None:
    ended = search(0)
    for each in ended:
        assert each.values.keys() == SPACE.keys()
        assert all(SPACE[name].holds(value) for name, value in each.values.items())
    assert len({tuple(each.values.values()) for each in ended}) == TRIALS


def test_the_sampler_learns_from_what_has_ended() -> None:
    """Over ten seeds, trials after the random ones are better on average than these."""
    early, late = [], []
    for seed in range(10):
        known = [each.auc if each.auc is not None else 0.5 for each in search(seed)]
        early += known[1:AT_RANDOM]
        late += known[AT_RANDOM:]
    assert sum(late) / len(late) > sum(early) / len(early) + 0.01


def test_settings_that_were_given_beyond_their_space_are_a_trial_like_any_other() -> None:
    ended = [trial(0, {"train.learning_rate": 5e-6, "train.epochs": 7})]
    assert search(0, ended)[0] == ended[0]


def test_the_earliest_of_the_best_trials_is_chosen_and_the_given_settings_where_none_has_an_auc() -> None:
    def tuning(*aucs: float | None) -> Tuning:
        ended = [
            Trial(arm="a", number=number, values={}, auc=auc, reason=None, seconds=0.0)
            for number, auc in enumerate(aucs)
        ]
        return Tuning(periods=3, trials=3, ended=ended[::-1])

    assert tuning(0.5, 0.7, 0.7).chosen("a").number == 1
    assert tuning(None, 0.2, None).chosen("a").number == 1
    assert tuning(None, None, None).chosen("a").number == 0
