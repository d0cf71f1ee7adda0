"""How a contender's knowledge base takes in what has become old, and how it fares."""

from __future__ import annotations

import torch

from pkb.batch import Batch
from pkb.rok.teacher import Teacher
from pkb.seeding import generator
from simulator.contender.contender import Contender
from simulator.contender.controls import shuffled
from simulator.contender.learning import check_known, make_room, seed_draws, take_step
from simulator.contender.pace import batch_size
from simulator.contender.prediction import Progress
from simulator.measure.ranking import auc
from simulator.stream.log import Period

EXAMINED = 5_000  # rows that tell how a base fares, and how long its knowledge is


def compress(contender: Contender, rows: Batch, old: Period, now: Period, progress: Progress | None = None) -> None:
    """Compress the rows of an old period into the base, if there is one, at the start of `now`."""
    base, recipe = contender.base, contender.recipe
    if base is None:
        return
    check_known(contender, "knowledge base", rows, old.end, now.start)
    draw = generator(recipe.seed, "new rows", recipe.arm.knowledge or "", old.index)
    make_room(contender, base, rows, old, draw)
    base.train()
    seed_draws(contender, "compress", old)
    if recipe.arm.control == "shuffled":
        rows = shuffled(rows, generator(recipe.seed, "shuffled", old.index))
    stages = () if recipe.arm.control == "untrained" else base.stages
    settings = recipe.compress
    passes = contender.passes.of_compression(len(rows), settings.epochs, stages, old=old.index, now=now.index)
    size = batch_size(settings.batch_size, len(rows))
    for stage, order in passes:
        for step, minibatch in enumerate(rows.minibatches(size, order)):
            part, loss = contender.ranks.share(minibatch), None
            if len(part):
                losses = base.compression_losses(contender.device.place(part), stage)
                loss = losses["total"] * (len(part) / len(minibatch))
            take_step(contender.base_optimiser, loss, len(minibatch), f"compressing period {old.index}, step {step}")
            if progress:
                progress(len(minibatch))
    if len(rows) > 1:
        base.standardise(contender.device.place(some_of(rows)))
    contender.compressed(old)


def examine(contender: Contender, old: Batch, new: Batch) -> dict[str, float]:
    """Measure how the base fares on rows it has compressed (`..._old`) and on the present period's (`..._next`)."""
    if contender.base is None:
        return {}
    figures: dict[str, float] = {}
    for name, rows in (("old", old), ("next", new)):
        if not len(rows):  # the sub-domain may have none in a period
            continue
        sample = some_of(rows)
        found = contender.base.health(contender.device.place(sample))
        teacher = getattr(contender.base, "teacher", None)
        if isinstance(teacher, Teacher):
            found |= _teacher_and_student(contender, teacher, sample)
        figures |= {f"{figure}_{name}": value for figure, value in found.items()}
    return figures


@torch.inference_mode()
def _teacher_and_student(contender: Contender, teacher: Teacher, rows: Batch) -> dict[str, float]:
    """Score the same rows by a base's teacher and by the model that the base is plugged into: AUCs."""
    label = rows.label.numpy()
    taught = teacher.eval()(contender.device.place(rows)).cpu().numpy()
    scores = {"teacher_auc": taught, "student_auc": contender.predict(rows)}
    reached = {name: auc(label, score).value for name, score in scores.items()}
    return {name: value for name, value in reached.items() if value is not None}


def some_of(rows: Batch) -> Batch:
    """Take about `EXAMINED` of the rows, evenly spaced."""
    return rows.select(torch.arange(0, len(rows), max(1, len(rows) // EXAMINED)))
