from __future__ import annotations

import pytest

from pkb.errors import DataError, SettingError
from simulator.stream.periods import check_spans, width_seconds
from simulator.stream.staging import Span


def spans(*starts: int) -> list[Span]:
    return [Span(start=start, rows=1, positives=0) for start in starts]


@pytest.mark.parametrize(("text", "seconds"), [("30m", 1_800), ("6h", 21_600), ("1d", 86_400), ("14d", 1_209_600)])
def test_a_width_is_a_number_and_a_unit(text: str, seconds: int) -> None:
    assert width_seconds(text) == seconds


@pytest.mark.parametrize("text", ["", "1", "d", "0d", "1w", "1.5h", "-1d", "1d "])
def test_any_other_width_is_refused_with_examples(text: str) -> None:
    with pytest.raises(SettingError, match=r"stream\.period=.*30m, 6h or 1d"):
        width_seconds(text)


def test_consecutive_periods_pass() -> None:
    check_spans(spans(0, 3_600, 7_200), 3_600, utc_offset_hours=0)


def test_an_empty_period_is_named_by_its_times_on_the_log_s_clock() -> None:
    with pytest.raises(
        DataError, match=r"1970-01-01 09:00\+08:00 to 1970-01-01 10:00\+08:00 has no rows.*stream\.period"
    ):
        check_spans(spans(0, 7_200), 3_600, utc_offset_hours=8)


def test_one_period_is_too_few() -> None:
    with pytest.raises(DataError, match=r"one period.*narrower stream\.period"):
        check_spans(spans(0), 3_600, utc_offset_hours=0)
