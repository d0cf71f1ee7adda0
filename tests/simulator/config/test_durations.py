"""Durations as settings write them."""

from __future__ import annotations

from pathlib import Path

import pytest

from pkb.errors import SettingError
from simulator.config.durations import seconds_of
from simulator.settings import load

CONFIG = Path(__file__).parents[3] / "configs" / "stream_eleme.yaml"


@pytest.mark.parametrize(("written", "seconds"), [("0m", 0), ("30m", 1800), ("6h", 21_600), ("2d", 172_800)])
def test_a_number_and_a_letter_are_read(written: str, seconds: int) -> None:
    assert seconds_of(written) == seconds


@pytest.mark.parametrize("written", ["", "6", "h", "6 h", "-6h", "1.5h", "6w", "6h\n"])
def test_anything_else_is_none(written: str) -> None:
    assert seconds_of(written) is None


@pytest.mark.parametrize(
    ("overrides", "told"),
    [
        (["measure.staleness=soon"], "measure.staleness=soon: write a number and m, h or d, such as 6h"),
        (["measure.staleness=2d"], "measure.staleness=2d: must be no longer than stream.period, 1d"),
        (["measure.staleness=6h", "stream.period=100rows"], "measure.staleness=6h: must be 0m: its periods"),
        (["measure.staleness=6h", "stream.protocol=split"], "measure.staleness=6h: must be 0m: its periods"),
    ],
)
def test_staleness_is_a_part_of_a_period(overrides: list[str], told: str) -> None:
    with pytest.raises(SettingError, match=told):
        load(CONFIG, overrides)
