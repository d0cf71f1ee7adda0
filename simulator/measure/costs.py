"""What arms cost: training time, bytes, and latency under load."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from statistics import median
from typing import Any

from simulator.measure.results import Result
from simulator.measure.value import Value, undefined

LATENCIES = ("latency_p50_ms", "latency_p95_ms", "latency_p99_ms")


def cost_results(period: dict[str, Any]) -> Iterator[Result]:
    """What one period cost each arm; a stage that did not happen took no time.

    `train_seconds` is learning and compressing, with the search for neighbours where compression alone reads
    them; `train_rows_per_second` is learned rows over it, so an arm pays there for its knowledge base too.
    Bytes are as of the period's end.
    """
    for arm in period["arms"]:
        stages, stopped = arm["stages"], arm["stopped"]

        def seconds(stage: str, stages: dict[str, Any] = stages) -> float:
            return float(stages.get(stage, {}).get("seconds", 0.0))

        def of_stages(value: float, n: int, stopped: str | None = stopped, stages: Any = stages) -> Value:
            return Value(value=value, n=n) if stages or not stopped else undefined(f"stopped: {stopped}")

        learned = int(stages.get("learn", {}).get("rows", 0))
        trained = seconds("learn") + seconds("compress")
        if not arm.get("searches"):  # what it searched served compression alone
            trained += seconds("retrieve")
        memory = arm.get("memory_bytes")  # by part; older runs did not note it
        values = {
            "train_seconds": of_stages(trained, learned),
            "train_rows_per_second": of_stages(learned / trained, learned)
            if learned and trained
            else undefined(f"stopped: {stopped}" if stopped else "learned nothing in this period"),
            "compress_seconds": of_stages(seconds("compress"), int(stages.get("compress", {}).get("rows", 0))),
            "retrieve_seconds": of_stages(seconds("retrieve"), int(stages.get("retrieve", {}).get("rows", 0))),
            "predict_seconds": of_stages(seconds("predict"), int(stages.get("predict", {}).get("rows", 0))),
            "knowledge_bytes": Value(value=float(arm["knowledge_bytes"]), n=1),
            "index_bytes": Value(value=float((memory or {}).get("index", 0)), n=1),
            "memory_bytes": Value(value=float(sum(memory.values())), n=len(memory))
            if memory is not None
            else undefined("not noted by this run"),
            "checkpoint_bytes": Value(value=float(arm["checkpoint_bytes"]), n=1),
        }
        if builds := [build for build in arm.get("dense_builds", []) if build["recall"] is not None]:
            rows = sum(build["rows"] for build in builds)
            recall = sum(build["recall"] * build["rows"] for build in builds) / rows
            values["dense_recall"] = Value(value=recall, n=rows)
        values |= {name: Value(value=noted, n=1) for name, noted in arm.get("notes", {}).items()}
        for metric, value in values.items():
            yield Result(
                arm=arm["arm"],
                seed=arm["seed"],
                metric=metric,
                value=value,
                trained_through=period["period"],
                evaluated_on=None,
            )


def serving_results(serving: dict[str, Any], last: int) -> Iterator[Result]:
    """Latency at each offered rate (slice `rate=50`; median over repeats), throughput, served scores."""

    def contender(entry: dict[str, Any]) -> tuple[str, int]:
        return entry["arm"], entry["seed"]

    def result(who: tuple[str, int], metric: str, value: Value, slice: str = "all") -> Result:
        return Result(arm=who[0], seed=who[1], metric=metric, value=value, trained_through=last, slice=slice)

    measured = sorted(serving["measured"], key=lambda entry: (*contender(entry), entry["rate"]))
    for who, entries in groupby(measured, key=contender):
        within_slo = []
        for rate, repeats in groupby(entries, key=lambda entry: entry["rate"]):
            runs = list(repeats)
            completed, failed = sum(r["completed"] for r in runs), sum(r["errors"] for r in runs)
            for metric in LATENCIES:
                values = [r[metric.removeprefix("latency_")] for r in runs]
                defined = [v for v in values if v is not None]
                value = (
                    Value(value=float(median(defined)), n=completed)
                    if defined
                    else undefined("no request was answered")
                )
                yield result(who, metric, value, f"rate={rate:g}")
            sent = sum(r["sent"] for r in runs)
            yield result(who, "serving_errors", Value(value=float(failed), n=sent), f"rate={rate:g}")
            if not failed and defined and median(defined) <= serving["slo_ms"]:
                within_slo.append(rate)
        value = (
            Value(value=float(max(within_slo)), n=1)
            if within_slo
            else undefined(f"at every offered rate p99 exceeded {serving['slo_ms']:g} ms or requests failed")
        )
        yield result(who, "max_qps_at_slo", value)
    for check in serving["checks"]:
        value = Value(value=float(check["max_difference"]), n=check["rows"])
        yield result(contender(check), "served_max_difference", value)
