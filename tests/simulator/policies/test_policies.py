from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch

from pkb.batch import Batch, concatenate
from simulator.contender.contender import Contender
from simulator.contender.learning import fit, learn
from simulator.contender.settings import ArmSettings
from simulator.policies import POLICIES
from simulator.policies.base import Learner
from simulator.policies.ewc import Ewc
from simulator.policies.replay import Replay, row_bytes
from simulator.stream.log import Log
from tests.simulator.tiny import contender_of, tiny_log, tiny_settings


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Log:
    return tiny_log(tmp_path_factory.mktemp("log"))


def contender(folder: Path, policy: str, **settings: Any) -> Contender:
    made = tiny_settings(folder, arms={policy: ArmSettings(policy=policy)})
    if settings:
        chosen = replace(getattr(made.policies, policy), **settings)
        made = replace(made, policies=replace(made.policies, **{policy: chosen}))
    return contender_of(made, policy)


def play(c: Contender, log: Log, periods: Sequence[int] = (0, 1, 2)) -> Contender:
    def rows(wanted: range) -> Batch:
        return concatenate([log.read(log.periods[i]) for i in wanted])

    for period in periods:
        learn(c, log.periods[period], range(period, period + 1), rows)
    return c


def lessons(folder: Path, log: Log, policy: str, **settings: Any) -> list[set[int]]:
    """The periods whose rows a policy learns at the end of each period; empty where it learns nothing."""
    c, learned = contender(folder, policy, **settings), []
    for now in log.periods:
        window, ids = range(now.index, now.index + 1), list[torch.Tensor]()
        learn(c, now, window, lambda p: concatenate([log.read(log.periods[i]) for i in p]), ledger=ids.append)
        learned.append({int(i) for row_id in ids for i in row_id.unique() // 600})
    return learned


def test_policies_learn_the_periods_that_their_names_say(tmp_path: Path, log: Log) -> None:
    assert lessons(tmp_path, log, "frozen") == [{0}, set(), set(), set()]
    assert lessons(tmp_path, log, "frozen", after=2) == [{0}, {1}, set(), set()]
    assert lessons(tmp_path, log, "finetune") == [{0}, {1}, {2}, {3}]
    assert lessons(tmp_path, log, "retrain_window", periods=2) == [{0}, {0, 1}, {1, 2}, {2, 3}]
    assert lessons(tmp_path, log, "retrain_all") == [{0}, {0, 1}, {0, 1, 2}, {0, 1, 2, 3}]
    assert lessons(tmp_path, log, "replay") == [{0}, {0, 1}, {0, 1, 2}, {0, 1, 2, 3}]
    assert lessons(tmp_path, log, "distil") == [{0}, {1}, {2}, {3}]
    assert lessons(tmp_path, log, "ewc") == [{0}, {1}, {2}, {3}]


@pytest.mark.parametrize("policy", ["retrain_all", "retrain_window"])
def test_a_policy_that_retrains_ends_like_a_new_contender_on_the_same_rows(
    tmp_path: Path, log: Log, policy: str
) -> None:
    trained = play(contender(tmp_path, policy), log)
    fresh = contender(tmp_path, policy)
    fresh.known = trained.known  # what has been seen before is not new, though it be learned from nothing
    fresh.passes_at_first = trained.passes_at_first
    fit(fresh, concatenate([log.read(p) for p in log.periods[:3]]), log.periods[2])
    rows = log.read(log.periods[3])
    assert np.array_equal(trained.predict(rows), fresh.predict(rows))


@pytest.mark.parametrize(("policy", "setting"), [("distil", {"weight": 0.0}), ("ewc", {"weight": 0.0})])
def test_a_policy_without_weight_is_fine_tuning(
    tmp_path: Path, log: Log, policy: str, setting: dict[str, float]
) -> None:
    plain, other = (play(contender(tmp_path, p, **s), log) for p, s in (("finetune", {}), (policy, setting)))
    rows = log.read(log.periods[3])
    np.testing.assert_allclose(plain.predict(rows), other.predict(rows), rtol=1e-6)


@pytest.mark.parametrize("policy", ["distil", "ewc"])
def test_the_heavier_a_policy_holds_the_less_a_lesson_moves_the_model(tmp_path: Path, log: Log, policy: str) -> None:
    rows, moved = log.read(log.periods[0]), []
    for weight in (0.0, 1.0, 100.0):
        c = contender(tmp_path, policy, weight=weight)
        c.recipe = replace(c.recipe, train=replace(c.recipe.train, epochs=3))
        play(c, log, [0])
        before = c.predict(rows)
        play(c, log, [1])
        moved.append(float(np.abs(c.predict(rows) - before).mean()))
    assert moved[0] > moved[1] > moved[2]


def test_the_replay_sample_is_uniform_over_all_rows_seen(log: Log) -> None:
    periods = [log.read(p) for p in log.periods]
    counts = np.zeros(2400)
    for seed in range(300):
        policy = Replay(Replay.Settings(bytes=100 * row_bytes(periods[0])), seed)
        for number, rows in enumerate(periods):
            policy._add(rows, number)
        assert policy.sample is not None
        kept = policy.sample.row_id.numpy()
        assert len(kept) == len(set(kept)) == 100
        counts[kept] += 1
    quarters = counts.reshape(4, 600).sum(axis=1)  # 7,500 expected in each, standard deviation 75
    assert np.abs(quarters - 7500).max() < 4 * 75


def test_the_replay_sample_keeps_to_its_bytes_and_all_rows_while_they_fit(log: Log) -> None:
    rows = log.read(log.periods[0])
    policy = Replay(Replay.Settings(bytes=900 * row_bytes(rows)), 0)
    policy._add(rows, 0)
    assert policy.sample is not None
    assert policy.sample.row_id.tolist() == rows.row_id.tolist()
    policy._add(log.read(log.periods[1]), 1)
    assert len(policy.sample) == 900
    assert policy.nbytes() <= 900 * row_bytes(rows) + 8


@pytest.mark.parametrize(("ratio", "old"), [(0.0, 0), (0.5, 300), (1.0, 600), (9.0, 1800)])
def test_a_lesson_replays_so_many_old_rows_to_each_new_one(log: Log, ratio: float, old: int) -> None:
    policy, nobody = Replay(Replay.Settings(ratio=ratio), 0), cast(Learner, None)
    for number in range(4):
        window = range(number, number + 1)
        lesson = policy.lesson(nobody, window, lambda p: log.read(log.periods[p[0]]))
        policy.finish(nobody, lesson, window)
    learned = lesson.rows.row_id.tolist()
    assert len(learned) == len(set(learned)) == 600 + old
    assert sum(row >= 1800 for row in learned) == 600


@pytest.mark.parametrize("policy", list(POLICIES))
def test_a_policy_goes_on_from_its_stored_state_as_if_nothing_had_happened(
    tmp_path: Path, log: Log, policy: str
) -> None:
    one, two = (play(contender(tmp_path, policy), log, [0, 1]) for _ in range(2))
    two.policy = POLICIES[policy](two.policy.settings, 0)
    if one.policy.state():
        two.policy.restore({k: v.clone() for k, v in one.policy.state().items()})
    rows = log.read(log.periods[3])
    assert np.array_equal(play(one, log, [2]).predict(rows), play(two, log, [2]).predict(rows))


def test_the_fisher_information_of_a_logit_bias_is_the_mean_squared_residual(tmp_path: Path, log: Log) -> None:
    c, rows = contender(tmp_path, "ewc", group=1, rows=600), log.read(log.periods[0])
    fit(c, rows, log.periods[0])
    policy = c.policy
    assert isinstance(policy, Ewc)
    policy._consolidate(c, rows, 0)
    bias = next(i for i, p in enumerate(c.model_optimiser.dense) if p.dim() == 0)
    residual = torch.from_numpy(c.predict(rows)) - rows.label
    torch.testing.assert_close(policy.importance[f"dense.{bias}"], residual.square().mean(), rtol=1e-4, atol=0)
