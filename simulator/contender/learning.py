"""How a contender learns: one lesson at the end of a period, as its policy says."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from functools import partial

import torch
from torch import Tensor

from pkb.backbones.base import ClickModel, FittedBackbone
from pkb.batch import Batch
from pkb.dated import Dated
from pkb.knowledge import KnowledgeBase
from pkb.parameters import tables_of
from pkb.plug import EMPTY, Plugged
from pkb.seeding import derived_seed, generator
from pkb.step import Addition, DivergedError, Optimiser, click_loss
from simulator.contender.contender import Contender
from simulator.contender.pace import MOST_PASSES, Gains, batch_size, newest
from simulator.contender.plugging import plug_in, plug_in_second
from simulator.contender.prediction import Progress
from simulator.policies.base import Rows
from simulator.record.costs import Lesson
from simulator.stream.log import Period
from simulator.train.early_stopping import EarlyStopping

FOREVER = 2**30  # periods
Ledger = Callable[[Tensor], None]  # hears the ids of the rows that this rank learns


def learn(
    contender: Contender,
    now: Period,
    window: range,
    rows: Rows,
    *,
    progress: Progress | None = None,
    ledger: Ledger | None = None,
    validation: Batch | None = None,
) -> None:
    """Meet the end of period `now` as the policy says; `rows` gives what is known of earlier periods."""
    contender.lesson = None
    if now.index in contender.recipe.arm.restart_at:
        contender.start_afresh()
        contender.policy.forget_model()
    if not contender.plugged and now.index >= (contender.recipe.arm.plug_from or 0):
        plug_in(contender)
    if now.index >= (contender.recipe.arm.beside_from or 0):
        plug_in_second(contender)
    lesson = contender.policy.lesson(contender, window, rows)
    if lesson is None:
        return
    if lesson.afresh:
        contender.start_afresh()
    fit(contender, lesson.rows, now, lesson.addition, progress=progress, ledger=ledger, validation=validation)
    contender.policy.finish(contender, lesson, window)


def fit(
    contender: Contender,
    rows: Batch,
    now: Period,
    addition: Addition | None = None,
    *,
    progress: Progress | None = None,
    ledger: Ledger | None = None,
    validation: Batch | None = None,
) -> None:
    """Learn rows at the end of period `now`; with `validation`, stop by its AUC and keep the best epoch.

    Without rows, as when no label has arrived yet, nothing happens.
    """
    if not len(rows):
        return
    check_known(contender, "model", rows, now.start, now.end)
    recipe, model = contender.recipe, contender.model
    make_room(contender, model, rows, now, generator(recipe.seed, "new rows", recipe.arm.backbone, now.index))
    seed_draws(contender, "learn", now)
    if isinstance(model.backbone, FittedBackbone):
        [first, *_] = contender.passes.of_lesson(len(rows), 1, period=now.index)  # a budget may leave some of them
        _fit_whole(contender, model.backbone, rows.select(first.sort().values), progress, ledger)
    else:
        if contender.trained_through < 0:
            model.start_at(rows.label, rows.weight)
        size = batch_size(recipe.train.batch_size, len(rows))
        make_pass = partial(_make_pass, contender, now, size, addition, progress)
        asked = recipe.epochs or (
            MOST_PASSES if validation is not None else _passes_for(contender, rows, now, make_pass)
        )
        module = contender.model_optimiser.module
        stopping = None if validation is None else EarlyStopping(module, recipe.train.patience, validation)
        passes = 0
        for passes, order in enumerate(contender.passes.of_lesson(len(rows), asked, period=now.index), 1):  # noqa: B007
            make_pass(rows, order, ledger)
            if stopping is not None and stopping.stop(contender.predict(stopping.rows)):
                break
        if stopping is not None:
            passes = stopping.restore()
        contender.lesson = Lesson(rows=len(rows), batch_size=size, passes=passes)
    contender.learned(now)


def _passes_for(contender: Contender, rows: Batch, now: Period, make_pass: Callable[[Batch, Tensor], None]) -> int:
    """Say how many passes a lesson has where the settings leave it to the log.

    A model that goes on makes one. One that starts makes as many as were found to pay when the first did: it learned
    all but the newest rows until these gained no more, and forgot that again.
    """
    if contender.trained_through >= 0 or contender.recipe.row_updates:
        return 1
    if contender.passes_at_first is None:
        late = newest(rows, now.start - contender.recipe.label_delay)
        if late is None:
            return 1
        early, judges = rows.select(~late), rows.select(late)
        gains, module, passes = Gains(judges), contender.model_optimiser.module, 0
        start = deepcopy(module.state_dict())
        for order in contender.passes.of_lesson(len(early), MOST_PASSES, period=now.index):
            make_pass(early, order)
            if not gains.more(contender.predict(judges)):
                break
            passes += 1
        module.load_state_dict(start)
        contender.restart_optimiser()
        seed_draws(contender, "learn", now)
        contender.passes_at_first = passes
    return contender.passes_at_first


def _make_pass(
    contender: Contender,
    now: Period,
    size: int,
    addition: Addition | None,
    progress: Progress | None,
    rows: Batch,
    order: Tensor,
    ledger: Ledger | None = None,
) -> None:
    """Make one pass over the rows in this order; each rank learns its share of every minibatch of `size` rows."""
    model, device = contender.model, contender.device
    model.train()
    for step, minibatch in enumerate(rows.minibatches(size, order)):
        part, loss = contender.ranks.share(minibatch), None
        if len(part):
            placed = contender.place(part)
            with device.autocast():
                knowledge = contender.knowledge(placed, learning=True)
            loss = click_loss(model, placed, knowledge, addition, device=device) * (len(part) / len(minibatch))
        take_step(contender.model_optimiser, loss, len(minibatch), f"learning period {now.index}, step {step}")
        if ledger:
            ledger(part.row_id)
        if progress:
            progress(len(minibatch))


def _fit_whole(
    contender: Contender,
    backbone: FittedBackbone,
    rows: Batch,
    progress: Progress | None,
    ledger: Ledger | None,
) -> None:
    """Fit a backbone that takes no steps, alike on every rank: each fits all rows."""
    plugged: Plugged = EMPTY
    known = [contender.knowledge(part) for part in rows.minibatches(contender.recipe.predict_batch_size)]
    if known[0] is not None:
        parts = [part for part in known if part is not None]
        plugged = contender.model.plugged({name: torch.cat([part[name] for part in parts]) for name in parts[0]})
    backbone.fit(rows, plugged)
    if ledger:
        ledger(contender.ranks.share(rows).row_id)
    if progress:
        progress(len(rows))


def take_step(optimiser: Optimiser, loss: Tensor | None, rows: int, where: str) -> None:
    """Take one step; DivergedError says where if the loss is not finite."""
    try:
        optimiser.step(loss, rows)
    except DivergedError as error:
        raise DivergedError(f"{error} while {where}") from None


def check_known(contender: Contender, what: str, rows: Batch, until: int, time: int) -> None:
    """Raise FutureError unless `until` and every row's label lie before `time`."""
    if rows.ts is not None and len(rows):
        until = max(until, int(rows.ts.max()) + 1 + contender.recipe.label_delay)
        if rows.label_ts is not None:
            until = max(until, int(rows.label_ts.max()) + 1)
    Dated(what=f"the {what} of {contender.key}", value=rows, built_until=until).at(time)


def make_room(
    contender: Contender, module: ClickModel | KnowledgeBase, rows: Batch, at: Period, draw: torch.Generator
) -> None:
    """Give every id of the rows a table row of its own, and every scenario its weights.

    What is long unseen loses them if the settings say so. Who learns a sub-domain alone has rows of what it has seen
    there, so that what other domains alone have shown is new to it.
    """
    keep = contender.recipe.train.evict_after
    if isinstance(module, ClickModel) and contender.recipe.learns_sub_domain:
        keep = keep or FOREVER
    if keep:
        ids = rows.unique_ids()
        for table in tables_of(module).values():
            table.renew(ids, now=at.index, keep=keep, generator=draw)
    elif isinstance(module, ClickModel):
        module.backbone.grow(rows.end_of_ids, draw, contender.known)
    else:
        module.grow(rows.end_of_ids, draw)
    if isinstance(module, ClickModel):
        module.backbone.meet(rows, draw)


def seed_draws(contender: Contender, stage: str, period: Period) -> None:
    """Seed dropout and sampled masks: the same for every arm, different on every rank."""
    torch.manual_seed(derived_seed(contender.recipe.seed, stage, period.index, contender.ranks.rank))
