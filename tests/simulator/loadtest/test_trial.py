"""A load test of queues whose answers are known in closed form."""

from __future__ import annotations

import numpy as np
import pytest

from pkb.errors import RunError
from simulator.loadtest.arrivals import first_arrivals
from simulator.loadtest.offering import Load
from simulator.loadtest.settings import LoadSettings
from simulator.loadtest.target import Target
from simulator.loadtest.trial import Trial
from simulator.record.loadtest import LoadTest
from tests.simulator.loadtest.queue import Queues, share_within, sustained

SERVICE = {"fast": 0.002, "slow": 0.008}  # seconds
BOUND = 0.05


def tried(queues: Queues, **settings: float) -> LoadTest:
    chosen = LoadSettings(**{"repeats": 3, "seconds": 10.0, "requests": 4000} | settings)  # type: ignore[arg-type]
    targets = [Target(arm=url, seed=0, url=url) for url in queues.service]
    return Trial(targets, queues, chosen, lambda line: None, "queues", None, 1).run()


@pytest.fixture(scope="module")
def test_of_queues() -> LoadTest:
    return tried(Queues(SERVICE))


@pytest.mark.parametrize("name", SERVICE)
def test_an_arm_sustains_what_the_theory_of_queues_says(test_of_queues: LoadTest, name: str) -> None:
    [arm] = [arm for arm in test_of_queues.arms if arm.arm == name]
    limit = sustained(BOUND, SERVICE[name])
    assert arm.sustained.value is not None
    assert 0.8 * limit < arm.sustained.value < 1.02 * limit, "confidence costs some of the rate"
    assert all(rate is not None and rate < 1.05 * limit for rate in arm.sustained_by_repeat)


def test_latency_at_the_common_rate_is_that_of_the_queue(test_of_queues: LoadTest) -> None:
    rate = test_of_queues.equal_rate
    assert rate is not None
    lowest = min(arm.sustained.value or 0 for arm in test_of_queues.arms)
    assert 0.75 * lowest < rate <= 0.8 * lowest
    for arm in test_of_queues.arms:
        assert arm.p99_ms.value is not None
        assert arm.p999_ms is not None
        assert arm.max_ms is not None
        assert share_within(arm.p99_ms.value / 1000, rate, SERVICE[arm.arm]) == pytest.approx(0.99, abs=0.005)
        assert share_within(arm.p999_ms / 1000, rate, SERVICE[arm.arm]) == pytest.approx(0.999, abs=0.002)
        assert (arm.p99_ms.low or 0) <= arm.p99_ms.value <= (arm.p99_ms.high or 0)
        assert (arm.p50_ms.value or 0) < arm.p99_ms.value < arm.p999_ms <= arm.max_ms


def test_arms_take_turns_with_the_same_requests_and_gaps() -> None:
    queues = Queues({"one": 0.004, "two": 0.004, "three": 0.004})
    test = tried(queues, repeats=2)
    asked = [load for load in queues.asked if load[0] in queues.service]
    for place in range(0, len(asked), 3):
        urls, ends, firsts = zip(*asked[place : place + 3], strict=True)
        assert set(urls) == set(queues.service)
        assert len(set(ends)) == len(set(firsts)) == 1
    first_urls = [load.arm for load in test.loads if load.purpose == "equal"][::3]
    assert first_urls == ["one", "two"], "another arm begins in each repeat"


def test_the_common_rate_may_be_kept_for_longer_than_the_search_takes() -> None:
    test = tried(Queues({"fast": 0.002}), repeats=1, common_seconds=600.0)
    [common] = [load for load in test.loads if load.purpose == "equal"]
    assert common.sent == pytest.approx(600 * common.rate, abs=1)
    assert all(load.sent == max(4000, np.ceil(10 * load.rate)) for load in test.loads if load is not common)


def test_failures_are_late_and_a_server_that_often_fails_sustains_nothing() -> None:
    test = tried(Queues({"fast": 0.001, "failing": 0.001}, fails=0.03), repeats=1)
    assert [arm.sustained.value for arm in test.arms] == [None, None]
    assert test.equal_rate is None
    assert all(load.late >= sum(load.errors.values()) > 0 for load in test.loads)
    assert all(load.p999_ms is None for load in test.loads)
    assert test.self_check.failed > 0
    assert any("failed" in why for why in test.invalid)


def test_a_generator_that_lags_makes_the_result_invalid() -> None:
    class Lagging(Queues):
        def offer(self, url: str, schedule: np.ndarray, timeout_s: float, *, first: int = 0) -> Load:
            load = super().offer(url, schedule, timeout_s, first=first)
            load.lags[::50] = 0.0011
            return load

    test = tried(Lagging({"fast": 0.002}), repeats=1)
    assert test.self_check.lag_p99_ms == pytest.approx(1.1)
    assert "late by 1.10 ms (p99)" in test.invalid[0]
    assert tried(Queues({"fast": 0.002}), repeats=1).invalid == []


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (b"hello", r'answered hello; wanted is \{"scores"'),
        (b"[1, 2]", r"answered \[1, 2\]; wanted"),
        (b'{"scores": [1]}', "answered 1 scores to 2 candidates"),
    ],
)
def test_what_does_not_answer_with_scores_is_refused(answer: bytes, said: str) -> None:
    with pytest.raises(RunError, match=said):
        tried(Queues({"other": 0.001}, answer=answer))


def test_first_arrivals_are_a_poisson_process_and_rates_differ_by_a_factor() -> None:
    times = first_arrivals(50_000, 100.0, seed=1)
    gaps = np.diff(times)
    assert gaps.mean() == pytest.approx(0.01, rel=0.03)
    assert gaps.std() / gaps.mean() == pytest.approx(1, abs=0.03)
    np.testing.assert_allclose(first_arrivals(100, 50.0, seed=1), 2 * times[:100])
