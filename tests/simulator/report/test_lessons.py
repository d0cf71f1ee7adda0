from __future__ import annotations

from simulator.report.lessons import runs


def test_what_stayed_the_same_over_periods_is_written_once() -> None:
    assert runs([256, 256, 256]) == "256"
    assert runs([2, 1, 1, 2]) == "2, then 1, then 2"
    assert runs([]) == ""
