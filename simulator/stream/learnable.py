"""Which rows can be learned, and found, when: those outside holdouts whose labels have arrived."""

from __future__ import annotations

from collections.abc import Callable

from pkb.batch import Batch, concatenate
from simulator.stream.holdout import holdout_mask
from simulator.stream.log import Log, Period
from simulator.stream.protocol import holdout_share
from simulator.stream.settings import StreamSettings


class Learnable:
    """The learnable rows of a log, by the periods in which their labels arrived."""

    def __init__(self, log: Log, stream: StreamSettings) -> None:
        self.log = log
        self.holdout_share = holdout_share(stream)
        self.delay = stream.label_delay_seconds or 0

    def shown_in(self, periods: range) -> tuple[int, int]:
        """Say when the rows were shown whose labels arrived in these periods: [since, until)."""
        log = self.log.periods
        since = log[periods[0]].start - self.delay if periods[0] else log[0].start
        return since, log[periods[-1]].end - self.delay

    def rows(self, periods: range, rows_of: Callable[[Period], Batch]) -> Batch:
        """Take the rows whose labels arrived in these periods; `rows_of` gives all rows of a period."""
        since, until = self.shown_in(periods)
        earlier = self.log.periods[: periods[-1] + 1]
        shown = [p for p in earlier if p.start < until and p.end > since] or earlier[:1]
        return concatenate([self._between(p, rows_of(p), since, until) for p in shown])

    def _between(self, period: Period, rows: Batch, since: int, until: int) -> Batch:
        wanted = ~holdout_mask(rows, self.holdout_share)
        if not since <= period.start < period.end <= until:
            assert rows.ts is not None
            wanted &= (rows.ts >= since) & (rows.ts < until)
        return rows.select(wanted)
