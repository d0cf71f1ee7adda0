"""Which rows can be learned, and found, when: those outside holdouts whose labels have arrived.

A label arrives so long after its row was shown (`label_delay`). Where a positive's label has a time of its own
(`table.label_time`), nobody knows better until then than that the row is a negative. It is learned as one if it is due
before, and once more, as a positive, in the period in which its label arrives: the fake negatives of Ktena et al. 2019,
"Addressing delayed feedback for continuous training with neural networks in CTR prediction". A lesson holds a row once,
with the label that is known at the end of its last period.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch

from pkb.batch import Batch, concatenate
from simulator.stream.holdout import holdout_mask
from simulator.stream.log import Log, Period
from simulator.stream.protocol import holdout_share
from simulator.stream.settings import StreamSettings

NEVER = 2**62  # seconds


class Learnable:
    """The learnable rows of a log, by the periods in which their labels arrived."""

    def __init__(self, log: Log, stream: StreamSettings) -> None:
        self.log = log
        self.holdout_share = holdout_share(stream)
        self.delay = stream.label_delay_seconds or 0

    def shown_in(self, periods: range) -> tuple[int, int]:
        """Say when the rows were shown that are due in these periods: [since, until)."""
        log = self.log.periods
        since = log[periods[0]].start - self.delay if periods[0] else log[0].start
        return since, log[periods[-1]].end - self.delay

    def rows(self, periods: range, rows_of: Callable[[Period], Batch], *, again: bool = True) -> Batch:
        """Take the rows that are due in these periods, and `again` those due before whose labels came in them.

        `rows_of` gives all rows of a period.
        """
        since, until = self.shown_in(periods)
        earlier = self.log.periods[: periods[-1] + 1]
        start, end = earlier[periods[0]].start, earlier[-1].end
        late = (start, end) if again and self.log.schema.has_label_time else (NEVER, NEVER)
        due = [p for p in earlier if p.start < until and (p.end > since or late[0] < p.labels_until)] or earlier[:1]
        return concatenate([as_known(self._between(p, rows_of(p), since, until, late), end) for p in due])

    def _between(self, period: Period, rows: Batch, since: int, until: int, late: tuple[int, int]) -> Batch:
        """Take the rows that were shown in `[since, until)`, and those before whose labels came in `late`."""
        wanted = ~holdout_mask(rows, self.holdout_share)
        if not since <= period.start < period.end <= until:
            assert rows.ts is not None
            taken = (rows.ts >= since) & (rows.ts < until)
            if rows.label_ts is not None:
                taken |= (rows.ts < since) & (rows.label > 0) & (rows.label_ts >= late[0]) & (rows.label_ts < late[1])
            wanted &= taken
        return rows.select(wanted)


def as_known(rows: Batch, time: int) -> Batch:
    """The rows with the labels that are known at a time: what has not arrived is 0."""
    if rows.label_ts is None:
        return rows
    assert rows.ts is not None
    known = rows.label_ts < time
    return replace(
        rows,
        label=rows.label * known,
        label_ts=torch.where(known, rows.label_ts, rows.ts),
        further_labels={name: label * known for name, label in rows.further_labels.items()},
    )
