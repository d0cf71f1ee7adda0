"""Whether knowledge pays, said for each regime in a line, with its price, before anything else that was found."""

from __future__ import annotations

import pytest

from simulator.measure.results import About, Result, to_table
from simulator.measure.value import Value, undefined
from simulator.report.figures import gap_closed_over_periods
from simulator.report.finding import Finding
from simulator.report.numbers import Numbers
from simulator.report.verdict import verdict
from tests.simulator.measure.fake_run import an_arm, an_experiment

ARMS = {
    "finetune": an_arm(),
    "finetune_edk": an_arm(knowledge="edk"),
    "window": an_arm(policy="retrain_window"),
    "window_edk": an_arm(policy="retrain_window", knowledge="edk"),
    "window_edk_shuffled": an_arm(policy="retrain_window", knowledge="edk", control="shuffled"),
}
EXPERIMENT = an_experiment(ARMS)
AUC = {
    "finetune": 0.6085,
    "finetune_edk": 0.6086,
    "window": 0.5421,
    "window_edk": 0.5671,
    "window_edk_shuffled": 0.5437,
}
SHARE = Value(value=0.376, low=0.31, high=0.44, n=13)
NO_GAP = undefined("finetune is itself the best arm without knowledge, so that there is no gap to close")


def numbers(over_control: float = 0.0234, after: float = 0.0001) -> Numbers:
    """The first table of a study, in which a base pays where its backbone starts afresh, and there alone."""

    def result(arm: str, metric: str, value: Value, of: str | None = None, period: int | None = None) -> Result:
        return Result(
            arm=arm,
            seed=0,
            metric=metric,
            value=value,
            of=of,
            trained_through=13,
            evaluated_on=period,
            holdout=None if "seconds" in metric else metric.startswith("forgetting"),
        )

    def near(value: float) -> Value:
        return Value(value=value, low=value - 0.001, high=value + 0.001, n=13)

    rows = [result(arm, "auc_prequential", near(auc)) for arm, auc in AUC.items()]
    rows += [result(arm, "auc", near(auc), period=period) for arm, auc in AUC.items() for period in (1, 2)]
    gains = [("finetune_edk", "finetune", after), ("window_edk", "window", 0.025)]
    gains += [("window_edk_shuffled", "window", 0.0016), ("window_edk", "window_edk_shuffled", over_control)]
    rows += [result(arm, "auc_prequential_difference", near(gain), of) for arm, of, gain in gains]
    rows += [result(arm, "rel_impr_auc", near(gain), of) for arm, of, gain in gains[:3]]
    rows += [result(arm, "train_cpu_seconds", Value(value=93.0 if "edk" in arm else 10.0, n=9)) for arm in AUC]
    rows += [
        result("window_edk", "auc_prequential_gap_closed", SHARE, "finetune"),
        result("window_edk", "auc_gap_closed", Value(value=0.2, n=1), "finetune", 1),
        result("window_edk", "auc_gap_closed", Value(value=0.5, n=1), "finetune", 2),
        result("window_edk", "forgetting_gap_closed", Value(value=1.0, low=0.98, high=1.02, n=13), "finetune"),
        result("finetune_edk", "auc_prequential_gap_closed", NO_GAP, "finetune"),
    ]
    return Numbers(to_table(rows, "run", About(data="data")))


def told(its: Numbers) -> list[Finding]:
    return verdict(its, EXPERIMENT)


def test_the_first_lines_say_for_each_regime_whether_knowledge_pays_and_its_price() -> None:
    afresh, goes_on, *_ = told(numbers())
    assert (afresh.tag, afresh.tone) == ("afresh: pays", "good")
    assert afresh.text == (
        "Where a backbone starts afresh on the newest rows, knowledge pays: window_edk scores +0.0250 AUC (95 % "
        "interval +0.0240…+0.0260) against window and wins back 38 % (31 to 44) of what window lacks against finetune, "
        "at 9.3 times its training time."
    )
    assert (goes_on.tag, goes_on.tone) == ("goes on: does not pay", "plain")
    assert "has itself learned its own old log, knowledge does not pay: finetune_edk scores +0.0001" in goes_on.text
    assert goes_on.text.endswith("not separable from chance, at 9.3 times its training time.")


@pytest.mark.parametrize(("over_control", "tag"), [(0.0234, "afresh: pays"), (0.0005, "afresh: not shown")])
def test_what_a_control_gains_too_does_not_pay(over_control: float, tag: str) -> None:
    assert told(numbers(over_control))[0].tag == tag


def test_knowledge_that_hurts_is_said_to() -> None:
    line = told(numbers(after=-0.02))[1]
    assert (line.tag, line.tone) == ("goes on: does not pay", "bad")
    assert "chance" not in line.text


def test_an_arm_with_a_gap_says_in_a_sentence_what_it_wins_back_and_its_price() -> None:
    lines = [finding.text for finding in told(numbers()) if finding.tag == "gap closed"]
    assert lines == [
        "window_edk wins back 38 % (31 to 44) of what window lacks against finetune, at 9.3 times its training time. "
        "Of what window forgets more than finetune it takes away 100 % (98 to 102)."
    ]


def test_findings_on_arms_that_start_afresh_come_before_those_on_arms_that_go_on() -> None:
    texts = [finding.text for finding in told(numbers()) if finding.tag.startswith("knowledge")]
    assert ["window_edk" in text for text in texts] == [True, False]


def test_a_regime_in_which_nothing_can_be_judged_has_no_line() -> None:
    only = an_experiment({name: ARMS[name] for name in ("finetune", "finetune_edk")})
    assert [f.tag for f in verdict(numbers(), only) if f.tag.startswith(("afresh", "goes on"))] == [
        "goes on: does not pay"
    ]


def test_the_figure_shows_the_gap_where_there_is_one() -> None:
    its = numbers()
    figure = gap_closed_over_periods(its)
    assert "window_edk, to finetune" in figure
    assert "finetune_edk" not in figure
