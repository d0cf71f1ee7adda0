"""An experiment as whoever measures and reports must know it, from its settings and the registries these name."""

from __future__ import annotations

from dataclasses import replace

from pkb.bases import KNOWLEDGE_BASES
from simulator.config.typed import plain
from simulator.contender.settings import ArmSettings
from simulator.record.experiment import Arm, Experiment
from simulator.record.tuning import untuned
from simulator.settings import Settings
from simulator.stream.features import OF_LIST


def describe(settings: Settings, data_set: str) -> Experiment:
    """Resolve what a run plays, on a data set of this name."""
    arms = {name: describe_arm(arm) for name, arm in settings.arms.items()}
    if settings.tune.against_default:
        arms |= {untuned(name): replace(arm, untuned=True) for name, arm in arms.items()}
    return Experiment(
        name=settings.name,
        data=data_set,
        seeds=list(settings.seeds),
        arms=arms,
        yardsticks=list(settings.yardsticks),
        protocol=settings.stream.protocol,
        holdout_share=settings.stream.holdout_share,
        utc_offset_hours=settings.stream.utc_offset_hours,
        bootstrap=settings.measure.bootstrap,
        by_row=settings.stream.by_row,
        of_lists=[feature.name for feature in settings.stream.derived if feature.kind in OF_LIST],
        tuned_on=settings.tune.periods,
        staleness=settings.measure.staleness if settings.measure.staleness_seconds else None,
    )


def describe_arm(arm: ArmSettings) -> Arm:
    """Resolve one arm, with what only its knowledge base can tell."""
    base = None if arm.knowledge is None else KNOWLEDGE_BASES[arm.knowledge]
    return Arm(
        backbone=arm.backbone,
        policy=arm.policy,
        knowledge=arm.knowledge,
        plug=arm.plug,
        layer=arm.layer,
        width=arm.width,
        epochs=arm.epochs,
        options=plain(arm.options),
        backbone_options=plain(arm.backbone_options),
        control=arm.control,
        restart_at=list(arm.restart_at),
        plug_from=arm.plug_from,
        domains=None if arm.domains == "sub" else arm.domains,
        compress_from=arm.compress_from,
        beside=arm.beside,
        beside_from=arm.beside_from,
        base_is_control=base is not None and base.control,
        remedies={} if base is None else dict(base.remedies),
    )
