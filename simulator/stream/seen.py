"""What was seen of a raw log while its rows went by: times and texts that may not mean what they seem to."""

from __future__ import annotations

import pyarrow as pa

TIMES = ("far", "dated", "without_zone")  # columns of a checked row: its time, if it is odd in this way
EXAMPLES = 100
USUAL = (  # what software writes where there is no value
    *("\\N", "NULL", "null", "Null", "nil", "None", "none", "NONE", "undefined", "(null)", "<null>", "[null]"),
    *("nan", "NaN", "NAN", "-nan", "NaT", "NA", "na", "N/A", "n/a", "#N/A", "<NA>", "-", "--", "?", "(none)"),
)


class Seen:
    """Counts rows whose time is odd in some way, and keeps the first of them."""

    def __init__(self) -> None:
        self.rows = 0
        self._counts = dict.fromkeys(TIMES, 0)
        self._examples: dict[str, list[str]] = {name: [] for name in TIMES}

    def add(self, rows: pa.Table) -> None:
        """Look at more rows, with a column for each of TIMES: the time where it is so, else null."""
        self.rows += rows.num_rows
        for name in TIMES:
            odd = rows.column(name)
            if count := len(odd) - odd.null_count:
                self._counts[name] += count
                if (room := EXAMPLES - len(self._examples[name])) > 0:
                    self._examples[name] += odd.drop_null().slice(0, room).to_pylist()

    def times(self, name: str) -> tuple[int, list[str]]:
        """How many times are so, and the first of them."""
        return self._counts[name], self._examples[name]
