"""What arms cost: training time, bytes, and latency under load."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from statistics import median

from simulator.measure.results import Result
from simulator.measure.value import Value, undefined
from simulator.record.costs import ArmCosts, PeriodCosts, StageCosts
from simulator.record.experiment import ArmAndSeed
from simulator.record.serving import Check, Measured, Serving

NOTHING = StageCosts(seconds=0.0, cpu_seconds=0.0, rows=0)

SERVED = (  # metrics of a load test
    *("latency_p50_ms", "latency_p95_ms", "latency_p99_ms"),
    *("serving_errors", "max_qps_at_slo", "served_max_difference"),
)


def cost_results(period: PeriodCosts) -> Iterator[Result]:
    """Yield what one period cost each arm; a stage that did not happen took no time.

    `train_seconds` is learning and compressing, with the search for neighbours where compression alone reads
    them; `train_rows_per_second` is learned rows over it, so an arm pays there for its knowledge base too.
    Of each there is a twin in CPU seconds (`train_cpu_seconds`, `train_rows_per_cpu_second`), which is what arms
    are compared by. Bytes are as of the period's end; `scenario_parameters` and `scenario_bytes` are of one scenario,
    and their `n` counts those with weights of their own.
    """
    for arm in period.arms:
        for metric, value in _values(arm).items():
            yield Result(
                arm=arm.arm,
                seed=arm.seed,
                metric=metric,
                value=value,
                trained_through=period.period,
                evaluated_on=None,
            )


def _values(arm: ArmCosts) -> dict[str, Value]:
    """The metrics of one arm in one period, by name."""
    predict, retrieve, compress, learn = (
        arm.stages.get(name, NOTHING) for name in ("predict", "retrieve", "compress", "learn")
    )
    searched = NOTHING if arm.reads else retrieve  # what it searched served compression alone
    trained = learn.seconds + compress.seconds + searched.seconds
    trained_cpu = learn.cpu_seconds + compress.cpu_seconds + searched.cpu_seconds

    def of_stages(value: float, n: int) -> Value:
        return Value(value=value, n=n) if arm.stages or not arm.stopped else undefined(f"stopped: {arm.stopped}")

    def speed(seconds: float) -> Value:
        if learn.rows and seconds:
            return of_stages(learn.rows / seconds, learn.rows)
        return undefined(f"stopped: {arm.stopped}" if arm.stopped else "learned nothing in this period")

    values = {
        "train_seconds": of_stages(trained, learn.rows),
        "train_cpu_seconds": of_stages(trained_cpu, learn.rows),
        "train_rows_per_second": speed(trained),
        "train_rows_per_cpu_second": speed(trained_cpu),
        "compress_seconds": of_stages(compress.seconds, compress.rows),
        "compress_cpu_seconds": of_stages(compress.cpu_seconds, compress.rows),
        "retrieve_seconds": of_stages(retrieve.seconds, retrieve.rows),
        "retrieve_cpu_seconds": of_stages(retrieve.cpu_seconds, retrieve.rows),
        "predict_seconds": of_stages(predict.seconds, predict.rows),
        "predict_cpu_seconds": of_stages(predict.cpu_seconds, predict.rows),
        "knowledge_bytes": Value(value=float(arm.knowledge_bytes), n=1),
        "index_bytes": Value(value=float(arm.memory_bytes.get("index", 0)), n=1),
        "memory_bytes": Value(value=float(sum(arm.memory_bytes.values())), n=len(arm.memory_bytes)),
        "checkpoint_bytes": Value(value=float(arm.checkpoint_bytes), n=1),
    }
    if arm.of_scenario is not None:
        values["scenario_parameters"] = Value(value=float(arm.of_scenario.parameters), n=arm.of_scenario.scenarios)
        values["scenario_bytes"] = Value(value=float(arm.of_scenario.bytes), n=arm.of_scenario.scenarios)
    recalls = [(build.recall, build.rows) for build in arm.dense_builds if build.recall is not None]
    if recalls:
        rows = sum(n for _, n in recalls)
        values["dense_recall"] = Value(value=sum(recall * n for recall, n in recalls) / rows, n=rows)
    return values | {name: Value(value=noted, n=1) for name, noted in arm.notes.items()}


def serving_results(serving: Serving, last: int) -> Iterator[Result]:
    """Yield latency at each offered rate (slice `rate=50`; median over repeats), throughput, served scores."""

    def result(who: ArmAndSeed, metric: str, value: Value, slice: str = "all") -> Result:
        return Result(arm=who[0], seed=who[1], metric=metric, value=value, trained_through=last, slice=slice)

    measured = sorted(serving.measured, key=lambda load: (*load.who, load.rate))
    for who, loads in groupby(measured, key=lambda load: load.who):
        within_slo = []
        for rate, same_rate in groupby(loads, key=lambda load: load.rate):
            repeats, where = list(same_rate), f"rate={rate:g}"
            completed, failed = sum(r.completed for r in repeats), sum(r.errors for r in repeats)
            for metric, times in _latencies(repeats).items():
                yield result(who, metric, _median(times, completed), where)
            sent = sum(r.sent for r in repeats)
            yield result(who, "serving_errors", Value(value=float(failed), n=sent), where)
            p99 = _median(_latencies(repeats)["latency_p99_ms"], completed).value
            if not failed and p99 is not None and p99 <= serving.slo_ms:
                within_slo.append(rate)
        value = (
            Value(value=float(max(within_slo)), n=1)
            if within_slo
            else undefined(f"at every offered rate p99 exceeded {serving.slo_ms:g} ms or requests failed")
        )
        yield result(who, "max_qps_at_slo", value)
    for check in serving.checks:
        yield result(check.who, "served_max_difference", _difference(check))


def _latencies(repeats: list[Measured]) -> dict[str, list[float | None]]:
    return {
        "latency_p50_ms": [r.p50_ms for r in repeats],
        "latency_p95_ms": [r.p95_ms for r in repeats],
        "latency_p99_ms": [r.p99_ms for r in repeats],
    }


def _median(times: list[float | None], completed: int) -> Value:
    defined = [time for time in times if time is not None]
    return Value(value=float(median(defined)), n=completed) if defined else undefined("no request was answered")


def _difference(check: Check) -> Value:
    if check.max_difference is None:
        return undefined("a served probability is not finite", check.rows)
    return Value(value=check.max_difference, n=check.rows)
