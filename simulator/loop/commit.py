"""How a contender's period becomes part of the run: checkpoint and results first, the number of the period last."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import asdict

from simulator.contender.checkpoint import save_contender
from simulator.contender.contender import Contender
from simulator.contender.sizes import knowledge_bytes, memory_bytes, of_scenario
from simulator.loop.book import write_ledger
from simulator.loop.finder import Finder
from simulator.loop.stages import Stages, who
from simulator.record.costs import ArmCosts, DenseBuild
from simulator.record.files import sync_folder, write_text
from simulator.record.layout import RunFolder
from simulator.stream.log import Period


def commit(run: RunFolder, period: Period, stages: Stages, contender: Contender) -> None:
    """Write what a contender has predicted, cost and become in this period; the last write is the commit."""
    key, past, book = contender.key, stages.past, stages.book
    write_ledger(run, period.index, key, stages.learned.get(key, []), contender.ranks.rank)
    contender.ranks.wait()  # a commit speaks for all ranks
    if not contender.ranks.first:
        contender.committed(period)
        return
    folder = run.checkpoint(key, period.index)
    aside = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(aside, ignore_errors=True)
    checkpoint_bytes = save_contender(aside, contender, period.index)
    if period == past.log.periods[-1] and contender.stopped is None:
        past.finder.save_index(contender, aside)  # what is served searches what was measured
    shutil.rmtree(folder, ignore_errors=True)
    aside.rename(folder)
    sync_folder(folder.parent)
    sizes, notes = past.sizes(contender), stages.notes.get(key, {})
    book.write(arm_costs(contender, past.finder, sizes, checkpoint_bytes, notes), key)
    write_text(run.committed_file(key), str(period.index))
    contender.committed(period)
    run.drop_old_checkpoints(key, period.index)


def arm_costs(
    contender: Contender, finder: Finder, sizes: Mapping[str, int], checkpoint: int, notes: dict[str, float]
) -> ArmCosts:
    """Say what a contender keeps and searches at the end of a period."""
    arm, seed = who(contender)
    return ArmCosts(
        arm=arm,
        seed=seed,
        stopped=contender.stopped,
        reads=sorted(contender.reads.predicting),
        knowledge_bytes=knowledge_bytes(contender),
        memory_bytes=memory_bytes(contender) | finder.bytes(contender, sizes),
        checkpoint_bytes=checkpoint,
        dense_builds=[DenseBuild(**asdict(build)) for build in finder.builds(contender)],
        notes=notes,
        lesson=contender.lesson,
        of_scenario=of_scenario(contender),
    )
