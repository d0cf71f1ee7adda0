"""A table of results, asked for the numbers that a reader wants to see."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from simulator.measure.results import about
from simulator.measure.value import Value, undefined
from simulator.record.predictions import BEST_ATTAINABLE

Row = dict[str, Any]  # columns as simulator.measure.results.RESULTS


class Numbers:
    """Results over all seeds (and averaged over periods where a figure is of the whole run)."""

    def __init__(self, table: pa.Table) -> None:
        what = about(table)
        self.data, self.counted_from, self.tuned_on = what.data, what.counted_from, what.tuned_on
        self._rows: dict[tuple[str, str, str], list[Row]] = {}  # by metric, arm and slice
        for row in table.to_pylist():
            self._rows.setdefault((row["metric"], row["arm"], row["slice"]), []).append(row)
        self._everyone = sorted({arm for _, arm, _ in self._rows})
        self.yardsticks = [name for name in what.yardsticks if name in self._everyone]
        self.arms = [arm for arm in self._everyone if arm not in (BEST_ATTAINABLE, *self.yardsticks)]
        self.has_best_attainable = BEST_ATTAINABLE in self._everyone
        whole = [row for arm in self.arms for row in self.rows("auc_prequential", arm)]
        self.run = str(whole[0]["run"]) if whole else ""
        self.seeds = sorted({row["seed"] for row in whole})
        self.has_holdouts = bool(self.rows("auc", holdout=True))  # not under the protocol `split`
        self.headline = "mean prequential AUC" if self.has_holdouts else "AUC on the test period"

    @property
    def ranked(self) -> list[str]:
        """Rank arms from the best mean prequential AUC down; arms without one come last."""
        value = {arm: self.mean("auc_prequential", arm).value for arm in self.arms}
        return sorted(self.arms, key=lambda arm: (value[arm] is None, -(value[arm] or 0.0), arm))

    @property
    def periods(self) -> list[int]:
        return sorted({row["evaluated_on"] for row in self.rows("auc", holdout=False)})

    @property
    def counted(self) -> list[int]:
        """List the periods that stand in means: those predicted after something had been learned."""
        return [period for period in self.periods if period >= self.counted_from]

    def rows(self, metric: str, arm: str | None = None, *, slice: str = "all", **where: Any) -> list[Row]:
        """Find rows of single seeds of a metric, of one arm or of all, whose columns have these values."""
        return [row for row in self._matching(metric, arm, slice, where) if row["seed"] is not None]

    def mean(self, metric: str, arm: str, *, slice: str = "all", **where: Any) -> Value:
        """Average over seeds: as evaluated, else over all rows that match (of periods where `where` names none).

        Bounds are averaged too.
        """
        found = self._matching(metric, arm, slice, where)
        return average([row for row in found if row["seed"] is None] or found)

    def _matching(self, metric: str, arm: str | None, slice: str, where: dict[str, Any]) -> list[Row]:
        arms = self._everyone if arm is None else [arm]
        found = [row for each in arms for row in self._rows.get((metric, each, slice), [])]
        return [row for row in found if where.items() <= row.items()]

    def prequential(self, metric: str, arm: str, *, slice: str = "all") -> Value:
        """Average over the periods that count, predicted before they were learned; none if one of them is missing."""
        whole = self.mean("logloss_prequential", arm)  # which is defined where the rows are of one class too
        if whole.value is None and self.rows("logloss_prequential", arm):
            return whole
        rows = self.rows(metric, arm, slice=slice, holdout=False)
        return average([row for row in rows if row["evaluated_on"] >= self.counted_from])

    def prequential_rows(self, slice: str) -> int:
        """Count rows of a slice in all periods that count."""
        sizes: dict[int, int] = {}
        for row in self.rows("logloss", slice=slice, holdout=False):
            sizes[row["evaluated_on"]] = max(row["n"], sizes.get(row["evaluated_on"], 0))
        return sum(size for period, size in sizes.items() if period >= self.counted_from)

    def total(self, metric: str, arm: str) -> float:
        """Sum over periods, of one seed on average."""
        rows = self.rows(metric, arm)
        return sum(row["value"] or 0.0 for row in rows) / max(1, len({row["seed"] for row in rows}))

    def at_end(self, metric: str, arm: str) -> float | None:
        """Read a metric with a row a period as of the last one."""
        rows = self.rows(metric, arm)
        last = max((row["trained_through"] for row in rows), default=None)
        return self.mean(metric, arm, trained_through=last).value

    def rows_per_cpu_second(self, arm: str) -> float | None:
        """Divide learned rows by CPU seconds of training, of the whole run."""
        rows = self.rows("train_cpu_seconds", arm)
        seconds = sum(row["value"] or 0.0 for row in rows)
        return sum(row["n"] for row in rows) / seconds if seconds else None

    def reference(self, arm: str) -> str | None:
        """Name the arm of the same backbone and policy without knowledge, of an arm with knowledge."""
        return next((row["of"] for row in self.rows("rel_impr_auc", arm)), None)

    def gap_closed(self, arm: str, of: str = "auc_prequential") -> Value:
        """Look up how much of its gap an arm with knowledge closes over the whole run, of AUC or of forgetting."""
        return self.mean(f"{of}_gap_closed", arm, evaluated_on=None)

    def has_gaps(self, of: str) -> bool:
        """Tell whether any arm has a gap to close."""
        return any(self.gap_closed(arm, of).value is not None for arm in self.arms)

    def goal(self, arm: str) -> str | None:
        """Name the best arm without knowledge, whose lead over the bare arm is the gap of one with knowledge."""
        return next((row["of"] for row in self._matching("auc_prequential_gap_closed", arm, "all", {})), None)

    def baseline(self, arm: str) -> str | None:
        """Name what an arm is tested against."""
        return next((row["of"] for row in self._matching("p_value_holm", arm, "all", {})), None)

    def slices(self, prefix: str) -> list[str]:
        """List slices whose names begin so: by activity from the tail to the head, by scenario the largest first."""
        found = {slice for metric, _, slice in self._rows if metric == "logloss" and slice.startswith(prefix)}
        if prefix == "scenario=":
            return sorted(found, key=lambda slice: (-self.prequential_rows(slice), slice))
        return sorted(found, key=lambda slice: int(slice.split("_")[1]))

    def rates(self, arm: str | None = None) -> list[float]:
        """List the rates of requests that were offered, requests/s."""
        slices = {where for metric, each, where in self._rows if metric == "latency_p50_ms" and arm in (None, each)}
        return sorted(float(slice.removeprefix("rate=")) for slice in slices)

    def latency(self, metric: str, arm: str, rate: float) -> Value:
        return self.mean(metric, arm, slice=f"rate={rate:g}")

    def stopped(self) -> list[tuple[str, int, str]]:
        """List arm, seed and reason of every contender that was stopped."""
        return [
            (row["arm"], row["seed"], row["reason"].removeprefix("stopped: "))
            for row in self.rows("auc_prequential")
            if (row["reason"] or "").startswith("stopped: ")
        ]


def average(rows: Sequence[Row]) -> Value:
    """Average the defined values; bounds only where every one of them has bounds."""
    defined = [row for row in rows if row["value"] is not None]
    if not defined:
        return undefined(next((row["reason"] for row in rows), None) or "not measured")

    def of(column: str) -> float | None:
        values = [row[column] for row in defined]
        return None if None in values else sum(values) / len(values)

    return Value(value=of("value"), low=of("low"), high=of("high"), n=sum(row["n"] for row in defined))
