"""The share of a gap that knowledge closes: closed forms, what has none, and Fieller's interval."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from scipy.stats import norm

from simulator.measure.estimate import Estimate, ratio
from simulator.measure.evaluate import evaluate
from simulator.measure.gap import Gap, closed, gap_of
from simulator.measure.opponents import learners_of_all
from simulator.measure.value import undefined
from simulator.record.layout import RunFolder
from tests.simulator.measure.fake_run import FakeRun, an_arm, an_experiment
from tests.simulator.measure.test_evaluate import one, rows_of

Z = norm.ppf(0.975)
GAP = Gap(bare="window", reference="finetune")


def samples(point: float, spread: float = 0.001, seed: int = 0, seeds: int = 1) -> np.ndarray:
    """[S, 1 + 400] around a point."""
    noise = np.random.default_rng(seed).normal(0, spread, (seeds, 400))
    return np.concatenate([np.full((seeds, 1), point), point + noise], axis=1)


def test_more_of_what_is_good_and_less_of_what_is_bad_close_a_gap_alike() -> None:
    bare, reference = samples(0.54, seed=1), samples(0.61, seed=2)
    good = closed(GAP, (samples(0.575, seed=3), bare, reference), 9, larger_is_better=True)
    assert good.value == pytest.approx(0.5)
    bare, reference = samples(0.114, seed=1), samples(0.0025, seed=2)
    less = closed(GAP, (samples(0.019, seed=3), bare, reference), 9, larger_is_better=False)
    assert less.value == pytest.approx((0.114 - 0.019) / (0.114 - 0.0025))
    worse = closed(GAP, (samples(0.15, seed=3), bare, reference), 9, larger_is_better=False)
    assert worse.value is not None
    assert worse.value < 0
    assert all(value.low < value.value < value.high for value in (good, less, worse))  # type: ignore[operator]


def test_an_arm_that_moves_with_the_reference_closes_the_gap_for_sure() -> None:
    bare, reference = samples(0.54, seed=1), samples(0.61, seed=2)
    value = closed(GAP, (bare + 0.6 * (reference - bare), bare, reference), 9, larger_is_better=True)
    assert (value.value, value.low, value.high) == pytest.approx((0.6, 0.6, 0.6))


@pytest.mark.parametrize("ahead", [0.001, -0.02])
def test_a_gap_that_may_be_none_is_not_closed(ahead: float) -> None:
    bare, reference = samples(0.54, seed=1), samples(0.54 + ahead, seed=2)
    value = closed(GAP, (samples(0.6), bare, reference), 9, larger_is_better=True)
    assert value.value is None
    assert value.reason is not None
    assert value.reason.startswith(f"finetune is ahead of window by {ahead:.4f} (95 % interval")


def test_where_there_is_no_reference_the_reason_says_why() -> None:
    auc = {"finetune": 0.61, "retrain_all": 0.62, "stopped": None}
    assert gap_of("window", ["finetune", "retrain_all", "stopped"], auc).reference == "retrain_all"
    assert "no arm has the same backbone" in (gap_of(None, ["finetune"], auc).reason or "")
    assert "has learned all of the log" in (gap_of("window", ["stopped"], auc).reason or "")
    itself = gap_of("retrain_all", ["finetune", "retrain_all"], auc)
    assert "retrain_all is itself the best arm without knowledge" in (itself.reason or "")
    three = [samples(0.6)] * 3
    assert closed(itself, three, 9, larger_is_better=True).reason == itself.reason
    missing = closed(GAP, (samples(0.6), undefined("stopped: nan"), samples(0.61)), 9, larger_is_better=True)
    assert missing.reason == "stopped: nan"


def test_who_has_learned_all_is_of_the_same_backbone_without_knowledge_and_changes() -> None:
    arms = {
        "finetune_wide": an_arm(width=24),
        "finetune": an_arm(),
        "all": an_arm(policy="retrain_all"),
        "dcn": an_arm(backbone="dcn"),
        "replay": an_arm(policy="replay"),
        "window": an_arm(policy="retrain_window"),
        "window_edk": an_arm(policy="retrain_window", knowledge="edk"),
        "dcn_edk": an_arm(backbone="dcn", policy="frozen", knowledge="edk"),
    }
    assert learners_of_all(an_experiment(arms)) == {"window_edk": ["finetune", "all"], "dcn_edk": ["dcn"]}


def test_fiellers_interval_holds_the_ratios_that_a_test_does_not_reject() -> None:
    part, whole = samples(0.03, 0.01, seed=1), samples(0.05, 0.01, seed=2)
    value = ratio(part, whole, 9)
    for bound in (value.low, value.high):
        assert bound is not None
        rest = Estimate.over_seeds(part - bound * whole, 9)
        assert rest.error is not None
        assert abs(rest.point) / rest.error == pytest.approx(Z)
    assert ratio(part, samples(0.01, 0.01, seed=2), 9).low is None


@pytest.mark.parametrize("seeds", [1, 3, 10])
def test_the_interval_of_a_ratio_covers_it_19_times_in_20(seeds: int) -> None:
    rng, hits, repeats = np.random.default_rng(seeds), 0, 1500
    for _ in range(repeats):
        users, redrawn = rng.normal(0, 0.2, (2, 1)), rng.normal(0, 0.2, (2, 100))
        of_seeds = rng.normal(0, 0.2, (2, seeds)) if seeds > 1 else np.zeros((2, 1))
        part, whole = (
            np.concatenate([drawn[:, None], drawn[:, None] + noise], axis=1)
            for drawn, noise in zip(np.array([[0.6], [1.0]]) + users + of_seeds, redrawn, strict=True)
        )
        value = ratio(part, whole, 9)
        hits += value.low is None or (value.low < 0.6 < (value.high or 0))
    assert 0.935 < hits / repeats < 0.965


def played(folder: Path, seeds: list[int], **noise: float) -> pa.Table:
    """A run in which `same` predicts as `finetune`, `none` as `window`, and `half` so in every other period."""
    its = {name: an_arm(policy="retrain_window", knowledge="edk") for name in ("same", "none", "half")}
    its["window"] = an_arm(policy="retrain_window")
    noise |= dict.fromkeys(("same", "none", "half"), 1.0)
    fake = FakeRun(periods=5, rows=1500, users=300, noise=noise, its=its, seeds=seeds, forgetting=0.5, served=False)
    run = fake.write(folder)
    for period in range(5):
        for seed in seeds:
            of = {"same": "finetune", "none": "window", "half": "finetune" if period % 2 else "window"}
            for arm, other in of.items():
                rename(run, period, seed, other, arm)
    return evaluate(run)


@pytest.fixture(scope="module", params=[[0], [0, 1, 2]], ids=["one seed", "three seeds"])
def table(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> pa.Table:
    return played(tmp_path_factory.mktemp("runs") / "fake", request.param, window=3.0, finetune=0.5)


def rename(run: RunFolder, period: int, seed: int, arm: str, to: str) -> None:
    table = pq.read_table(run.predictions(period, f"{arm}-{seed}"), partitioning=None)
    at = table.schema.get_field_index("arm")
    names = pa.array([to] * len(table)).dictionary_encode()
    pq.write_table(table.set_column(at, table.schema.field(at), names), run.predictions(period, f"{to}-{seed}"))


def test_predictions_that_are_those_of_another_close_all_or_nothing(table: pa.Table) -> None:
    for arm, share in (("same", 1.0), ("none", 0.0)):
        for metric in ("auc_prequential_gap_closed", "auc_gap_closed"):
            rows = [row for row in rows_of(table, arm=arm, metric=metric) if row["value"] is not None]
            assert rows, (arm, metric)
            assert {row["of"] for row in rows} == {"finetune"}
            for row in rows:
                assert [row["value"], row["low"], row["high"]] == pytest.approx([share] * 3, abs=1e-6)


def test_what_is_not_forgotten_closes_the_gap_of_forgetting(tmp_path: Path) -> None:
    """A bare arm that is good at once, and has then more to forget than what has learned all."""
    table = played(tmp_path / "run", [0], window=0.3, finetune=3.0)
    for arm, share in (("same", 1.0), ("none", 0.0)):
        row = one(table, arm=arm, metric="forgetting_gap_closed", evaluated_on=None)
        assert [row["value"], row["low"], row["high"]] == pytest.approx([share] * 3, abs=1e-6)
        by_holdout = rows_of(table, arm=arm, metric="forgetting_gap_closed")
        assert {row["evaluated_on"] for row in by_holdout} == {None, 0, 1, 2, 3}
        assert "there is no gap to close" in one(table, arm=arm, metric="auc_prequential_gap_closed")["reason"]


def test_the_whole_is_the_mean_gain_over_the_mean_gap(table: pa.Table) -> None:
    def auc(arm: str, period: int) -> float:
        rows = rows_of(table, arm=arm, metric="auc", holdout=False, slice="all", evaluated_on=period)
        return float(np.mean([row["value"] for row in rows]))

    gaps = [auc("finetune", period) - auc("window", period) for period in range(1, 5)]
    seed = max(table.column("seed").unique().to_pylist(), key=lambda seed: seed is None)
    whole = one(table, arm="half", metric="auc_prequential_gap_closed")
    assert whole["value"] == pytest.approx((gaps[0] + gaps[2]) / sum(gaps))
    assert whole["seed"] == seed
    assert whole["low"] < whole["value"] < whole["high"]
    for period in range(1, 5):
        row = one(table, arm="half", metric="auc_gap_closed", evaluated_on=period)
        assert row["value"] == pytest.approx(float(period % 2), abs=1e-9)
