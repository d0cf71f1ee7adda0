"""A report begins with what it cannot judge, and praises nobody who has learned nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from simulator.measure.evaluate import evaluate
from simulator.measure.results import About, Result, to_table
from simulator.measure.value import Value
from simulator.record.costs import read_costs
from simulator.record.experiment import read_experiment
from simulator.report.finding import Finding
from simulator.report.numbers import Numbers
from simulator.report.verdict import verdict
from tests.simulator.measure.fake_run import FakeRun, an_arm, an_experiment

POPULARITY = About(data="data", yardsticks=["popularity"])
ARMS = {
    "finetune": an_arm(),
    "thrice": an_arm(epochs=3),
    "rok": an_arm(knowledge="rok"),
    "novelty": an_arm(knowledge="novelty", base_is_control=True),
    "window": an_arm(policy="retrain_window"),
    "window_rok": an_arm(policy="retrain_window", knowledge="rok"),
}


def value(middle: float, reach: float = 0.01) -> Value:
    return Value(value=middle, low=middle - reach, high=middle + reach, n=3)


def table(aucs: dict[str, float], further: dict[tuple[str, str, str | None], Value] | None = None) -> pa.Table:
    """Arms and yardsticks with these mean AUCs and the differences that follow; intervals reach 0.01 to each side."""
    told: dict[tuple[str, str, str | None], Value] = {
        ("auc_prequential", arm, None): value(auc) for arm, auc in aucs.items()
    }
    told |= {
        ("auc_prequential_difference", arm, other): value(auc - its)
        for arm, auc in aucs.items()
        for other, its in aucs.items()
    }
    for arm, bare in (("rok", "finetune"), ("novelty", "finetune"), ("window_rok", "window")):
        if arm in aucs:
            told["rel_impr_auc", arm, bare] = value(aucs[arm] / aucs[bare] - 1)
    told |= further or {}
    results = [
        Result(arm=arm, seed=0, metric=metric, of=of, value=its, trained_through=3, holdout=False)
        for (metric, arm, of), its in told.items()
    ]
    cell = Result(
        arm="finetune", seed=0, metric="auc", value=value(0.6), trained_through=0, evaluated_on=0, holdout=True
    )
    return to_table([*results, cell], "run", POPULARITY)


def judged(aucs: dict[str, float], **further: Any) -> list[Finding]:
    arms = {name: arm for name, arm in ARMS.items() if name in aucs}
    experiment = an_experiment(arms, yardsticks=["popularity"])
    return verdict(Numbers(table(aucs, **further)), experiment)


def of(findings: list[Finding], tag: str) -> str:
    [text] = [finding.text for finding in findings if finding.tag == tag]
    return text


def played(fake: FakeRun, folder: Path) -> list[Finding]:
    run = fake.write(folder)
    experiment = read_experiment(run)
    return verdict(Numbers(evaluate(run)), experiment, read_costs(run, experiment.keys))


def test_where_a_yardstick_beats_every_arm_that_comes_first() -> None:
    first, second, *rest = judged({"finetune": 0.60, "rok": 0.62, "popularity": 0.651})
    assert first.text.startswith("popularity beats every arm, the best of them, rok, by 0.0310 (95 % interval 0.0210–")
    assert second.tag == "cannot be judged"
    assert "popularity beats it by 0.0510" in second.text
    assert "what gains on it may only be mending it" in second.text
    assert "train.batch_size" in second.text
    assert of(rest, "best of the arms").endswith("It is the best of the arms alone: popularity beats it.")
    assert not [finding for finding in rest if finding.tone == "good"]


def test_a_gain_on_an_arm_that_loses_to_a_yardstick_is_told_without_a_verdict() -> None:
    findings = judged({"finetune": 0.60, "rok": 0.66, "novelty": 0.60, "popularity": 0.64})
    assert findings[0].tag == "cannot be judged", "some arm beats the yardstick, so that it does not win"
    gains = [finding for finding in findings if finding.tag == "not judged"]
    assert {finding.tone for finding in gains} == {"plain"}
    assert "rok scores +0.0600 AUC" in gains[0].text
    assert not [finding for finding in findings if "helps" in finding.tag or "hurts" in finding.tag]
    assert not [finding for finding in findings if finding.tag.startswith("controls")]


def test_an_arm_that_is_kept_from_older_rows_may_lose_to_what_has_them() -> None:
    findings = judged({"finetune": 0.64, "window": 0.58, "window_rok": 0.62, "popularity": 0.60})
    assert not [finding for finding in findings if finding.tag == "cannot be judged"]
    assert "Knowledge helps: window_rok scores +0.0400" in of(findings, "knowledge helps")
    assert "window scores -0.0200" in " ".join(f.text for f in findings if f.tag == "yardsticks").replace("−", "-")


def test_a_yardstick_that_is_only_as_good_is_told_with_its_interval() -> None:
    findings = judged({"finetune": 0.60, "rok": 0.64, "popularity": 0.605})
    assert "finetune scores −0.0050 (95 % interval −0.0150…+0.0050) against popularity." in [f.text for f in findings]
    assert of(findings, "knowledge helps")


def test_nothing_is_held_against_an_arm_at_chance() -> None:
    findings = judged({"finetune": 0.505, "rok": 0.56, "popularity": 0.50})
    text = of(findings, "cannot be judged")
    assert findings[0].text == text
    assert text.startswith(
        "Nothing measured against finetune means anything: it is at chance: its mean prequential AUC is"
    )
    assert "(95 % interval 0.4950–0.5150)" in text
    assert "rok has the best" in of(findings, "result"), "finetune is not ranked"
    assert of(findings, "not judged")


def test_an_arm_at_chance_is_not_praised_whatever_its_lead() -> None:
    findings = judged({"finetune": 0.48, "rok": 0.505, "popularity": 0.56})
    assert "not above chance" in of(findings, "no ranking")
    assert not [finding for finding in findings if finding.tone == "good" or finding.tag == "forgetting"]


def test_probabilities_that_are_worse_than_a_constant_are_named_with_what_to_change() -> None:
    further = {("ne_prequential", "finetune", None): value(8.89), ("pcoc_prequential", "finetune", None): value(49.0)}
    findings = judged({"finetune": 0.60, "rok": 0.66}, further=further)
    text = of(findings, "cannot be judged")
    assert "its probabilities are worse than the constant click rate (NE 8.890, PCOC 49.00)" in text
    assert "Its level is off" in text
    assert of(findings, "not judged")
    further["pcoc_prequential", "finetune", None] = value(1.02)
    assert "It is too sure" in of(judged({"finetune": 0.60, "rok": 0.66}, further=further), "cannot be judged")


def test_an_arm_that_does_the_same_work_is_a_control_that_has_to_be_beaten() -> None:
    findings = judged({"finetune": 0.60, "thrice": 0.6177, "rok": 0.6035, "novelty": 0.58})
    [text] = [f.text for f in findings if f.tag == "controls not passed" and f.text.startswith("rok")]
    assert "No lead beyond chance over thrice" in text
    assert "against thrice, without knowledge but with more work or parameters" in text
    text = of(judged({"finetune": 0.60, "thrice": 0.61, "rok": 0.63, "novelty": 0.6}), "controls passed")
    assert text.startswith("rok scores")


@pytest.mark.parametrize(
    ("lost", "gap", "said"),
    [
        ((-0.01, 0.02), value(0.03), "finetune forgets least and rok most"),
        ((-0.01, 0.02), value(0.03, 0.04), "Who forgets most is not separable from chance"),
        ((-0.01, 0.02), Value(value=0.03, n=3), "Forgetting has no interval here"),
    ],
)
def test_who_forgets_least_is_said_beyond_an_interval_alone(lost: tuple[float, float], gap: Value, said: str) -> None:
    further = {
        ("forgetting", "finetune", "auc"): value(lost[0]),
        ("forgetting", "rok", "auc"): value(lost[1]),
        ("forgetting_difference", "rok", "finetune"): gap,
    }
    text = of(judged({"finetune": 0.60, "rok": 0.66}, further=further), "forgetting")
    assert text.startswith(said)
    assert "risen by 0.0100 on average for finetune and fallen by 0.0200 for rok" in text


def test_what_has_learned_nothing_is_not_said_to_forget_least() -> None:
    further = {
        ("forgetting", arm, "auc"): value(lost) for arm, lost in (("finetune", 0.02), ("thrice", 0.05), ("rok", 0.0))
    } | {("forgetting_difference", "thrice", "finetune"): value(0.03)}
    text = of(judged({"finetune": 0.60, "thrice": 0.62, "rok": 0.5}, further=further), "forgetting")
    assert text.startswith("finetune forgets least")


def test_on_random_labels_the_first_line_says_that_nobody_has_learned_anything(tmp_path: Path) -> None:
    fake = FakeRun(random_labels=True, p_true=False, rows=2000, yardsticks={"popularity": 1.0}, click_rate=0.3)
    first, *rest = played(fake, tmp_path / "run")
    assert first.tag == "nothing learned"
    assert first.text.startswith("No arm and no yardstick is above chance")
    assert not [finding for finding in rest if finding.tone == "good" or "best" in finding.text]


def test_fifty_clicks_are_too_few_and_the_first_line_says_what_could_have_been_seen(tmp_path: Path) -> None:
    first, *_ = played(FakeRun(click_rate=0.08, rows=150, p_true=False), tmp_path / "run")
    assert first.tag == "too few clicks"
    assert " clicks in the measured periods: differences of AUC below 0.1 are hardly seen" in first.text


def test_one_class_alone_has_a_log_loss_and_a_first_line_that_says_so(tmp_path: Path) -> None:
    fake = FakeRun(periods=3, click_rate=1e-9, p_true=False, noise={"finetune": 0.9, "frozen": 1.2})
    first, *rest = played(fake, tmp_path / "run")
    assert first.tag == "one class"
    assert first.text.startswith("Nothing can be ranked: of 800 impressions measured none is clicked")
    assert "no period after the first lesson holds both classes" in of(rest, "no ranking")


def test_where_no_label_has_come_the_first_line_says_so(tmp_path: Path) -> None:
    first, *_ = played(FakeRun(periods=3, label_delay=3, noise={"finetune": 0.9}, p_true=False), tmp_path / "run")
    assert "No period was predicted by a model that had learned something" in first.text
    assert "stream.label_delay" in first.text
