"""What the report says of a load test, and who is on the Pareto front."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from simulator.config.typed import plain
from simulator.loadtest.settings import LoadSettings
from simulator.measure.evaluate import evaluate
from simulator.record.loadtest import ArmUnderLoad, LoadTest, Offered, SelfCheck, Spread, read_loadtest, write_loadtest
from simulator.report.loadtest import pareto, table
from simulator.report.page import write_report
from tests.simulator.measure.fake_run import FakeRun
from tests.simulator.report.test_page import Page

COSTS = st.tuples(st.integers(0, 3), st.integers(0, 3), st.integers(0, 3))


def under_load(arm: str, p99: float | None) -> ArmUnderLoad:
    return ArmUnderLoad(
        arm=arm,
        seed=0,
        sustained_by_repeat=[100.0, 110.0],
        sustained=Spread(value=105.0, low=41.5, high=168.5),
        p50_ms=Spread(value=4.5),
        p99_ms=Spread(value=p99, low=None if p99 is None else p99 - 1, high=None if p99 is None else p99 + 1),
        p999_ms=31.25,
        max_ms=77.5,
        sent=4000,
        failed=3,
    )


def offered(arm: str, rate: float, p99: float | None) -> Offered:
    return Offered(
        arm=arm,
        seed=0,
        purpose="search",
        repeat=0,
        rate=rate,
        sent=2010,
        late=0,
        errors={},
        verdict="within",
        p50_ms=4.0,
        p90_ms=6.0,
        p99_ms=p99,
        p999_ms=None,
        max_ms=40.0,
        lag_p99_ms=0.2,
    )


TEST = LoadTest(
    target="fake",
    through=3,
    processes=2,
    settings=plain(LoadSettings()),
    invalid=[],
    self_check=SelfCheck(rate=110.0, sent=2010, failed=0, p50_ms=0.4, p99_ms=0.9, lag_p99_ms=0.3),
    equal_rate=80.0,
    arms=[under_load("finetune", 9.5), under_load("finetune_edk", 22.5), under_load("frozen", None)],
    loads=[offered(arm, rate, p99) for arm in ("finetune", "finetune_edk") for rate, p99 in ((50, 9.0), (100, None))],
)


def page_of(test: LoadTest, folder: Path) -> Page:
    run = FakeRun().write(folder)
    evaluate(run)
    write_loadtest(run, test)
    assert read_loadtest(run) == test
    return Page(write_report(run))


def test_the_report_shows_rates_latencies_and_the_trade_off(tmp_path: Path) -> None:
    text = page_of(TEST, tmp_path / "run").text
    for shown in ("Under load", "105.0 41.5 to 168.5", "22.5 21.5 to 23.5", "31.2 max 77.5", "3 of 4,000"):
        assert shown in text
    assert "p99 at 80.0 requests/s, ms" in text
    assert "finetune_edk, " in text
    assert "Invalid" not in text


def test_an_invalid_test_says_so_and_one_without_a_common_rate_draws_no_trade_off(tmp_path: Path) -> None:
    arms = [replace(arm, p99_ms=Spread(value=None)) for arm in TEST.arms]
    text = page_of(replace(TEST, invalid=["it lagged"], equal_rate=None, arms=arms), tmp_path / "run").text
    assert "Invalid: it lagged." in text
    assert "no common rate" in text
    assert "Ringed" not in text


def test_the_terminals_table_fits_a_terminal() -> None:
    console = Console(width=100, record=True, file=io.StringIO())
    console.print(table(TEST))
    lines = console.export_text().splitlines()
    assert max(map(len, lines)) <= 100
    assert any("finetune_edk" in line and "22.5" in line for line in lines)


@given(st.dictionaries(st.integers(0, 9).map(str), COSTS, max_size=8))
def test_the_front_is_of_those_that_none_beats(costs: dict[str, tuple[int, int, int]]) -> None:
    front = pareto({name: (float(a), float(b), float(c)) for name, (a, b, c) in costs.items()})
    for name, mine in costs.items():
        better = [o for o in costs.values() if all(a <= b for a, b in zip(o, mine, strict=True)) and o != mine]
        assert (name in front) == (not better)
    assert front or not costs
