"""The report is one file that says what the numbers say, and the terminal's table fits a terminal."""

from __future__ import annotations

import io
import re
from html.parser import HTMLParser
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from rich.console import Console

from pkb.errors import RunError
from simulator.measure.evaluate import evaluate
from simulator.record.groups import Groups, write_groups
from simulator.record.layout import RunFolder
from simulator.report.figures import auc_over_periods
from simulator.report.numbers import Numbers
from simulator.report.page import write_report
from simulator.report.table import summary
from simulator.report.words import megabytes, size
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


def report(fake: FakeRun, folder: Path) -> Page:
    run = fake.write(folder)
    evaluate(run)
    return Page(write_report(run))


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


def test_the_page_says_in_how_many_groups_the_run_was_played_if_that_is_known(tmp_path: Path, page: Page) -> None:
    assert "groups of contenders" not in page.text
    run = FakeRun(periods=2, served=False).write(tmp_path / "run")
    evaluate(run)
    write_groups(run, Groups(groups=[["frozen-0"], ["finetune-0", "retrain_all-0"]], threads=1, chosen="2 free cores."))
    text = Page(write_report(run)).text
    assert "Played in 2 groups of contenders, with one thread for each worker. Prices are CPU seconds" in text
    assert "groups 2 free cores." in text
    write_groups(run, Groups(groups=[["frozen-0", "finetune-0", "retrain_all-0"]], threads=2, chosen="One core."))
    assert "Played in one group of contenders, with 2 threads for each worker." in Page(write_report(run)).text


def test_prices_are_cpu_seconds(page: Page) -> None:
    assert "training CPU s of which compressing learned rows/CPU s" in page.text
    assert "finetune_edk 8.5 4.5 188 0.0 1.0 2.5" in page.text  # half of the wall seconds, over four periods


def test_several_seeds_are_told_as_points_and_one_interval(tmp_path: Path) -> None:
    fake = FakeRun(seeds=[0, 1, 2], periods=3, served=False)
    page = report(fake, tmp_path / "run")
    assert "over users and seeds; hollow points: the seeds." in page.text
    assert "what redraws of users do to all seeds alike" in page.text
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


def test_what_becomes_of_a_scenario_while_it_is_away_is_told(tmp_path: Path, page: Page) -> None:
    assert "While a scenario was away" not in page.text
    assert "Forgetting by scenario" in page.text
    assert "parameters of one" in page.text
    assert "1,016 12.3 kB" in page.text
    away = report(FakeRun(noise={"finetune": 0.9}, served=False, away={102: {1, 2}}), tmp_path / "run")
    assert "scenario 102, away in periods 1 to 2" in away.text
    assert re.search(r"finetune 0\.\d{4} → 0\.\d{4} lost [+−]0\.\d{4}", away.text)


def test_the_same_run_gives_the_same_page(run: Path, page: Page) -> None:
    before = (run / "report.html").read_bytes()
    write_report(RunFolder(run))
    assert (run / "report.html").read_bytes() == before


def test_a_stopped_arm_is_named_with_its_reason(tmp_path: Path) -> None:
    page = report(FakeRun(stopped={"finetune_edk": 2}, served=False, p_true=False), tmp_path / "run")
    assert "finetune_edk (seed 0) took no further part: loss was nan learning period 2, step 12" in page.text
    assert "This run was not served." in page.text


def test_a_log_may_hold_one_period_and_a_run_one_arm(tmp_path: Path) -> None:
    page = report(FakeRun(periods=1, noise={"finetune": 0.5}, served=False, p_true=False), tmp_path / "run")
    assert "no period after the first lesson holds both classes" in page.text


def test_names_are_text_and_never_markup(tmp_path: Path) -> None:
    fake = FakeRun(data="<script>alert(1)</script>", noise={"a<b>&$x_1$": 0.5}, periods=2, served=False)
    page = report(fake, tmp_path / "run")
    assert page.scripts == 0
    assert "a<b>&$x_1$" in page.text


def test_a_run_is_evaluated_before_it_is_reported_on(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"no results\.parquet"):
        write_report(RunFolder(tmp_path))


@pytest.mark.parametrize("width", [100, 120])
def test_the_table_fits_the_terminal_and_names_run_and_data(run: Path, page: Page, width: int) -> None:
    console = Console(width=width, record=True, file=io.StringIO())
    console.print(summary(evaluate(RunFolder(run))))
    first, *lines = console.export_text().splitlines()
    assert "trial-7" in first
    assert "eleme-synthetic" in first
    text = "\n".join(lines)
    assert all(re.search(rf"^{arm} ", text, re.MULTILINE) for arm in ARMS), "no name is folded"
    assert "attainable" in text
    assert "…" not in text.replace("…+", "").replace("…−", ""), "no cell is cut off"


def test_yardsticks_stand_under_the_arms_in_table_page_and_figures(tmp_path: Path) -> None:
    fake = FakeRun(noise={"finetune": 0.5}, yardsticks={"popularity": 1.2}, periods=3, served=False, p_true=False)
    page = report(fake, tmp_path / "run")
    results = pq.read_table(tmp_path / "run" / "results.parquet")
    assert "Against the yardsticks" in page.text
    assert page.text.index("arm minus popularity finetune +0.") > 0
    assert "popularity (yardstick)" in page.text
    console = Console(width=110, record=True, file=io.StringIO())
    console.print(summary(results))
    lines = [line.split()[0] for line in console.export_text().splitlines() if line.strip()]
    assert lines.index("finetune") < lines.index("yardsticks") < lines.index("popularity")


def test_where_rows_are_of_one_class_their_log_loss_is_shown(tmp_path: Path) -> None:
    fake = FakeRun(noise={"finetune": 0.5}, periods=3, click_rate=1e-9, served=False, p_true=False)
    page = report(fake, tmp_path / "run")
    console = Console(width=110, record=True, file=io.StringIO())
    console.print(summary(pq.read_table(tmp_path / "run" / "results.parquet")))
    assert re.search(r"finetune +– +0\.0000", console.export_text())
    assert "mean prequential AUC" not in page.text, "there is no figure of what is undefined"


def test_an_auc_of_a_few_rows_is_not_shown_without_a_warning(tmp_path: Path) -> None:
    page = report(FakeRun(rows=12, periods=3, served=False), tmp_path / "run")
    assert "too few to tell" in page.text
    assert "too few clicks" in page.text


def test_what_holdouts_of_a_few_clicks_say_of_forgetting_is_marked_in_the_table(tmp_path: Path) -> None:
    for rows, marked in ((120, True), (4000, False)):
        fake = FakeRun(rows=rows, periods=3, noise={"finetune": 0.9}, served=False)
        console = Console(width=110, record=True, file=io.StringIO())
        console.print(summary(evaluate(fake.write(tmp_path / str(rows)))))
        assert ("too few: the holdouts hold too few clicks" in console.export_text()) == marked


def test_the_page_says_from_when_on_something_had_been_learned(tmp_path: Path) -> None:
    page = report(FakeRun(periods=4, label_delay=1, served=False), tmp_path / "run")
    assert "Means are over the periods from period 2 on: before it nothing had been learned" in page.text


def test_few_bytes_are_not_shown_as_none() -> None:
    assert [megabytes(value) for value in (0, 900, 49_000, 50_000, 2_500_000)] == [
        "0.0",
        "0.9 kB",
        "49.0 kB",
        "0.1",
        "2.5",
    ]
    assert [size(value) for value in (900, 2_500_000)] == ["0.9 kB", "2.5 MB"]


def test_the_table_says_why_an_arm_was_stopped(tmp_path: Path) -> None:
    fake = FakeRun(stopped={"frozen": 1}, served=False)
    console = Console(width=100, record=True, file=io.StringIO())
    console.print(summary(evaluate(fake.write(tmp_path / "run"))))
    assert "stopped: frozen (seed 0): loss was nan learning period 1, step 12" in console.export_text()


def test_a_figure_is_one_svg_element_that_repeats_itself(run: Path, page: Page) -> None:
    numbers = Numbers(evaluate(RunFolder(run)))
    svg = auc_over_periods(numbers)
    assert svg.startswith("<svg")
    assert svg.rstrip().endswith("</svg>")
    assert svg == auc_over_periods(numbers)
