"""A run folder with checkpoints and their stored predictions, made without a group of workers."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from simulator.contender.checkpoint import save_contender
from simulator.contender.contender import Contender
from simulator.contender.learning import fit
from simulator.contender.settings import ArmSettings
from simulator.describe import describe
from simulator.loop.book import Book
from simulator.loop.commit import arm_costs
from simulator.loop.finder import Finder
from simulator.plays import play_of
from simulator.record.experiment import write_experiment
from simulator.record.files import write_text
from simulator.record.layout import RunFolder
from simulator.serve.settings import ServeSettings
from simulator.settings import Settings
from simulator.stream.holdout import holdout_mask
from simulator.stream.log import Log
from simulator.stream.shown import Activity, shown
from tests.simulator.tiny import tiny_settings


@dataclass(frozen=True, kw_only=True)
class TrainedRun:
    run: RunFolder
    settings: Settings
    log: Log


def trained_run(folder: Path, serve: ServeSettings, *, stopped: str | None, log: Log) -> TrainedRun:
    """Two arms and a yardstick through two periods; the arm named `stopped` has diverged in the last one."""
    arms = {"frozen": ArmSettings(policy="frozen"), "finetune": ArmSettings(policy="finetune")}
    settings = replace(tiny_settings(folder, arms=arms), serve=serve, yardsticks=["popularity"])
    run = RunFolder(folder / "runs" / "tiny")
    play = play_of(settings)
    contenders = {recipe.name: Contender(recipe, log.schema) for recipe in play.recipes}
    last = log.periods[-1]
    for arm, contender in contenders.items():
        for period in log.periods[: 1 if arm == "frozen" else 2]:
            rows = log.read(period)
            held = holdout_mask(rows, settings.stream.holdout_share)
            fit(contender, rows.select(~held), period)
    rows = log.read(last)
    now = shown(rows, log.schema, last.start, log.vocabulary_before(last), Activity().counts())
    holdout = now.select(holdout_mask(rows, settings.stream.holdout_share))
    book = Book(run, last, now, gap_seconds=0.0, since=0.0)
    finder = Finder(play.retrieval, log.schema, [])
    for arm, contender in contenders.items():
        if arm == stopped:
            contender.stop("loss was nan while learning period 1, step 0")
        else:
            book.predicted((arm, 0), 1, 1, holdout, contender.predict(holdout.rows), holdout=True)
        written = save_contender(run.checkpoint(contender.key, 1), contender, 1)
        book.write(arm_costs(contender, finder, finder.sizes(), written, {}), contender.key)
        write_text(run.committed_file(contender.key), "1")
    write_experiment(run, describe(settings, "tiny"))
    return TrainedRun(run=run, settings=settings, log=log)
