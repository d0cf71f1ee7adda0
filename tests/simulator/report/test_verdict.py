"""What a run's numbers say, in words: no more than they show."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from simulator.measure.results import About, Result, to_table
from simulator.measure.value import Value, undefined
from simulator.record.costs import PeriodCosts, read_costs
from simulator.record.predictions import BEST_ATTAINABLE
from simulator.report.finding import Finding
from simulator.report.numbers import Numbers
from simulator.report.verdict import mixed_code, unfinished, verdict
from tests.simulator.measure.fake_run import FakeRun, an_arm, an_experiment

DATA = About(data="data")
TWO = an_experiment({"plain": an_arm(), "edk": an_arm(knowledge="edk")})


def results(gain: Value, over: Value | None = None, p_holm: Value | None = None) -> pa.Table:
    """Two arms, of which `edk` differs from `plain` by `gain`, and from the best attainable by `over`."""

    def result(arm: str, metric: str, value: Value, of: str | None = None) -> Result:
        return Result(arm=arm, seed=0, metric=metric, value=value, of=of, trained_through=3, holdout=False)

    base = 0.7
    rows = [
        result("plain", "auc_prequential", Value(value=base, low=0.69, high=0.71, n=3)),
        result("edk", "auc_prequential", Value(value=base + (gain.value or 0), n=3)),
        result("edk", "auc_prequential_difference", gain, of="plain"),
        result("edk", "rel_impr_auc", Value(value=(gain.value or 0) / base, n=3), of="plain"),
    ]
    if p_holm is not None:
        rows.append(result("edk", "p_value_holm", p_holm, of="plain"))
        rows.append(result("edk", "detectable_difference", Value(value=0.028, n=3), of="plain"))
    if over is not None:
        rows.append(result(BEST_ATTAINABLE, "auc_prequential", Value(value=0.8, low=0.79, high=0.81, n=3)))
        rows.append(result("edk", "auc_prequential_difference", over, of=BEST_ATTAINABLE))
    return to_table(rows, "run", DATA)


def findings(*given: Any) -> dict[str, Finding]:
    return {finding.tag: finding for finding in verdict(Numbers(results(*given)), TWO)}


def test_the_verdict_says_by_how_much_knowledge_helps() -> None:
    finding = findings(Value(value=0.02, low=0.01, high=0.03, n=3))["knowledge helps"]
    assert finding.tone == "good"
    assert "Knowledge helps: edk scores +0.0200 AUC (95 % interval +0.0100…+0.0300)" in finding.text


def test_the_verdict_says_plainly_that_knowledge_does_not_help() -> None:
    finding = findings(Value(value=-0.02, low=-0.03, high=-0.01, n=3))["knowledge hurts"]
    assert finding.tone == "bad"
    assert "does not help" in finding.text


@pytest.mark.parametrize("bounds", [(-0.01, 0.03), (None, None)])
def test_the_verdict_claims_nothing_that_is_not_separable(bounds: tuple[float | None, float | None]) -> None:
    found = findings(Value(value=0.01, low=bounds[0], high=bounds[1], n=3))
    assert "not separable from chance" in found["knowledge: no clear effect"].text
    assert "best" not in found


def test_the_verdict_trusts_the_test_that_is_corrected_for_the_number_of_arms() -> None:
    gain = Value(value=0.02, low=0.001, high=0.039, n=3)
    assert {"knowledge helps", "best"} <= findings(gain).keys()
    assert "once corrected" in findings(gain, None, Value(value=0.09, n=4))["no clear winner"].text
    corrected = findings(gain, None, Value(value=0.09, n=4))["knowledge: no clear effect"]
    assert "p = 0.090 after Holm's correction over 4 tests" in corrected.text
    assert "A difference of 0.0280 would have been found 4 times in 5." in corrected.text
    assert "p < 0.001" in findings(gain, None, Value(value=1e-5, n=4))["knowledge helps"].text


def test_the_verdict_says_when_a_comparison_is_not_to_be_had() -> None:
    assert "never ran" in findings(undefined("plain never ran"))["not comparable"].text


@pytest.mark.parametrize(
    ("low", "high", "tag"),
    [
        (0.001, 0.009, "controls passed"),
        (-0.003, 0.013, "controls not passed"),
        (-0.009, -0.001, "controls not passed"),
    ],
)
def test_the_verdict_holds_knowledge_against_its_control(low: float, high: float, tag: str) -> None:
    gain, more = Value(value=0.02, low=0.01, high=0.03, n=3), Value(value=(low + high) / 2, low=low, high=high, n=3)
    against = Result(
        arm="edk", seed=0, metric="auc_prequential_difference", value=more, of="none", trained_through=3, holdout=False
    )
    control = replace(against, arm="none", metric="auc_prequential", of=None)
    rows = pa.concat_tables([results(gain), to_table([against, control], "run", DATA)])
    three = replace(TWO, arms={**TWO.arms, "none": an_arm(knowledge="edk", control="untrained")})
    found = {f.tag: f for f in verdict(Numbers(rows), three)}
    assert [f for f in found if f.startswith("control")] == [tag]
    assert found[tag].text.startswith("edk scores ")
    assert "against none, whose base learned nothing" in found[tag].text
    assert ("No lead beyond chance over none" in found[tag].text) == (low < 0)


def test_the_report_says_when_a_run_went_on_under_other_code(tmp_path: Path) -> None:
    [costs] = read_costs(FakeRun(periods=1).write(tmp_path / "run"), ["frozen-0", "finetune-0"])

    def played(*commits: tuple[str | None, str | None]) -> list[PeriodCosts]:
        return [
            replace(costs, period=at, arms=[replace(a, commit=c) for a, c in zip(costs.arms, both, strict=True)])
            for at, both in enumerate(commits)
        ]

    assert mixed_code(played(("a", "a"), ("a", "a"))) == mixed_code(played((None, None))) == []
    [finding] = mixed_code(played(("a", "a"), ("a", "a"), ("b", "b")))
    assert "commit a from period 0 on and commit b from period 2 on:" in finding.text
    [finding] = mixed_code(played(("a", "a"), ("a", "b"), ("b", "b")))
    assert "commit a from period 0 on and commit b from period 1 on for finetune (seed 0):" in finding.text


def test_the_report_warns_of_features_that_tell_places() -> None:
    numbers = Numbers(results(Value(value=0.02, low=0.01, high=0.03, n=3)))
    found = {finding.tag: finding for finding in verdict(numbers, replace(TWO, of_lists=["place", "size"]))}
    assert "Every model reads place and size of stream.features" in found["places are told"].text
    assert "places are told" not in {finding.tag for finding in verdict(numbers, TWO)}


def test_the_report_says_when_not_all_contenders_have_come_as_far() -> None:
    assert unfinished(4, 4) == []
    [finding] = unfinished(3, 5)
    assert finding.text.startswith("3 of 5 periods are complete")


def test_the_price_is_told_in_cpu_seconds() -> None:
    def spent(arm: str, metric: str, value: float) -> Result:
        return Result(arm=arm, seed=0, metric=metric, value=Value(value=value, n=9), trained_through=3)

    cpu = [spent("plain", "train_cpu_seconds", 2.0), spent("edk", "train_cpu_seconds", 5.0)]
    wall = [spent("plain", "train_seconds", 30.0), spent("edk", "train_seconds", 90.0)]
    rows = pa.concat_tables(
        [results(Value(value=0.02, low=0.01, high=0.03, n=3)), to_table([*cpu, *wall], "run", DATA)]
    )
    [price] = [finding.text for finding in verdict(Numbers(rows), TWO) if finding.tag == "its price"]
    assert "2.5 times the CPU time of plain in training" in price


@pytest.mark.parametrize(
    ("rank", "remedies", "end"),
    [
        (1.2, {"knowledge_rank": "give imitation more weight"}, "span 1.2 directions. Give imitation more weight."),
        (1.2, {}, "span 1.2 directions."),
        (5.0, {"knowledge_rank": "give imitation more weight"}, None),
    ],
)
def test_the_verdict_passes_on_what_a_base_advises_where_its_vectors_have_collapsed(
    rank: float, remedies: dict[str, str], end: str | None
) -> None:
    told = Result(
        arm="edk", seed=0, metric="knowledge_rank_next", value=Value(value=rank, n=1), trained_through=3, holdout=None
    )
    rows = pa.concat_tables([results(Value(value=0.02, low=0.01, high=0.03, n=3)), to_table([told], "run", DATA)])
    advised = replace(TWO, arms={**TWO.arms, "edk": an_arm(knowledge="edk", remedies=remedies)})
    texts = [finding.text for finding in verdict(Numbers(rows), advised) if finding.tag == "collapsed"]
    assert [text.endswith(end or "") for text in texts] == ([] if end is None else [True])


def test_the_verdict_distrusts_what_beats_the_best_attainable() -> None:
    gain = Value(value=0.15, low=0.1, high=0.2, n=3)
    assert "too good" in findings(gain, Value(value=0.05, low=0.01, high=0.09, n=3))
    assert "too good" not in findings(gain, Value(value=0.05, low=-0.01, high=0.11, n=3))
