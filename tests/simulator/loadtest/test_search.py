"""The search finds the highest rate that keeps a bound, wherever it lies."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from simulator.loadtest.search import Grid, Search


@given(limit=st.integers(-30, 130), start=st.integers(-20, 120), stride=st.integers(1, 30), least=st.integers(-20, 0))
def test_it_ends_at_the_highest_place_that_keeps_the_bound(limit: int, start: int, stride: int, least: int) -> None:
    search, asked = Search(start, least, 120, stride), []
    while (place := search.next) is not None:
        asked.append(place)
        search.tell(place, kept=place <= limit)
    assert search.highest_kept == (None if limit < least else min(limit, 120))
    assert len(set(asked)) == len(asked), "nothing is asked twice"
    assert len(asked) <= 2 + 140 // stride + stride.bit_length()


@given(step=st.floats(0.01, 1), place=st.integers(-40, 200))
def test_a_rate_of_the_grid_is_found_again(step: float, place: int) -> None:
    grid = Grid(step)
    assert grid.at_most(grid.rate(place)) == place
    assert grid.at_most(grid.rate(place) * 1.001) == place
