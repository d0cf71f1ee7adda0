"""Whether an arm is worth comparing: held against the yardsticks, on a log and on samples of its users.

python -m benchmarks.yardsticks CONFIG [--rows 5000,20000,100000] [key=value ...]

The first arm of the experiment plays every seed, each yardstick the first, one after the other in this process and
without Ray. Samples hold all rows of users drawn by a hash. Means are prequential, over the periods from the third on;
intervals come from redraws of users, and from seeds, as in a report. One line of a Markdown table is printed a log.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from pkb.batch import Batch, Schema
from simulator.contender.contender import Contender
from simulator.contender.learning import learn
from simulator.measure.prequential import Prequential
from simulator.measure.scored import scored
from simulator.plays import recipe_of, yardstick_of
from simulator.record.predictions import Predictions
from simulator.report.words import between, fixed, signed
from simulator.settings import Settings, load
from simulator.stream.ingest import ingest
from simulator.stream.learnable import Learnable
from simulator.stream.log import Log, Period
from simulator.stream.shown import Activity, Shown, shown

REDRAWS = 200
FROM = 2  # the third period
NO_INTERVAL = "no interval"  # too few users to redraw


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", type=Path)
    parser.add_argument("overrides", nargs="*")
    parser.add_argument("--rows", default="", help="sizes of samples beside the whole log")
    given, rest = parser.parse_known_args()
    torch.set_num_threads(1)
    settings = load(given.config, [*given.overrides, *rest])
    log = ingest(settings.stream, settings.ingest, lambda line: None)
    rows = sum(period.rows for period in log.periods)
    columns = ["log", "rows", "AUC", "NE", *(f"minus {name}" for name in settings.yardsticks)]
    say(f"| {' | '.join(columns)} |\n|{'---|' * len(columns)}")
    sizes = [int(size) for size in given.rows.split(",") if size]
    for size in [*(size for size in sizes if size < rows), rows]:
        say(line(settings, log, min(1.0, size / rows)))


def line(settings: Settings, log: Log, share: float) -> str:
    """Play all on a share of the users, and tell what came out."""
    [arm, *_], [first, *_] = settings.arms, settings.seeds
    recipes = [recipe_of(settings, arm, seed) for seed in settings.seeds]
    recipes += [yardstick_of(settings, name) for name in settings.yardsticks]
    everyone = [Contender(recipe, log.schema) for recipe in recipes]
    judge = Prequential(
        replicates=REDRAWS,
        seeds=settings.seeds,
        singles=dict.fromkeys(settings.yardsticks, first),
        references={},
        baselines={},
        learners={},
        stopped={},
        counted_from=FROM,
    )
    learnable, activity, played = Learnable(log, settings.stream), Activity(), 0
    for period in log.periods:
        rows = sampled(log.read(period), log.schema, share)
        if not len(rows):
            continue
        seen = shown(rows, log.schema, period.start, log.vocabulary_before(period), activity.counts())
        if period.index >= FROM:
            played += len(rows)
            list(judge.add(scored(predicted(contender, period, seen) for contender in everyone)))
        activity.add(seen.user, period.end)
        for contender in everyone:
            learn(contender, period, range(period.index, period.index + 1), rows_of(learnable, log, share))
    results = judge.results([(recipe.name, recipe.seed) for recipe in recipes], len(log.periods) - 1)
    whole = {(r.metric, r.arm, r.of): r.value for r in results if r.seed is None or len(settings.seeds) == 1}
    auc, entropy = whole["auc_prequential", arm, None], whole["ne_prequential", arm, None]
    cells = [
        log.manifest.name,
        f"{played:,}",
        f"{fixed(auc.value)} ({between(auc) or NO_INTERVAL})",
        fixed(entropy.value),
    ]
    for name in settings.yardsticks:
        lead = whole["auc_prequential_difference", arm, name]
        cells.append(f"{signed(lead.value)} ({between(lead, sign=True) or NO_INTERVAL})")
    return f"| {' | '.join(cells)} |"


def rows_of(learnable: Learnable, log: Log, share: float) -> Callable[[range], Batch]:
    """Give what may be learned of periods, of this share of the users."""
    return lambda periods: learnable.rows(periods, lambda p: sampled(log.read(p), log.schema, share))


def predicted(contender: Contender, period: Period, seen: Shown) -> Predictions:
    """Predict a period before it is learned."""
    return Predictions(
        arm=contender.recipe.name,
        seed=contender.recipe.seed,
        trained_through=period.index - 1,
        evaluated_on=period.index,
        holdout=False,
        row_id=seen.rows.row_id.numpy(),
        label=seen.rows.label.numpy().astype(np.int8),
        probability=contender.predict_prequentially(period, seen.rows),
        user=seen.user,
        request=None,
        new_user=seen.new_user,
        new_item=seen.new_item,
        no_item=seen.no_item,
        activity=seen.activity,
        scenario=None,
    )


def sampled(rows: Batch, schema: Schema, share: float) -> Batch:
    """Keep the rows of this share of the users."""
    if share >= 1:
        return rows
    user = rows.ids_BF[:, schema.user_column].numpy().astype(np.uint64)
    drawn = (user * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(40)
    return rows.select(torch.from_numpy(drawn / 2**24 < share))


def say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
