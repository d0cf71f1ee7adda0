"""How much of what a bare arm lacks its knowledge wins back: (arm - bare) / (reference - bare).

The reference is the better of the arms without knowledge whose backbone has learned all of the log itself. Of
forgetting, less is better, and the same ratio says it. It is undefined unless the gap, reference - bare, is
separable from zero and the reference the better one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from simulator.measure.estimate import Estimate, ratio
from simulator.measure.tally import Floats
from simulator.measure.value import Value, undefined


@dataclass(frozen=True, kw_only=True)
class Gap:
    """Between a bare arm and its reference, by name; `reason` says why there is none to close."""

    bare: str
    reference: str
    reason: str | None = None


def gap_of(bare: str | None, learners: Sequence[str], auc: Mapping[str, float | None]) -> Gap:
    """Choose the reference among those who have learned all, by mean AUC."""
    if bare is None:
        return Gap(bare="", reference="", reason="no arm has the same backbone and policy without knowledge")
    measured = [(value, name) for name in learners if (value := auc.get(name)) is not None]
    if not measured:
        reason = "no arm without knowledge was measured whose backbone has learned all of the log"
        return Gap(bare=bare, reference="", reason=reason)
    reference = max(measured, key=lambda pair: pair[0])[1]
    itself = f"{bare} is itself the best arm without knowledge, so that there is no gap to close"
    return Gap(bare=bare, reference=reference, reason=itself if reference == bare else None)


def closed(gap: Gap, samples: Iterable[Floats | Value], n: int, *, larger_is_better: bool) -> Value:
    """Measure the share of a gap that an arm closes.

    Samples [S, 1 + R], or why there are none, are of the arm, its bare arm and its reference.
    """
    if gap.reason is not None:
        return undefined(gap.reason)
    arm, bare, reference = samples
    if isinstance(arm, Value) or isinstance(bare, Value) or isinstance(reference, Value):
        return next(each for each in (arm, bare, reference) if isinstance(each, Value))
    whole = reference - bare if larger_is_better else bare - reference
    width = Estimate.over_seeds(whole, n).interval()
    if width.low is None or width.low <= 0:
        bounds = "no interval" if width.low is None else f"95 % interval {width.low:.4f} to {width.high:.4f}"
        missing = f"{gap.reference} is ahead of {gap.bare} by {width.value:.4f} ({bounds})"
        return undefined(f"{missing}, which is not above 0 beyond chance: there is no gap to close", n)
    return ratio(arm - bare if larger_is_better else bare - arm, whole, n)
