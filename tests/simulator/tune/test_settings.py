"""How much is tuned on: enough to have learned something, and not all."""

from __future__ import annotations

from pathlib import Path

import pytest

from pkb.errors import SettingError
from simulator.settings import load
from simulator.tune.settings import TuneSettings


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["tune.periods=1"], "tune.periods=1: must be 0 (no tuning), or at least 2"),
        (["tune.periods=-1"], "tune.periods=-1: must be 0 (no tuning), or at least 2"),
        (["tune.periods=3", "tune.trials=0"], "tune.trials=0: must be at least 1"),
        (["tune.against_default=true"], "tune.against_default=True: there is no tuning; set periods, too"),
        (
            ["tune.periods=3", "stream.protocol=split"],
            "tune.periods=3: must be 0 where stream.protocol=split",
        ),
        (
            ["tune={periods: 3, against_default: true}", "arms.finetune_default={policy: frozen}"],
            "arms.finetune_default: is what tune.against_default calls finetune untuned; rename it",
        ),
    ],
)
def test_a_tuning_that_cannot_be_is_one_line_that_names_the_key(
    tmp_path: Path, overrides: list[str], message: str
) -> None:
    config = tmp_path / "config.yaml"
    config.write_text("arms:\n  finetune: {}\n")
    with pytest.raises(SettingError) as caught:
        load(config, overrides)
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


def test_at_least_one_period_is_left_to_report_on() -> None:
    TuneSettings(periods=3).check_leaves_some(4)
    TuneSettings().check_leaves_some(1)
    with pytest.raises(SettingError, match=r"^tune\.periods=3: must be below 3, the number of the log's periods$"):
        TuneSettings(periods=3).check_leaves_some(3)
