"""What a server counts and times, as Prometheus reads it."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest

from simulator.serve.versions import Version, Versions

STAGES = ("parse", "vocabulary", "retrieval", "knowledge", "backbone")
SECONDS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0)


class Watched:
    """The metrics of one server; a registry of its own, whatever else the process counts."""

    def __init__(self, versions: Versions) -> None:
        self.registry = CollectorRegistry()
        self._requests = Counter("score_requests", "Requests to /v1/score that were answered.", registry=self.registry)
        self._errors = Counter(
            "score_errors", "Requests to /v1/score that were not, by status.", ["kind"], registry=self.registry
        )
        stages = Histogram(
            "score_stage_seconds", "Latency by stage.", ["stage"], buckets=SECONDS, registry=self.registry
        )
        self._stages = {stage: stages.labels(stage) for stage in STAGES}
        self._all = Histogram("score_seconds", "Latency of whole requests.", buckets=SECONDS, registry=self.registry)
        self._candidates = Counter("score_candidates", "Candidates that were scored.", registry=self.registry)
        self._values = Counter("score_values", "Values that have ids.", registry=self.registry)
        self._unknown = Counter("score_unknown_values", "Those that the model does not know.", registry=self.registry)

        def gauge(name: str, what: str, read: Callable[[], float]) -> None:
            Gauge(name, what, registry=self.registry).set_function(read)

        def of_current(read: Callable[[Version], float]) -> Callable[[], float]:
            return lambda: -1.0 if versions.current is None else read(versions.current)

        gauge("model_version", "Number of the version that is served.", of_current(lambda v: v.number))
        gauge("model_period", "Last period that it has learned.", of_current(lambda v: v.period))
        gauge("model_knowledge", "Last period in its knowledge base.", of_current(lambda v: _or_less(v.knowledge)))
        gauge("model_staleness_seconds", "Since its commit.", of_current(lambda v: time.time() - v.committed))
        gauge("model_behind_periods", "Those that the run has committed since.", lambda: versions.behind)
        gauge("model_gap_seconds", "From its commit until it was served.", of_current(lambda v: v.since - v.committed))
        gauge("model_load_seconds", "To load it.", of_current(lambda v: v.load_seconds))
        gauge("model_difference", "Largest one to a stored probability.", of_current(lambda v: v.difference))
        gauge("model_swaps", "Versions that were served.", lambda: versions.swaps)
        gauge("model_refused", "Versions that failed their check.", lambda: versions.refused)
        ProcessCollector(registry=self.registry)  # memory, where two versions are held, and seconds of the processor

    def answered(self, stages: Mapping[str, float], candidates: int, values: int, unknown: int) -> None:
        """Count a request."""
        for stage, seconds in stages.items():
            self._stages[stage].observe(seconds)
        self._all.observe(sum(stages.values()))
        self._requests.inc()
        self._candidates.inc(candidates)
        self._values.inc(values)
        self._unknown.inc(unknown)

    def failed(self, kind: str) -> None:
        """Count a request that was not answered."""
        self._errors.labels(kind).inc()

    def text(self) -> bytes:
        return generate_latest(self.registry)


def _or_less(number: int | None) -> float:
    return -1.0 if number is None else float(number)
