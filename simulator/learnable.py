"""Which rows can be learned, and found, when: those outside holdouts whose labels have arrived."""

from __future__ import annotations

from collections.abc import Callable

from pkb.batch import Batch, concatenate
from simulator.neighbours import Finder
from simulator.plan import holdout_share, plan
from simulator.settings import Settings
from simulator.stream.holdout import holdout_mask
from simulator.stream.log import Log, Period


class Learnable:
    """The learnable rows of a log, by the periods in which their labels arrived."""

    def __init__(self, log: Log, settings: Settings) -> None:
        self.log, self.settings = log, settings
        self.share = holdout_share(settings)
        self.delay = settings.stream.label_delay_seconds or 0

    def shown_in(self, periods: range) -> tuple[int, int]:
        """When the rows were shown whose labels arrived in these periods: [since, until)."""
        log = self.log.periods
        since = log[periods[0]].start - self.delay if periods[0] else log[0].start
        return since, log[periods[-1]].end - self.delay

    def rows(self, periods: range, rows_of: Callable[[Period], Batch]) -> Batch:
        """The rows whose labels arrived in these periods; `rows_of` gives all rows of a period."""
        since, until = self.shown_in(periods)
        past = self.log.periods[: periods[-1] + 1]
        shown = [p for p in past if p.start < until and p.end > since] or past[:1]
        return concatenate([self._between(p, rows_of(p), since, until) for p in shown])

    def join_pool(self, finder: Finder, index: int, rows_of: Callable[[Period], Batch]) -> None:
        """Later rows may find those whose labels arrived in period number `index`."""
        if plan(self.settings, self.log.periods, index).joins_pool and finder.needed:
            at = range(index, index + 1)
            since, until = self.shown_in(at)
            finder.append(self.rows(at, rows_of), start=since, end=until)

    def _between(self, period: Period, rows: Batch, since: int, until: int) -> Batch:
        wanted = ~holdout_mask(rows, self.share)
        if not since <= period.start < period.end <= until:
            assert rows.ts is not None
            wanted &= (rows.ts >= since) & (rows.ts < until)
        return rows.select(wanted)
