"""All metrics of a run, from what it has stored: a new metric needs no rerun."""

from __future__ import annotations

from collections.abc import Callable

import pyarrow as pa
import pyarrow.compute as pc

from pkb.errors import DataError
from simulator.measure.as_served import AsServed
from simulator.measure.by_scenario import ByScenario
from simulator.measure.cells import Cells, continual_results, holes
from simulator.measure.costs import SERVED, cost_results, serving_results
from simulator.measure.forgotten import Forgotten
from simulator.measure.opponents import baselines, learners_of_all, references
from simulator.measure.prequential import Prequential
from simulator.measure.quality import MOST_SCENARIOS, quality
from simulator.measure.recovery import recovery_results
from simulator.measure.results import About, Result, about, sorted_by_keys, to_table
from simulator.measure.scored import scored
from simulator.record.costs import learned_from, read_costs, stop_reasons
from simulator.record.experiment import ArmAndSeed, read_experiment
from simulator.record.files import write_parquet
from simulator.record.layout import RunFolder
from simulator.record.predictions import BEST_ATTAINABLE, frequent_scenarios, prediction_files, read_period
from simulator.record.serving import read_serving

Tell = Callable[[int, int], None]  # told the number of the period to be measured, and of how many


def evaluate(run: RunFolder, tell: Tell = lambda number, of: None, *, keep: bool = True) -> pa.Table:
    """Measure the complete periods of the run in this folder; to `keep` it, write it there as `results.parquet`.

    Numbers of predictions depend on these alone, to the last bit. DataError where a stored file is damaged.
    """
    experiment, serving = read_experiment(run), read_serving(run)
    periods = read_costs(run, experiment.keys)
    stopped = stop_reasons(periods)
    counted_from = max(learned_from(periods, experiment.arms), experiment.first_measured)
    singles = {**dict.fromkeys(experiment.yardsticks, experiment.seeds[0]), BEST_ATTAINABLE: 0}
    prequential = Prequential(
        replicates=experiment.bootstrap,
        seeds=experiment.seeds,
        singles=singles,
        references=references(experiment),
        baselines=baselines(experiment),
        learners=learners_of_all(experiment),
        stopped=stopped,
        counted_from=counted_from,
    )
    forgotten = Forgotten(experiment, stopped, counted_from)
    scenarios = frequent_scenarios(run, experiment.keys, MOST_SCENARIOS)
    by_scenario = ByScenario(
        scenarios,
        experiment,
        singles=singles,
        baselines=baselines(experiment),
        stopped=stopped,
        counted_from=counted_from,
    )
    search = {arm.arm for period in periods for arm in period.arms if arm.reads}
    as_served = AsServed(run, experiment, stopped, counted_from, search) if experiment.staleness else None
    results: list[Result] = []
    measured: dict[ArmAndSeed, Cells] = {who: {} for who in experiment.everyone}
    files = prediction_files(run, experiment.keys)
    for number, of_period in enumerate(files, 1):
        tell(number, len(files))
        for pieces in map(scored, read_period(of_period)):
            for its in pieces:
                p = its.p
                cells = measured.setdefault((p.arm, p.seed), {})
                cell = (p.trained_through, p.evaluated_on, p.holdout)
                if cell in cells:
                    raise DataError(
                        f"{run}: predictions of {p.arm} (seed {p.seed}) for {cell} are stored twice; run again"
                    )
                numbers = list(quality(its, scenarios))
                results += numbers
                cells[cell] = {r.metric: r.value.value for r in numbers if r.slice == "all"}
            by_scenario.add(pieces)
            if pieces[0].p.holdout:
                forgotten.add(pieces)
            else:
                results += prequential.add(pieces)
                if as_served:
                    as_served.add(pieces)
    if not any(measured.values()):
        raise DataError(f"{run}: holds no predictions; the run has not come to the period that it predicts")
    last = max(period for cells in measured.values() for _, period, _ in cells)
    results += prequential.results(measured, last)
    results += by_scenario.results([*measured], last)
    results += recovery_results(experiment, prequential, last)
    arms = {who: cells for who, cells in measured.items() if who[0] != BEST_ATTAINABLE}
    results += [] if as_served is None else as_served.results([*arms], last)
    results += holes(arms, stopped)
    results += continual_results(arms, stopped, experiment, last, counted_from, forgotten.intervals())
    results += forgotten.results(last, prequential.gaps())
    for period in periods:
        results += cost_results(period)
    if serving is not None:
        results += serving_results(serving, last)
    what = About(
        data=experiment.data, yardsticks=experiment.yardsticks, counted_from=counted_from, tuned_on=experiment.tuned_on
    )
    table = to_table(results, run.name, what)
    if keep:
        write_parquet(run.results, table)
    return table


def add_serving(run: RunFolder, results: pa.Table) -> pa.Table:
    """Put what the last load test measured into results of predictions, which it does not change."""
    serving = read_serving(run)
    assert serving is not None, f"{run} was not served"
    last = pc.max(results.column("evaluated_on")).as_py()
    fresh = to_table(list(serving_results(serving, last)), run.name, about(results))
    others = results.filter(~pc.field("metric").isin(SERVED))
    table = sorted_by_keys(pa.concat_tables([others, fresh]))
    write_parquet(run.results, table)
    return table
