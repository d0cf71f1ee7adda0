"""What a replica scores is what the contender predicts, with the plug applied ahead where that can be."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from simulator.contender.contender import Contender
from simulator.contender.settings import ArmSettings
from simulator.serve.loading import Scorer, scorer_of
from simulator.serve.stored import TOLERANCE
from simulator.stream.log import Log
from tests.simulator.contender.test_centered import KEEP, play, played, served
from tests.simulator.tiny import tiny_log, tiny_settings

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Log:
    return tiny_log(tmp_path_factory.mktemp("log"), periods=4, rows=200)


def scorer(c: Contender, folder: Path, log: Log) -> Scorer:
    """What serves this contender as it is now."""
    settings = tiny_settings(folder)
    return scorer_of(served(c, folder, f"after {c.trained_through}"), log, settings.stream, settings.retrieval, folder)


@pytest.mark.parametrize(
    ("arm", "ahead"),
    [
        (KEEP, True),
        (replace(KEEP, plug="gate"), True),
        (replace(KEEP, plug="fields"), False),
        (replace(KEEP, plug_from=3), False),  # nothing is plugged in yet
    ],
    ids=["hidden", "gate", "fields", "not yet"],
)
def test_what_is_looked_up_is_plugged_in_ahead_and_scores_stay(
    tmp_path: Path, log: Log, arm: ArmSettings, ahead: bool
) -> None:
    c, rows = played(tmp_path, log, 3, arm), log.read(log.periods[-1])
    of_first, first = scorer(c, tmp_path, log), c.predict(rows)
    assert (of_first.folded is not None) == ahead
    np.testing.assert_allclose(of_first.predict(rows), first, rtol=0, atol=TOLERANCE)
    play(c, log, range(3, 4))
    later = c.predict(rows)
    assert np.abs(later - first).max() > 100 * TOLERANCE
    np.testing.assert_allclose(of_first.predict(rows), first, rtol=0, atol=TOLERANCE)
    np.testing.assert_allclose(scorer(c, tmp_path, log).predict(rows), later, rtol=0, atol=TOLERANCE)
