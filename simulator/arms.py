"""What an arm is made of, resolved from the settings, and what of it cannot be."""

from __future__ import annotations

import re
from typing import Any

from pkb.backbones.base import FittedBackbone
from pkb.bases import KNOWLEDGE_BASES
from pkb.errors import SettingError
from pkb.plug import INTO_USE, WEIGHTS
from retrieval.models import RETRIEVAL_MODELS
from simulator.config.checks import among
from simulator.config.typed import plain, typed
from simulator.contender.models import MODELS
from simulator.contender.searching import encodes
from simulator.contender.settings import CENTER, ArmSettings
from simulator.policies import POLICIES
from simulator.record.tuning import untuned
from simulator.sections import Sections


def backbone_settings(settings: Sections, arm: str) -> Any:
    """Resolve the settings of an arm's click model, at the arm's width; SettingError names a wrong option."""
    choice = settings.arms[arm]
    common = getattr(settings.backbones, choice.backbone)
    own = choice.backbone_options | ({} if choice.width is None else {"width": choice.width})
    return typed(type(common), plain(common) | own, at=f"arms.{arm}.backbone_options") if own else common


def knowledge_settings(settings: Sections, arm: str, *, second: bool = False) -> Any:
    """Resolve the settings of an arm's knowledge base, or of its second one; SettingError names a wrong option."""
    choice = settings.arms[arm]
    name, options = (choice.beside, choice.beside_options) if second else (choice.knowledge, choice.options)
    common = getattr(settings.knowledge, name or "")
    return typed(type(common), plain(common) | options, at=f"arms.{arm}.{'beside_' if second else ''}options")


def check_layers(key: str, backbone: Any) -> None:
    """Hold the settings that click models have in common to what a layer can be; their own they check themselves."""
    hidden = getattr(backbone, "hidden", ())
    for name, widths in (("width", [getattr(backbone, "width", 1)]), ("hidden", hidden)):
        if any(width < 1 for width in widths):
            raise SettingError(f"{key}.{name}={getattr(backbone, name)}: must be at least 1")
    dropout = getattr(backbone, "dropout", 0.0)
    if not 0 <= dropout < 1:
        raise SettingError(f"{key}.dropout={dropout}: must be at least 0 and below 1")


def check_arm(settings: Sections, name: str) -> None:
    """Raise SettingError where an arm is of parts that do not go together."""
    arm, key = settings.arms[name], f"arms.{name}"
    if settings.tune.against_default and untuned(name) in settings.arms:
        raise SettingError(f"arms.{untuned(name)}: is what tune.against_default calls {name} untuned; rename it")
    if not re.fullmatch(r"\w[\w.-]*", name, re.ASCII):
        raise SettingError(
            f"{key}: name arms with letters, digits, _, - and . only, and begin with one of the first three"
        )
    among(f"{key}.backbone", arm.backbone, MODELS)
    among(f"{key}.policy", arm.policy, POLICIES)
    model, policy = MODELS[arm.backbone], POLICIES[arm.policy]
    if policy.adds_to_loss and issubclass(model, FittedBackbone):
        raise SettingError(f"{key}.policy={arm.policy}: adds to the loss of a step, but {arm.backbone} takes none")
    if policy.holds_rows_by_place and settings.train.evict_after:
        raise SettingError(f"{key}.policy={arm.policy}: holds rows by their place; set train.evict_after=0")
    if arm.width is not None and not hasattr(model.Settings(), "width"):
        raise SettingError(f"{key}.width={arm.width}: {arm.backbone} has no embedding width")
    if arm.backbone_options:
        check_layers(f"{key}.backbone_options", backbone_settings(settings, name))
    if arm.domains == "all" and not settings.stream.sub_domains:
        raise SettingError(
            f"{key}.domains=all: without stream.sub_domain every arm learns all rows; set it, or leave this out"
        )
    if arm.restart_at:
        _check_change(settings, name, "restart_at", arm.restart_at, arm.restart_at[0])
    if arm.plug_from is not None:
        _check_change(settings, name, "plug_from", arm.plug_from, arm.plug_from)
        if issubclass(model, FittedBackbone):
            raise SettingError(
                f"{key}.plug_from={arm.plug_from}: {arm.backbone} is fitted as a whole, to more columns; leave it out"
            )
    if arm.knowledge is not None:
        among(f"{key}.knowledge", arm.knowledge, KNOWLEDGE_BASES)
        if not model.takes_knowledge and arm.plug != WEIGHTS:
            raise SettingError(f"{key}.knowledge={arm.knowledge}: {arm.backbone} has no place for any; leave it out")
        _check_knowledge(settings, name)


def _check_weights(settings: Sections, name: str) -> None:
    """Hold an arm whose base's network becomes its click model to what can be."""
    arm, key = settings.arms[name], f"arms.{name}.plug={WEIGHTS}"
    own = MODELS[arm.backbone].network_of
    if own != arm.knowledge:
        of_base = [model for model, cls in MODELS.items() if cls.network_of == arm.knowledge]
        remedy = f"choose backbone {of_base[0]}" if of_base else "no backbone is"
        raise SettingError(f"{key}: {arm.backbone} is not the network of {arm.knowledge}; {remedy}")
    at, every = arm.plug_from or 0, settings.compress.every
    if at - at % every - settings.compress.lag < arm.compress_from:
        raise SettingError(
            f"{key}: by plug_from={at} its base has taken in no period (compress_from, compress.lag, compress.every); "
            "name a later one"
        )
    for setting in ("budget.bytes", "retrieval.histories"):
        section, field_name = setting.split(".")
        if getattr(getattr(settings, section), field_name):
            raise SettingError(f"{key}: the model has the base's shapes; leave {setting} out")


def _check_second(settings: Sections, name: str) -> None:
    """Hold an arm's second base to what can stand beside another."""
    arm, key = settings.arms[name], f"arms.{name}.beside"
    assert arm.beside is not None
    among(key, arm.beside, KNOWLEDGE_BASES)
    if issubclass(MODELS[arm.backbone], FittedBackbone):
        raise SettingError(f"{key}={arm.beside}: {arm.backbone} is fitted as a whole, to more columns; leave it out")
    second = knowledge_settings(settings, name, second=True)
    for one, options in ((arm.knowledge or "", knowledge_settings(settings, name)), (arm.beside, second)):
        base = KNOWLEDGE_BASES[one]
        if base.taught or base.searches or base.learns_on_with(options):
            raise SettingError(
                f"{key}={arm.beside}: {one} learns of more than old rows, and stands alone; choose another"
            )
    _check_change(settings, name, "beside_from", arm.beside_from, arm.beside_from or 0)


def _check_change(settings: Sections, name: str, setting: str, value: Any, first: int) -> None:
    """Hold a setting of an arm that changes its model on the way, first in period `first`, to what can be."""
    arm, tuned_on, key = settings.arms[name], settings.tune.periods, f"arms.{name}.{setting}={value}"
    if settings.stream.protocol == "split":
        raise SettingError(f"{key}: leave it out where stream.protocol=split, which has one lesson")
    if not POLICIES[arm.policy].goes_on:
        raise SettingError(f"{key}: policy {arm.policy} never goes on from a model; leave it out, or choose another")
    if first < tuned_on:
        raise SettingError(f"{key}: arms are tuned on periods before {tuned_on}; choose that one or a later one")


def check_changes(settings: Sections, periods: int) -> None:
    """Raise SettingError where an arm's model is to change after the last of so many periods."""
    for name, arm in settings.arms.items():
        for setting, value, last in (
            ("restart_at", arm.restart_at, max(arm.restart_at, default=0)),
            ("plug_from", arm.plug_from, arm.plug_from or 0),
            ("compress_from", arm.compress_from, arm.compress_from),
            ("beside_from", arm.beside_from, arm.beside_from or 0),
        ):
            if last >= periods:
                raise SettingError(f"arms.{name}.{setting}={value}: the log's periods are 0 to {periods - 1}")


def _check_knowledge(settings: Sections, name: str) -> None:
    arm, key = settings.arms[name], f"arms.{name}"
    assert arm.knowledge is not None
    base, options = KNOWLEDGE_BASES[arm.knowledge], knowledge_settings(settings, name)
    if base.taught:
        section = f"{key}.options" if "teacher" in arm.options else f"knowledge.{arm.knowledge}"
        among(f"{section}.teacher", options.teacher, RETRIEVAL_MODELS)
        if encodes(MODELS[arm.backbone]) and encodes(RETRIEVAL_MODELS[options.teacher]):
            raise SettingError(f"{key}: {arm.backbone} and its teacher each search by an encoder; choose one")
    if arm.plug == WEIGHTS:
        _check_weights(settings, name)
    if arm.beside is not None:
        _check_second(settings, name)
    if arm.compress_from and settings.stream.protocol == "split":
        raise SettingError(f"{key}.compress_from={arm.compress_from}: leave it out where stream.protocol=split")
    if POLICIES[arm.policy].adds_to_loss and arm.plug_from is not None and arm.plug not in INTO_USE:
        raise SettingError(
            f"{key}.policy={arm.policy}: holds the model that plug {arm.plug} changes; choose another one"
        )
    if POLICIES[arm.policy].adds_to_loss and base.learns_on_with(options):
        raise SettingError(
            f"{key}.policy={arm.policy}: holds the model alone, but with its options parts of {arm.knowledge} learn on;"
            " choose another policy or other options"
        )
    if arm.source == CENTER and (base.searches or base.learns_on_with(options)):
        why = "searches for every row" if base.searches else "learns on with the backbone under its options"
        raise SettingError(
            f"{key}.source={CENTER}: holds what does not change until the next version, but {arm.knowledge} {why}"
        )
    _check_control(key, arm)


def _check_control(key: str, arm: ArmSettings) -> None:
    """Hold a control to an arm from which it takes something away; else its figure would be noise called a control."""
    bases = {name: KNOWLEDGE_BASES[name] for name in (arm.knowledge, arm.beside) if name}
    names = " and ".join(bases)
    if arm.control == "shuffled" and any(base.searches for base in bases.values()):
        raise SettingError(
            f"{key}.control=shuffled: {names} reads labels when it is used, and none that it has learned"
        )
    if arm.control == "shuffled" and not any(base.learns_labels for base in bases.values()):
        raise SettingError(
            f"{key}.control=shuffled: no labels are learned by {names}, so that the control would be the arm itself; "
            "leave it out, or choose control=untrained"
        )
    if arm.control == "untrained" and not any(base.stages for base in bases.values()):
        raise SettingError(
            f"{key}.control=untrained: nothing is learned by {names}, so that the control would be the arm itself; "
            "leave it out"
        )
