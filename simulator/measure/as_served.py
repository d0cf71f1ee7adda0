"""The quality of what is answered while models are in the making, beside that of models in service at once.

A period's model is in service only some time after the period's end (`measure.staleness`). Until then the one before
it answers; so the rows that come within that time are scored by what had not learned the latest period yet.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from pkb.errors import DataError
from simulator.measure.results import Result
from simulator.measure.samples import Samples
from simulator.measure.scored import Scored
from simulator.measure.value import Value, undefined
from simulator.record.experiment import ArmAndSeed, Experiment, key_of
from simulator.record.layout import RunFolder
from simulator.record.predictions import Predictions
from simulator.record.stale import Stale, read_stale

SEARCHES = "it searches older rows for every row that it scores, and was not asked ahead"
METRICS = ("auc", "logloss")


class AsServed:
    """Collects each period's predictions twice: as if the latest model had been there at once, and as answered."""

    def __init__(
        self, run: RunFolder, experiment: Experiment, stopped: dict[ArmAndSeed, str], counted_from: int
    ) -> None:
        self.run = run
        self.rows: dict[int, tuple[int, int]] = {}  # of a period those answered late, and all
        self.singles = dict.fromkeys(experiment.yardsticks, experiment.seeds[0])
        self.samples = Samples(
            replicates=experiment.bootstrap,
            seeds=experiment.seeds,
            singles=self.singles | {_served(name): seed for name, seed in self.singles.items()},
            stopped=stopped,
            counted_from=counted_from + 1,  # the model before the first lesson is in nobody's service
        )

    def add(self, pieces: list[Scored]) -> None:
        """Take in one period's predictions, made before it was learned."""
        pairs: list[Scored] = []
        for its in pieces:
            stale = read_stale(self.run, its.p.evaluated_on - 1, key_of((its.p.arm, its.p.seed)))
            if stale is not None and its.finite and np.isfinite(stale.probability).all():
                answered = Scored(_answered(its.p, stale), its.groups)
                pairs += [its, answered]
                self._count(answered.p, stale)
        self.samples.take(pairs)

    def _count(self, p: Predictions, stale: Stale) -> None:
        self.rows[p.evaluated_on] = len(stale.row_id), len(p.row_id)

    def results(self, everyone: Sequence[ArmAndSeed], last: int) -> Iterator[Result]:
        """Yield each metric as answered, what a model in service at once has on it, and the share of rows concerned."""
        for seed in self.samples.seeds_told:
            own_seed = seed in (self.samples.seeds[0], None)  # who has one seed is told once for all
            for arm in sorted({arm for arm, _ in everyone if own_seed or arm not in self.singles}):
                for metric, value in self._told(arm, seed):
                    yield Result(arm=arm, seed=seed, metric=metric, value=value, trained_through=last, holdout=False)

    def _told(self, arm: str, seed: int | None) -> Iterator[tuple[str, Value]]:
        asked = any(arm == name for name, _ in self.samples.samples.get("auc", {}))
        for metric in METRICS if asked else ():
            yield f"{metric}_as_served", self.samples.mean(metric, _served(arm), seed)
            yield f"{metric}_as_served_difference", self.samples.compare(metric, _served(arm), arm, seed)
        if asked:
            periods = sorted(self.samples.defined["auc"])
            stale, rows = (sum(self.rows[period][at] for period in periods) for at in (0, 1))
            yield "stale_share", Value(value=stale / rows, n=rows) if rows else undefined("no period counts")
        else:
            yield "auc_as_served", undefined(SEARCHES)


def _served(arm: str) -> str:
    """Name an arm's answers beside its predictions."""
    return f"{arm} as served"


def _answered(p: Predictions, stale: Stale) -> Predictions:
    """Put what was answered in the place of what the latest model would have said."""
    places = np.searchsorted(p.row_id, stale.row_id)
    if not np.array_equal(p.row_id[places.clip(max=len(p.row_id) - 1)], stale.row_id):
        raise DataError(
            f"predictions of period {p.evaluated_on}: {p.arm} (seed {p.seed}) was asked ahead for other rows; run again"
        )
    answered = p.probability.copy()
    answered[places] = stale.probability
    return replace(p, arm=_served(p.arm), probability=answered)
