"""A run folder with a checkpoint and its stored predictions, made without a training group."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from simulator.arms import Contender
from simulator.book import Book
from simulator.settings import ArmSettings, ServeSettings, Settings
from simulator.stream.holdout import holdout_mask
from simulator.stream.log import Log
from simulator.stream.shown import Activity, shown
from simulator.train.checkpoint import checkpoint_bytes, save_contenders
from tests.simulator.tiny import tiny_log, tiny_settings


@dataclass(frozen=True, kw_only=True)
class TrainedRun:
    run: Path
    settings: Settings
    checkpoint: Path
    log: Log


def trained_run(folder: Path, serve: ServeSettings, *, stopped: str | None = None) -> TrainedRun:
    """Two arms through two periods; the arm named `stopped` has diverged in the last one."""
    log = tiny_log(folder / "data" / "tiny", periods=2)
    arms = {"frozen": ArmSettings(policy="frozen"), "finetune": ArmSettings(policy="finetune")}
    settings = replace(tiny_settings(folder, arms=arms), serve=serve)
    run, checkpoint = folder / "runs" / "tiny", folder / "runs" / "tiny" / "checkpoints" / "period-00001"
    contenders = [Contender(arm, 0, settings, log.schema) for arm in arms]
    last = log.periods[-1]
    for contender in contenders:
        for period in log.periods[: 1 if contender.arm == "frozen" else 2]:
            rows = log.read(period)
            held = holdout_mask(rows, settings.stream.holdout_share)
            contender.fit(rows.select(~held), period)
    rows = log.read(last)
    now = shown(rows, log.schema, last.start, log.vocabulary_before(last), Activity().counts())
    holdout = now.select(holdout_mask(rows, settings.stream.holdout_share))
    book = Book(last, now, gap_seconds=0.0, since=0.0)
    for contender in contenders:
        if contender.arm == stopped:
            contender.stopped = "loss was nan while learning period 1, step 0"
            continue
        probability = contender.predict(holdout.rows)
        book.predicted(contender.arm, 0, 1, 1, holdout, probability, holdout=True)
    save_contenders(checkpoint, contenders, settings, log.schema)
    book.write(run, contenders, {c.key: checkpoint_bytes(checkpoint, c) for c in contenders})
    return TrainedRun(run=run, settings=settings, checkpoint=checkpoint, log=log)
