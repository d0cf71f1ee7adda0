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
NO_SECOND = "only periods from the second counted one on tell of it, and there is none"
METRICS = ("auc", "logloss")


class AsServed:
    """Collects each period's predictions twice: as if the latest model had been there at once, and as answered."""

    def __init__(
        self,
        run: RunFolder,
        experiment: Experiment,
        stopped: dict[ArmAndSeed, str],
        counted_from: int,
        search: set[str],
    ) -> None:
        """Arms that `search` when they predict are not asked ahead."""
        self.run, self.stopped, self.search = run, stopped, search
        self.asked: set[str] = set()  # arms that were asked ahead
        self.rows: dict[int, tuple[int, int]] = {}  # of a period those answered late, and all
        self.singles = dict.fromkeys(experiment.yardsticks, experiment.seeds[0])
        self.samples = Samples(
            replicates=experiment.bootstrap,
            seeds=experiment.seeds,
            singles=self.singles | {_served(name): seed for name, seed in self.singles.items()},
            stopped=stopped | {(_served(arm), seed): why for (arm, seed), why in stopped.items()},
            counted_from=counted_from + 1,  # the model before the first lesson is in nobody's service
        )

    def add(self, pieces: list[Scored]) -> None:
        """Take in one period's predictions, made before it was learned."""
        pairs: list[Scored] = []
        for its in pieces:
            stale = read_stale(self.run, its.p.evaluated_on - 1, key_of((its.p.arm, its.p.seed)))
            if stale is None:
                continue
            self.asked.add(its.p.arm)
            if its.finite and np.isfinite(stale.probability).all():
                answered = Scored(_answered(its.p, stale), its.groups)
                pairs += [its, answered]
                self.rows[its.p.evaluated_on] = len(stale.row_id), len(its.p.row_id)
        self.samples.take(pairs)

    def results(self, everyone: Sequence[ArmAndSeed], last: int) -> Iterator[Result]:
        """Yield each metric as answered, that minus what it is at once, and the share of rows that it concerns."""
        for seed in self.samples.seeds_told:
            own_seed = seed in (self.samples.seeds[0], None)  # who has one seed is told once for all
            for arm in sorted({arm for arm, _ in everyone if own_seed or arm not in self.singles}):
                for metric, value in self._told(arm, seed):
                    yield Result(arm=arm, seed=seed, metric=metric, value=value, trained_through=last, holdout=False)

    def _told(self, arm: str, seed: int | None) -> Iterator[tuple[str, Value]]:
        if arm not in self.asked or not self.samples.samples:
            yield "auc_as_served", undefined(self._why_not(arm, seed))
            return
        for metric in METRICS:
            yield f"{metric}_as_served", self.samples.mean(metric, _served(arm), seed)
            yield f"{metric}_as_served_difference", self.samples.compare(metric, _served(arm), arm, seed)
        counted = [self.rows[period] for period in self.samples.defined.get("auc", ())]
        stale, rows = (sum(sizes[at] for sizes in counted) for at in (0, 1))
        yield "stale_share", Value(value=stale / rows, n=rows) if rows else undefined("no period counts")

    def _why_not(self, arm: str, seed: int | None) -> str:
        """Say why there is nothing of an arm."""
        seeds = self.samples.seeds if seed is None else [seed]
        why = [self.stopped[arm, each] for each in seeds if (arm, each) in self.stopped]
        if why:
            return why[0]
        return SEARCHES if arm in self.search else NO_SECOND


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
