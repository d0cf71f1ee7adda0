from __future__ import annotations

from collections.abc import Sequence

import pytest

from pkb.errors import DataError, SettingError
from simulator.stream.periods import ByRows, ByTime, Span, Split, cut_of, skipped, split_seconds, width_seconds
from simulator.stream.settings import SplitSettings, StreamSettings
from simulator.stream.staging import Count

BY_HOUR = ByTime(width=3_600, utc_offset_hours=0)
SPLIT = Split(train_from=100, validation_from=180, test_from=200, utc_offset_hours=0)


def counts(*numbers: int) -> list[Count]:
    """Ten rows, three of them positive, in seconds 1 to 3 of every hour of these numbers."""
    return [Count(number=n, first=n * 3_600 + 1, last=n * 3_600 + 3, rows=10, positives=3) for n in numbers]


def edges(spans: Sequence[Span]) -> list[tuple[int, int]]:
    return [(span.start, span.end) for span in spans]


def split(train_from: str, test_from: str, *, offset: int = 0) -> StreamSettings:
    parts = SplitSettings(train_from=train_from, test_from=test_from)
    return StreamSettings(protocol="split", split=parts, utc_offset_hours=offset)


@pytest.mark.parametrize(("text", "seconds"), [("30m", 1_800), ("6h", 21_600), ("1d", 86_400), ("14d", 1_209_600)])
def test_a_width_is_a_number_and_a_unit(text: str, seconds: int) -> None:
    assert width_seconds(text) == seconds


@pytest.mark.parametrize("text", ["", "1", "d", "0d", "1w", "1.5h", "-1d", "1d ", "0rows", "rows", "1.5rows", "5 rows"])
def test_any_other_period_is_refused_with_examples(text: str) -> None:
    with pytest.raises(SettingError, match=r"stream\.period=.*30m, 6h or 1d.*100000rows"):
        cut_of(StreamSettings(period=text))


def test_the_settings_decide_on_the_way_of_cutting() -> None:
    assert cut_of(StreamSettings(period="1h")) == BY_HOUR
    assert cut_of(StreamSettings(period="1000rows", utc_offset_hours=8)) == ByRows(rows=1_000)
    assert isinstance(cut_of(split("2017-12-02", "2017-12-03")), Split)


def test_periods_of_a_width_begin_at_its_multiples_whatever_their_rows() -> None:
    spans = BY_HOUR.spans(counts(0, 1, 2))
    assert edges(spans) == [(0, 3_600), (3_600, 7_200), (7_200, 10_800)]
    assert [(span.rows, span.positives) for span in spans] == [(10, 3)] * 3


def test_an_empty_period_is_named_by_its_times_on_the_log_s_clock() -> None:
    cut = ByTime(width=3_600, utc_offset_hours=8)
    with pytest.raises(
        DataError, match=r"1970-01-01 01:00\+08:00 to 1970-01-01 02:00\+08:00 has no rows.*stream\.period"
    ):
        cut.spans(counts(0, 9))


@pytest.mark.parametrize(
    ("numbers", "skips"),
    [((0, 1, 2), 0), ((0, 1, 3), 1), ((0, 2), 1), ((5, 6, 7, 8, 9, 11, 12, 14), 2), ((0, 1, 2, 3, 8), 4), ((-1, 1), 1)],
)
def test_periods_without_rows_are_skipped_and_told(numbers: tuple[int, ...], skips: int) -> None:
    spans = BY_HOUR.spans(counts(*numbers))
    assert [span.start for span in spans] == [number * 3_600 for number in numbers]
    assert [span.end for span in spans] == [*(span.start for span in spans[1:]), (numbers[-1] + 1) * 3_600]
    told = skipped(BY_HOUR, spans)
    assert told.startswith(f"periods without rows are skipped: {skips}, the first from 19") if skips else not told


@pytest.mark.parametrize("numbers", [(0, 4), (0, 1, 1_000), (0, 9, 18), (0, 1, 2, 9)])
def test_of_a_log_that_is_mostly_empty_some_times_must_be_wrong(numbers: tuple[int, ...]) -> None:
    with pytest.raises(DataError, match=r"has no rows.*a wrong time"):
        BY_HOUR.spans(counts(*numbers))


def test_one_period_is_too_few() -> None:
    with pytest.raises(DataError, match=r"one period.*narrower stream\.period"):
        BY_HOUR.spans(counts(0))
    with pytest.raises(DataError, match=r"10 rows, one period of stream\.period=50rows"):
        ByRows(rows=50).spans(counts(0))


def test_periods_of_rows_begin_with_their_first_row_and_end_where_the_next_begins() -> None:
    assert edges(ByRows(rows=10).spans(counts(0, 1, 5))) == [(1, 3_601), (3_601, 18_001), (18_001, 18_004)]


def test_a_split_cuts_at_its_three_times_and_at_the_ends_of_the_log() -> None:
    found = [Count(number=n, first=50 * n + 10, last=50 * n + 50, rows=1, positives=0) for n in range(4)]
    assert edges(SPLIT.spans(found)) == [(10, 100), (100, 180), (180, 200), (200, 201)]


@pytest.mark.parametrize(
    ("absent", "message"),
    [
        (0, r"no rows for the pool, before .*later stream\.split\.train_from"),
        (1, r"no rows for the training.*stream\.split\.validation_share"),
        (2, r"no rows for the validation.*larger stream\.split\.validation_share"),
        (3, r"no rows for the test.*earlier stream\.split\.test_from"),
    ],
)
def test_an_empty_part_of_a_split_is_named_with_what_to_set(absent: int, message: str) -> None:
    with pytest.raises(DataError, match=message):
        SPLIT.spans(counts(*({0, 1, 2, 3} - {absent})))


def test_the_times_of_a_split_are_read_on_the_stream_s_clock() -> None:
    beijing = split("2017-12-02", "2017-12-03", offset=8)
    assert split_seconds(beijing) == (1_512_144_000, 1_512_144_000 + 77_760, 1_512_144_000 + 86_400)
    assert split_seconds(split("2017-12-01 16:00", "2017-12-02T16:00")) == split_seconds(beijing)


@pytest.mark.parametrize(
    ("stream", "message"),
    [
        (split("", "2017-12-03"), r"stream\.split\.train_from='': is no date.*2017-12-02 16:00"),
        (split("2017-12-02", "tomorrow"), r"stream\.split\.test_from='tomorrow': is no date"),
        (split("2017-12-03", "2017-12-03"), r"train_from=2017-12-03: must be before stream\.split\.test_from"),
        (split("2017-12-02", "2017-12-02 00:00:01"), r"stream\.split\.validation_share=0\.1: .*leave a second"),
    ],
)
def test_a_split_that_cannot_be_read_names_its_key(stream: StreamSettings, message: str) -> None:
    with pytest.raises(SettingError, match=message):
        cut_of(stream)
