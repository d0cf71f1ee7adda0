"""A finding of the report, and when a difference is one."""

from __future__ import annotations

from dataclasses import dataclass

from simulator.measure.value import Value
from simulator.report.numbers import Numbers

VAGUE = 0.2  # width of an AUC's interval that holds chance and a good ranking at once
VAGUE_LOSS = 0.1  # width of forgetting's interval that holds none and as much as any arm has been seen to lose


@dataclass(frozen=True, kw_only=True)
class Finding:
    """`tone` is good, bad or plain: how the tag is coloured."""

    tag: str
    tone: str
    text: str


def separable(difference: Value) -> bool:
    """Tell whether the 95 % interval of a difference leaves zero out; without an interval nothing is."""
    if difference.low is None or difference.high is None:
        return False
    return difference.low > 0 or difference.high < 0


def vague(value: Value, width: float = VAGUE) -> bool:
    """Tell whether a number has no interval or one so wide that it says nothing, as of a few rows."""
    if value.low is None or value.high is None:
        return value.value is not None
    return value.high - value.low > width


def lead(numbers: Numbers, arm: str, other: str) -> Value:
    """Take the other's mean AUC from an arm's."""
    return numbers.mean("auc_prequential_difference", arm, of=other)


def beyond_chance(difference: Value, p_holm: Value) -> bool:
    """Judge by the test that is corrected for the number of arms; by the interval where there was no test."""
    return separable(difference) if p_holm.value is None else p_holm.value < 0.05


def told_apart(numbers: Numbers, one: str, other: str) -> bool:
    """Tell whether two arms differ beyond chance: by the corrected test if one is the other's baseline."""
    arm, of = (other, one) if numbers.baseline(other) == one else (one, other)
    return beyond_chance(lead(numbers, arm, of), numbers.mean("p_value_holm", arm, of=of))
