"""Writes a small run folder in the format that a real run leaves, with numbers made up from a seed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from simulator.record.costs import ArmCosts, PeriodFacts, ScenarioCosts, StageCosts, write_arm_costs, write_period_facts
from simulator.record.experiment import Arm, ArmAndSeed, Experiment, key_of, write_experiment
from simulator.record.files import write_parquet, write_text
from simulator.record.layout import RunFolder
from simulator.record.predictions import BEST_ATTAINABLE, PREDICTIONS
from simulator.record.serving import Check, Measured, Serving, write_serving
from simulator.record.typed_json import write_json


def an_arm(**its: Any) -> Arm:
    """An arm of which this is known; in all else a fine-tuned DeepFM without knowledge."""
    usual: dict[str, Any] = {
        "backbone": "deepfm",
        "policy": "finetune",
        "knowledge": None,
        "plug": "fields",
        "layer": 1,
        "width": None,
        "epochs": None,
        "options": {},
        "control": None,
        "base_is_control": False,
        "remedies": {},
    }
    return Arm(**(usual | its))


def an_experiment(arms: dict[str, Arm], **its: Any) -> Experiment:
    """An experiment with these arms, of which this is known."""
    usual: dict[str, Any] = {
        "name": "fake",
        "data": "data",
        "seeds": [0],
        "yardsticks": [],
        "protocol": "stream",
        "holdout_share": 0.1,
        "utc_offset_hours": 0,
        "bootstrap": 60,
    }
    return Experiment(arms=arms, **(usual | its))


ARMS = {
    "frozen": an_arm(policy="frozen"),
    "finetune": an_arm(),
    "retrain_all": an_arm(policy="retrain_all"),
    "finetune_edk": an_arm(knowledge="edk"),
}
NOISE = {"frozen": 1.4, "finetune": 0.9, "retrain_all": 0.75, "finetune_edk": 0.8}


@dataclass(frozen=True, kw_only=True)
class FakeRun:
    """What to write; `write` says where."""

    periods: int = 4
    rows: int = 400
    users: int = 40
    click_rate: float = 0.2
    seeds: list[int] = field(default_factory=lambda: [0])
    noise: dict[str, float] = field(default_factory=lambda: dict(NOISE))  # of each arm's logit
    forgetting: float = 0.15  # more noise for each period since a holdout's own
    requests: bool = True
    scenarios: bool = True
    away: dict[int, set[int]] = field(default_factory=dict)  # of a scenario, the periods without rows of it
    p_true: bool = True
    one_class: int | None = None  # a period without clicks
    stopped: dict[str, int] = field(default_factory=dict)  # arm: the period in which it diverges
    served: bool = True
    data: str = "eleme-synthetic"
    notes: dict[str, dict[str, float]] = field(default_factory=dict)  # of an arm's knowledge base, in every period
    behind: dict[str, int] = field(default_factory=dict)  # arm: the last period that it has come to
    its: dict[str, Arm] = field(default_factory=dict)  # arms that are not as in ARMS
    yardsticks: dict[str, float] = field(default_factory=dict)  # the noise of each one's logit
    random_labels: bool = False  # that have nothing to do with what anybody predicts
    too_sure: dict[str, float] = field(default_factory=dict)  # factor of an arm's logit, whose ranking stays
    label_delay: int = 0  # periods until labels come, so that so many first lessons are empty
    worse: dict[str, dict[int, float]] = field(default_factory=dict)  # arm: more noise of its logit, by period
    split: bool = False  # the papers' protocol: only the last period is predicted, and nothing is held out

    @property
    def experiment(self) -> Experiment:
        arms = {name: self.its.get(name) or ARMS.get(name, an_arm()) for name in self.noise}
        its = {"data": self.data, "seeds": self.seeds, "yardsticks": [*self.yardsticks]}
        return an_experiment(arms, protocol="split" if self.split else "stream", **its)

    def write(self, folder: Path) -> RunFolder:
        """Write the run to this folder."""
        run = RunFolder(folder)
        periods = [_Rows(self, index) for index in range(self.periods)]
        for j, rows in enumerate(periods):
            for who in self._playing(j):
                _write(run, j, who, self._predictions(periods, j, who))
                write_arm_costs(run, j, self._costs(rows, who))
                run.contender(key_of(who)).mkdir(parents=True, exist_ok=True)
                write_text(run.committed_file(key_of(who)), str(j))
            write_period_facts(run, rows.facts())
            if self.p_true and self._predicts(j):
                best = (BEST_ATTAINABLE, 0)
                _write(run, j, best, [rows.table(best, j - 1, rows.p_true)])
        if self.served:
            write_serving(run, self._serving())
        write_json(run.environment, {"data": self.data, "python": "3.11", "cpus": 2})
        write_experiment(run, self.experiment)
        policies = "\n".join(f"  {name}: {{policy: {its.policy}}}" for name, its in self.experiment.arms.items())
        write_text(run.config, f"name: fake\narms:\n{policies}\n")
        return run

    def _active(self, arm: str, period: int) -> bool:
        return period < self.stopped.get(arm, self.periods)

    def _playing(self, period: int) -> list[ArmAndSeed]:
        everyone = self.experiment.everyone
        return [(arm, seed) for arm, seed in everyone if period <= self.behind.get(arm, self.periods)]

    def _predicts(self, period: int) -> bool:
        return not self.split or period == self.periods - 1

    def _predictions(self, periods: list[_Rows], j: int, who: ArmAndSeed) -> Iterator[pa.Table]:
        rows, (arm, _) = periods[j], who
        if not self._predicts(j) or not self._active(arm, j - 1):
            return
        prequential = rows.predicted(who, j - 1)
        yield prequential
        if self.split:
            return
        yield rows.held_out(prequential)
        if j > 0:
            yield rows.held_out(rows.predicted(who, -1))
        if self._active(arm, j):
            yield from (past.held_out(past.predicted(who, j)) for past in periods[: j + 1])

    def _costs(self, rows: _Rows, who: ArmAndSeed) -> ArmCosts:
        arm, seed = who
        stop = self.stopped.get(arm)
        stages = {
            "predict": _stage(0.5, self.rows),
            "learn": _stage(2.0 + (arm == "retrain_all") * rows.index, self.rows * (rows.index >= self.label_delay)),
            "measure": _stage(0.1, self.rows // 10),
        }
        if arm == "finetune_edk" and rows.index > 0:
            stages["compress"] = _stage(3.0, self.rows)
        if arm == "frozen" and rows.index > 0:
            del stages["learn"]
        return ArmCosts(
            arm=arm,
            seed=seed,
            stopped=f"loss was nan learning period {stop}, step 12"
            if stop is not None and rows.index >= stop
            else None,
            reads=[],
            stages={} if stop is not None and rows.index > stop else stages,
            knowledge_bytes=2_500_000 if arm == "finetune_edk" else 0,
            memory_bytes={"model": 4_000_000, "optimiser": 4_000_000, "policy": 500_000 * (arm == "replay")},
            checkpoint_bytes=9_000_000,
            dense_builds=[],
            lesson=None,
            of_scenario=ScenarioCosts(scenarios=3, parameters=1_016, bytes=12_340) if self.scenarios else None,
            notes=self.notes.get(arm, {}),
            gap_seconds=0.1,
            wall_seconds=9.0,
        )

    def _serving(self) -> Serving:
        alive = [(arm, seed) for arm in self.noise for seed in self.seeds if arm not in self.stopped]
        measured = [
            Measured(
                arm=arm,
                seed=seed,
                rate=rate,
                repeat=repeat,
                sent=int(rate * 5),
                completed=int(rate * 5) - (rate > 200),
                errors=int(rate > 200),
                errors_by_kind={"timeout": 1} if rate > 200 else {},
                p50_ms=5.0 + rate / 50 + 4 * (arm == "finetune_edk"),
                p95_ms=9.0 + rate / 20 + 5 * (arm == "finetune_edk"),
                p99_ms=12.0 + rate / 5 + 6 * (arm == "finetune_edk") + repeat,
                sender_lag_p99_ms=0.1,
            )
            for arm, seed in alive
            for rate in (20.0, 50.0, 100.0, 250.0)
            for repeat in range(2)
        ]
        checks = [Check(arm=arm, seed=seed, rows=100, max_difference=3e-8, share_beyond=0.0) for arm, seed in alive]
        return Serving(measured=measured, checks=checks, candidates=50, slo_ms=30.0, timeout_s=5.0, seconds=5.0)


def _write(run: RunFolder, period: int, who: ArmAndSeed, pieces: Iterable[pa.Table]) -> None:
    file = run.predictions(period, key_of(who))
    file.parent.mkdir(parents=True, exist_ok=True)
    write_parquet(file, pa.concat_tables([PREDICTIONS.empty_table(), *pieces]).unify_dictionaries())


def _stage(seconds: float, rows: int) -> StageCosts:
    return StageCosts(seconds=seconds, cpu_seconds=0.5 * seconds, rows=rows)


class _Rows:
    """One period's rows and every model's predictions for them."""

    def __init__(self, run: FakeRun, index: int) -> None:
        self.run, self.index = run, index
        rng = np.random.default_rng([7, index])
        n = run.rows
        self.row_id = np.arange(index * n, (index + 1) * n)
        self.user = (run.users * rng.random(n) ** 1.5).astype(np.int32) + 3
        self.request = self.row_id // 4
        center = np.log(run.click_rate / (1 - run.click_rate)) - 0.5
        self.logit = center + rng.normal(0, 1.1, n) + 0.3 * np.sin(self.user)
        self.p_true = 1 / (1 + np.exp(-self.logit))
        self.label = (rng.random(n) < (run.click_rate if run.random_labels else self.p_true)).astype(np.int8)
        if run.one_class == index:
            self.label[:] = 0
        self.new_user = rng.random(n) < 0.8**index
        self.new_item = rng.random(n) < 0.6**index
        self.holdout = rng.random(n) < 0.25
        self.activity = np.where(self.new_user, 0, rng.integers(1, 500, n)).astype(np.int32)
        self.scenario = rng.integers(100, 103, n).astype(np.int32)
        for scenario, periods in run.away.items():
            if index in periods:
                self.scenario[self.scenario == scenario] = 100

    def facts(self) -> PeriodFacts:
        return PeriodFacts(
            period=self.index,
            start=1_640_995_200 + 86_400 * self.index,
            end=1_640_995_200 + 86_400 * (self.index + 1),
            rows=self.run.rows,
            positives=int(self.label.sum()),
            new_user_share=float(self.new_user.mean()),
            new_item_share=float(self.new_item.mean()),
        )

    def predicted(self, who: ArmAndSeed, through: int) -> pa.Table:
        arm, seed = who
        noises = {**self.run.noise, **self.run.yardsticks}
        rng = np.random.default_rng([11, list(noises).index(arm), seed, self.index])
        own, since = rng.normal(size=(2, len(self.logit)))
        if through < self.run.label_delay:
            return self.table(who, through, 1 / (1 + np.exp(2 + 0.3 * since)))
        learned = 0.15 if through >= self.index else 0.0
        noise = noises[arm] - learned + self.run.worse.get(arm, {}).get(self.index, 0.0)
        distance = abs(through - self.index) * self.run.forgetting
        logit = self.run.too_sure.get(arm, 1.0) * (self.logit + noise * own + distance * since)
        return self.table(who, through, 1 / (1 + np.exp(-logit)))

    def table(self, who: ArmAndSeed, through: int, probability: np.ndarray) -> pa.Table:
        n, (arm, seed) = len(self.row_id), who
        columns = {
            "row_id": self.row_id,
            "arm": pa.array([arm] * n).dictionary_encode(),
            "seed": np.full(n, seed, np.int32),
            "trained_through": np.full(n, through, np.int32),
            "evaluated_on": np.full(n, self.index, np.int32),
            "holdout": np.zeros(n, bool),
            "probability": probability.astype(np.float32),
            "label": self.label,
            "user": self.user,
            "request": self.request if self.run.requests else pa.nulls(n, pa.int64()),
            "new_user": self.new_user,
            "new_item": self.new_item,
            "activity": self.activity,
            "scenario": self.scenario if self.run.scenarios else pa.nulls(n, pa.int32()),
            "weight": pa.nulls(n, pa.float32()),
        }
        return pa.table([columns[name] for name in PREDICTIONS.names], schema=PREDICTIONS)

    def held_out(self, table: pa.Table) -> pa.Table:
        kept = table.filter(pa.array(self.holdout))
        at = PREDICTIONS.names.index("holdout")
        return kept.set_column(at, "holdout", pa.array(np.ones(kept.num_rows, bool)))
