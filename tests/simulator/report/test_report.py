"""The report is one file that says what the numbers say, and the terminal's table fits a terminal."""

from __future__ import annotations

import io
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from rich.console import Console

from pkb.errors import RunError
from simulator.book import BEST_ATTAINABLE
from simulator.measure.evaluate import controls, evaluate
from simulator.measure.results import Result, to_table
from simulator.measure.value import Value, undefined
from simulator.report.figures import auc_over_periods
from simulator.report.numbers import Numbers
from simulator.report.report import write_report
from simulator.report.table import summary
from simulator.report.verdict import Finding, mixed_code, verdict
from simulator.settings import ArmSettings, Settings
from simulator.settings_file import to_yaml
from tests.simulator.measure.fake_run import ARMS, FakeRun


class Page(HTMLParser):
    """What a browser would fetch from a page, and the text that it would show."""

    def __init__(self, page: Path) -> None:
        super().__init__()
        self.references: list[str] = []
        self.scripts = 0
        self.shown: list[str] = []
        self.open: list[str] = []
        self.feed(page.read_text())
        self.close()
        self.text = " ".join(" ".join(self.shown).split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.open.append(tag)
        self.scripts += tag == "script"
        self.references += [v or "" for name, v in attrs if name in ("src", "href", "xlink:href", "srcset", "data")]

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] != "style":
            self.shown.append(data)


def report(fake: FakeRun, run: Path) -> Page:
    fake.write(run)
    (run / "config.yaml").write_text(to_yaml(fake.settings))
    evaluate(run, fake.settings)
    return Page(write_report(run, fake.settings))


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("runs") / "trial-7"


@pytest.fixture(scope="module")
def page(run: Path) -> Page:
    return report(FakeRun(), run)


def test_the_page_needs_nothing_but_itself(page: Page, run: Path) -> None:
    assert page.scripts == 0
    assert page.references, "figures refer to their own parts"
    assert all(reference.startswith("#") for reference in page.references)
    assert "@import" not in (run / "report.html").read_text()
    assert not re.search(r"url\((?!#)", (run / "report.html").read_text())


def test_the_page_names_data_run_and_every_arm(page: Page) -> None:
    for name in ("eleme-synthetic", "trial-7", *ARMS, "best attainable"):
        assert name in page.text


def test_the_page_holds_every_room(page: Page) -> None:
    for heading in (
        "What came out",
        "Quality over time",
        "Against the baseline",
        "AUC by the user's activity",
        "AUC by scenario",
        "Forgetting",
        "Cost",
        "Serving",
        "What was replayed",
        "Environment",
        "Settings",
    ):
        assert heading in page.text
    for detail in (
        "1,600",
        "policy: frozen",
        "memory MB",
        "p (Holm)",
        "scenario 101",
        "50 to 149",
        "3.0e-08",
        "2 errors",
        "evaluated on the holdout of period j",
    ):
        assert detail in page.text


def test_several_seeds_are_told_as_points_and_one_interval(tmp_path: Path) -> None:
    fake = FakeRun(seeds=[0, 1, 2], periods=3, served=False)
    page = report(fake, tmp_path / "run")
    assert "over users and seeds; hollow points: the seeds." in page.text
    assert "Welch and Satterthwaite" in page.text
    numbers = Numbers(pq.read_table(tmp_path / "run" / "results.parquet"))
    rows = numbers.rows("auc_prequential", "finetune")
    assert [row["seed"] for row in rows] == [0, 1, 2]
    assert numbers.mean("auc_prequential", "finetune").value == pytest.approx(sum(row["value"] for row in rows) / 3)
    console = Console(width=110, record=True, file=io.StringIO())
    console.print(summary(pq.read_table(tmp_path / "run" / "results.parquet")))
    values = sorted(f"{row['value']:.4f}" for row in rows)
    assert f"{values[0]}–{values[-1]}" in console.export_text()


def test_the_split_protocol_is_reported_without_forgetting(tmp_path: Path) -> None:
    page = report(FakeRun(split=True, served=False), tmp_path / "run")
    assert "has the best AUC on the test period" in page.text
    assert "Nothing is held out, so that forgetting is not defined." in page.text
    for word in ("prequential", "Forgetting and transfer", "holdout of period", "Quality over time"):
        assert word not in page.text
    console = Console(width=110, record=True, file=io.StringIO())
    console.print(summary(pq.read_table(tmp_path / "run" / "results.parquet")))
    assert "BWT" not in console.export_text()


def test_a_log_without_scenarios_has_no_table_of_them(tmp_path: Path) -> None:
    page = report(FakeRun(scenarios=False, periods=2, served=False), tmp_path / "run")
    assert "AUC by scenario" not in page.text


def test_the_same_run_gives_the_same_page(run: Path, page: Page) -> None:
    before = (run / "report.html").read_bytes()
    write_report(run, FakeRun().settings)
    assert (run / "report.html").read_bytes() == before


def test_a_stopped_arm_is_named_with_its_reason(tmp_path: Path) -> None:
    page = report(FakeRun(stopped={"finetune_edk": 2}, served=False, p_true=False), tmp_path / "run")
    assert "finetune_edk (seed 0) took no further part: loss was nan learning period 2, step 12" in page.text
    assert "This run was not served." in page.text


def test_a_log_may_hold_one_period_and_a_run_one_arm(tmp_path: Path) -> None:
    page = report(FakeRun(periods=1, noise={"finetune": 0.5}, served=False, p_true=False), tmp_path / "run")
    assert "no period after the first holds both classes" in page.text


def test_names_are_text_and_never_markup(tmp_path: Path) -> None:
    fake = FakeRun(data="<script>alert(1)</script>", noise={"a<b>&$x_1$": 0.5}, periods=2, served=False)
    arms = {"a<b>&$x_1$": ArmSettings()}
    run = fake.write(tmp_path / "run")
    settings = replace(fake.settings, arms=arms)
    evaluate(run, settings)
    page = Page(write_report(run, settings))
    assert page.scripts == 0
    assert "a<b>&$x_1$" in page.text


def test_a_run_is_evaluated_before_it_is_reported_on(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"no results\.parquet"):
        write_report(tmp_path, FakeRun().settings)


@pytest.mark.parametrize("width", [100, 120])
def test_the_table_fits_the_terminal_and_names_run_and_data(run: Path, page: Page, width: int) -> None:
    console = Console(width=width, record=True, file=io.StringIO())
    console.print(summary(evaluate(run, FakeRun().settings)))
    first, *lines = console.export_text().splitlines()
    assert "trial-7" in first
    assert "eleme-synthetic" in first
    text = "\n".join(lines)
    assert all(re.search(rf"^{arm} ", text, re.MULTILINE) for arm in ARMS), "no name is folded"
    assert "attainable" in text
    assert "…" not in text.replace("…+", "").replace("…−", ""), "no cell is cut off"


def test_the_table_says_why_an_arm_was_stopped(tmp_path: Path) -> None:
    fake = FakeRun(stopped={"frozen": 1}, served=False)
    console = Console(width=100, record=True, file=io.StringIO())
    console.print(summary(evaluate(fake.write(tmp_path / "run"), fake.settings)))
    assert "stopped: frozen (seed 0): loss was nan learning period 1, step 12" in console.export_text()


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
    return to_table(rows, "run", "data")


def findings(*given: Any) -> dict[str, Finding]:
    return {finding.tag: finding for finding in verdict(Numbers(results(*given)), {"edk": []})}


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
    rows = pa.concat_tables([results(gain), to_table([against, control], "run", "data")])
    found = {f.tag: f for f in verdict(Numbers(rows), {"edk": ["none"]})}
    assert [f for f in found if f.startswith("control")] == [tag]
    assert found[tag].text.startswith("edk scores ")
    assert "against none, whose base has learned nothing" in found[tag].text
    assert ("No lead beyond chance over none" in found[tag].text) == (low < 0)


def test_the_controls_of_an_arm_differ_from_it_in_nothing_else() -> None:
    rok = ArmSettings(knowledge="rok")
    arms = {
        "finetune": ArmSettings(),
        "rok": rok,
        "untrained": replace(rok, control="untrained"),
        "shuffled": replace(rok, control="shuffled"),
        "elsewhere": replace(rok, control="untrained", plug="join"),
        "novelty": ArmSettings(knowledge="novelty", plug="join"),
        "din": ArmSettings(backbone="din", knowledge="novelty"),
    }
    found = controls(replace(Settings(), arms=arms))
    assert found == {"rok": ["untrained", "shuffled", "novelty"], "novelty": [], "din": []}


def test_the_report_says_when_a_run_went_on_under_other_code() -> None:
    def played(*commits: str | None) -> list[dict[str, object]]:
        return [{"period": period, "commit": commit} for period, commit in enumerate(commits)]

    assert mixed_code(played("a", "a", "a")) == mixed_code(played(None, None)) == []
    [finding] = mixed_code(played("a", "a", "b"))
    assert "commit a from period 0 on and commit b from period 2 on" in finding.text


def test_the_verdict_distrusts_what_beats_the_best_attainable() -> None:
    gain = Value(value=0.15, low=0.1, high=0.2, n=3)
    assert "too good" in findings(gain, Value(value=0.05, low=0.01, high=0.09, n=3))
    assert "too good" not in findings(gain, Value(value=0.05, low=-0.01, high=0.11, n=3))


def test_a_figure_is_one_svg_element_that_repeats_itself(run: Path, page: Page) -> None:
    numbers = Numbers(evaluate(run, FakeRun().settings))
    svg = auc_over_periods(numbers)
    assert svg.startswith("<svg")
    assert svg.rstrip().endswith("</svg>")
    assert svg == auc_over_periods(numbers)
