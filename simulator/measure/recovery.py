"""After how many periods a model that started afresh is level with the same arm's that did not.

What learns period k starts from nothing, so that k + 1 is the first period that it predicts. There and in each later
period its AUC is held against that of its twin, the same arm without restarts, row by row, with a 95 % interval over
users and, of several seeds, over users and seeds together. It is *behind* where that interval lies below zero.

It is level from the first period on after which it is behind in none, up to the last that it predicts: the next
restart's, or the last of all. One period in which it is not behind does not make it level, as the interval of a small
or noisy period holds zero whatever has been learned. The price of this: a model that is level in truth comes out behind
in one period of 40, so that over many periods recovery is told too late rather than too early.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product

from simulator.measure.opponents import twins
from simulator.measure.prequential import Prequential
from simulator.measure.results import Result
from simulator.measure.value import Value, undefined
from simulator.record.experiment import Experiment


def recovery_periods(gaps: Sequence[Value]) -> Value:
    """Count the periods after which a model is level; `n` is the number of periods that show it.

    `gaps` are its AUC minus its twin's in each period that it has predicted, the first one first. Those without an
    interval, such as a period of one class, show nothing.
    """
    if not gaps:
        return undefined("the run ends before the model that started afresh has predicted anything")
    shown = [place for place, gap in enumerate(gaps) if gap.low is not None]
    if not shown:
        return undefined(gaps[0].reason or "no difference has an interval: measure.bootstrap is too small")
    behind = [place for place in shown if _behind(gaps[place])]
    level = [place for place in shown if place > max(behind, default=-1)]
    if not level:
        return undefined(f"still behind in the last of {len(gaps)} periods that it predicts")
    return Value(value=float(level[0]), n=len(level))


def recovery_results(experiment: Experiment, prequential: Prequential, last: int) -> Iterator[Result]:
    """Yield, of each restart, the difference to the twin in every period after it, and the periods until it is level.

    `last` is the last period that was predicted.
    """
    seeds: list[int | None] = [*experiment.seeds, *([None] if len(experiment.seeds) > 1 else [])]
    for arm, twin in twins(experiment).items():
        starts = experiment.arms[arm].restart_at
        for start, end in zip(starts, [*starts[1:], last], strict=True):
            periods = range(start + 1, min(end, last) + 1)
            for seed in seeds:
                if twin is None:
                    recovered = undefined("no arm is the same but for restart_at")
                else:
                    gaps = [prequential.difference_in(period, arm, twin, seed) for period in periods]
                    for period, gap in zip(periods, gaps, strict=True):
                        yield _result(arm, twin, seed, "restart_auc_difference", gap, period - 1, period)
                    played = product((arm, twin), experiment.seeds if seed is None else [seed])
                    stopped = next((prequential.stopped[who] for who in played if who in prequential.stopped), None)
                    recovered = recovery_periods(gaps) if stopped is None else undefined(stopped)
                yield _result(arm, twin, seed, "recovery_periods", recovered, last, start)


def _behind(gap: Value) -> bool:
    return gap.high is not None and gap.high < 0


def _result(arm: str, twin: str | None, seed: int | None, metric: str, value: Value, through: int, on: int) -> Result:
    return Result(
        arm=arm,
        seed=seed,
        metric=metric,
        of=twin,
        value=value,
        trained_through=through,
        evaluated_on=on,
        holdout=False,
    )
