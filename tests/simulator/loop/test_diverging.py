"""An arm that diverges is stopped and named, and the others go on as if it had not been there."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from simulator.contender.settings import ArmSettings
from simulator.plays import play_of
from simulator.record.costs import read_arm_costs
from simulator.record.layout import RunFolder
from tests.simulator.loop.in_process import played, predictions
from tests.simulator.tiny import tiny_log, tiny_settings

ARMS = {"finetune": ArmSettings(), "diverging": ArmSettings(knowledge="edk", options={"patterns": 2, "depth": 1})}


def test_an_arm_that_diverges_is_stopped_and_named_and_the_others_go_on(tmp_path: Path, one_thread: None) -> None:
    log, settings = tiny_log(tmp_path / "log", rows=300), tiny_settings(tmp_path, arms=ARMS)
    settings = replace(settings, compress=replace(settings.compress, learning_rate=1e30))
    run = played(play_of(settings), log, RunFolder(tmp_path / "run"))
    last = log.periods[-1].index
    stopped = read_arm_costs(run, last, "diverging-0").stopped or ""
    assert "loss was" in stopped
    assert "compressing period" in stopped
    assert read_arm_costs(run, last, "finetune-0").stopped is None

    only = replace(settings, arms={"finetune": ARMS["finetune"]})
    alone = played(play_of(only), log, RunFolder(tmp_path / "alone"))
    ours, theirs = (predictions(each, ["finetune-0"]) for each in (run, alone))
    assert ours.keys() == theirs.keys()
    assert all(np.array_equal(said, theirs[cell]) for cell, said in ours.items())
