"""Ratings as clicks: what the sources of rated items share."""

from __future__ import annotations

from simulator.stream.raw import quoted

CLICKED = 4  # a rating of so many stars or more, of 5, is a click


def label(rating: str) -> str:
    return f"TRY_CAST({rating} AS DOUBLE) >= {CLICKED}"


def defect(rating: str) -> str:
    """What is wrong with a rating, null if it is a number between 0 and 5."""
    return f"""CASE WHEN NOT coalesce(TRY_CAST({rating} AS DOUBLE) BETWEEN 0 AND 5, false)
        THEN 'rating ' || {quoted(rating)} || ' is not between 0 and 5' END"""
