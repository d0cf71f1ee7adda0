from __future__ import annotations

import numpy as np
import pytest

from pkb.dated import Dated
from pkb.errors import FutureError
from simulator.stream.log import Log
from simulator.stream.shown import Activity, shown
from tests.simulator.tiny import SCHEMA, tiny_log


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Log:
    return tiny_log(tmp_path_factory.mktemp("log"))


def test_activity_counts_a_users_impressions_before_the_period(log: Log) -> None:
    activity, users = Activity(), list[np.ndarray]()
    for period in log.periods:
        rows = log.read(period)
        now = shown(rows, SCHEMA, period.start, log.vocabulary_before(period), activity.counts())
        earlier = np.concatenate([[0], *users])
        assert now.activity.tolist() == [int((earlier == u).sum()) for u in now.user]
        assert np.array_equal(now.new_user, now.activity == 0)
        activity.add(now.user, period.end)
        users.append(now.user)


def test_a_vocabulary_from_the_future_is_refused(log: Log) -> None:
    first, later = log.periods[1], log.periods[3]
    vocabulary = log.vocabulary_before(later)
    with pytest.raises(
        FutureError, match=r"the vocabulary of period-00002.parquet was built until 259200 but .* 86400"
    ):
        shown(log.read(first), SCHEMA, first.start, vocabulary, Activity().counts())


def test_statistics_from_the_future_are_refused(log: Log) -> None:
    first, activity = log.periods[1], Activity()
    activity.add(np.array([5], np.int32), first.end)
    with pytest.raises(FutureError, match="the users' activity was built until 172800 but is used at 86400"):
        shown(log.read(first), SCHEMA, first.start, log.vocabulary_before(first), activity.counts())


def test_an_index_may_be_used_from_the_time_on_that_it_was_built_until() -> None:
    index = Dated(what="the index of period 3", value=[1, 2], built_until=100)
    assert index.at(100) == [1, 2]
    with pytest.raises(FutureError, match="the index of period 3 was built until 100 but is used at 99"):
        index.at(99)
