"""A run folder with a checkpoint and its stored predictions, made without a training group."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from simulator.contender.checkpoint import checkpoint_bytes, save_contenders
from simulator.contender.contender import Contender
from simulator.contender.learning import fit
from simulator.contender.settings import ArmSettings
from simulator.loop.book import Book
from simulator.loop.commit import arm_costs
from simulator.loop.finder import Finder
from simulator.plays import play_of
from simulator.record.layout import RunFolder
from simulator.serve.settings import ServeSettings
from simulator.settings import Settings
from simulator.stream.holdout import holdout_mask
from simulator.stream.log import Log
from simulator.stream.shown import Activity, shown
from tests.simulator.tiny import tiny_log, tiny_settings


@dataclass(frozen=True, kw_only=True)
class TrainedRun:
    run: RunFolder
    settings: Settings
    checkpoint: Path
    log: Log


def trained_run(folder: Path, serve: ServeSettings, *, stopped: str | None = None) -> TrainedRun:
    """Two arms through two periods; the arm named `stopped` has diverged in the last one."""
    log = tiny_log(folder / "data" / "tiny", periods=2)
    arms = {"frozen": ArmSettings(policy="frozen"), "finetune": ArmSettings(policy="finetune")}
    settings = replace(tiny_settings(folder, arms=arms), serve=serve)
    run = RunFolder(folder / "runs" / "tiny")
    checkpoint = run.path / "checkpoints" / "period-00001"
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
    book = Book(last, now, gap_seconds=0.0, since=0.0)
    for arm, contender in contenders.items():
        if arm == stopped:
            contender.stop("loss was nan while learning period 1, step 0")
            continue
        book.predicted(arm, 0, 1, 1, holdout, contender.predict(holdout.rows), holdout=True)
    everyone = list(contenders.values())
    save_contenders(checkpoint, everyone, log.schema)
    finder = Finder(run, play.retrieval, log.schema, everyone)
    book.write(run, [arm_costs(c, finder, checkpoint_bytes(checkpoint, c), {}) for c in everyone])
    return TrainedRun(run=run, settings=settings, checkpoint=checkpoint, log=log)
