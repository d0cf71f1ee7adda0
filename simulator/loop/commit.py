"""How a period becomes part of the run: results first, then the checkpoint, whose registration is the commit."""

from __future__ import annotations

import tempfile
from dataclasses import asdict
from pathlib import Path

import ray.train

from pkb.ranks import Ranks
from simulator.contender.checkpoint import checkpoint_bytes, save_contenders
from simulator.contender.contender import Contender
from simulator.contender.sizes import knowledge_bytes, memory_bytes
from simulator.loop.finder import Finder
from simulator.loop.stages import Stages
from simulator.record.costs import ArmCosts, DenseBuild
from simulator.record.layout import RunFolder
from simulator.stream.log import Period


def commit(run: RunFolder, period: Period, stages: Stages, contenders: list[Contender], ranks: Ranks) -> None:
    """Write the period's results and checkpoint, and report the latter to Ray Train."""
    metrics, name = {"period": period.index}, f"period-{period.index:05d}"
    if not ranks.first:
        ray.train.report(metrics, checkpoint_dir_name=name)
        return
    past = stages.past
    with tempfile.TemporaryDirectory() as aside:
        folder = Path(aside)
        (folder / "period").write_text(str(period.index))
        save_contenders(folder, contenders, past.log.schema)
        if period == past.log.periods[-1]:  # what is served searches what was measured
            for contender in contenders:
                if contender.stopped is None:
                    past.finder.save_index(contender, folder)
        costs = [
            arm_costs(c, past.finder, checkpoint_bytes(folder, c), stages.notes.get(c.key, {})) for c in contenders
        ]
        stages.book.write(run, costs)
        checkpoint = ray.train.Checkpoint.from_directory(str(folder))
        ray.train.report(metrics, checkpoint=checkpoint, checkpoint_dir_name=name)


def arm_costs(contender: Contender, finder: Finder, checkpoint: int, notes: dict[str, float]) -> ArmCosts:
    """Say what a contender keeps and searches at the end of a period."""
    return ArmCosts(
        arm=contender.recipe.name,
        seed=contender.recipe.seed,
        stopped=contender.stopped,
        reads=sorted(contender.reads.predicting),
        knowledge_bytes=knowledge_bytes(contender),
        memory_bytes=memory_bytes(contender) | finder.bytes(contender),
        checkpoint_bytes=checkpoint,
        dense_builds=[DenseBuild(**asdict(build)) for build in finder.builds(contender)],
        notes=notes,
    )
