"""Contenders whose knowledge bases are equal to the bit have one between them: it is compressed once, not once each."""

from __future__ import annotations

import json
from collections.abc import Sequence

from pkb.backbones.base import FittedBackbone
from pkb.bases import KNOWLEDGE_BASES
from retrieval.indexed_pool import DENSE
from simulator.config.typed import plain
from simulator.contender.centered import Centered
from simulator.contender.contender import Contender
from simulator.contender.models import MODELS
from simulator.contender.recipe import Recipe
from simulator.contender.searching import reads_of


def base_of(recipe: Recipe) -> str | None:
    """Write down all that decides a recipe's base; None if it has none, or one that is nobody else's.

    A base is a contender's own if parts of it learn on with the backbone, if its rows' neighbours are found by an
    encoder of its own, or if the row updates of compression are counted together with those of lessons.
    """
    arm = recipe.arm
    if arm.knowledge is None or recipe.row_updates or DENSE in reads_of(recipe).all:
        return None
    if KNOWLEDGE_BASES[arm.knowledge].learns_on_with(recipe.base):
        return None
    decides = {
        "seed": recipe.seed,
        "base": (arm.knowledge, arm.control, plain(recipe.base), recipe.teacher and plain(recipe.teacher)),
        "second": (arm.beside, recipe.beside and plain(recipe.beside)),
        "learned by": (plain(recipe.compress), plain(recipe.train), issubclass(MODELS[arm.backbone], FittedBackbone)),
        "rows": (recipe.histories, recipe.label_delay, arm.compress_from),
    }
    return json.dumps(decides)


def share_bases(contenders: Sequence[Contender]) -> None:
    """Give those whose bases are equal, and have come equally far, the base of the first of them."""
    first: dict[tuple[str, int], Contender] = {}
    for contender in contenders:
        name = base_of(contender.recipe)
        if name is None or contender.stopped is not None or contender.base is None:
            continue
        other = first.setdefault((name, contender.compressed_through), contender)
        contender.base, contender.live = other.base, other.live
        if isinstance(contender.source, Centered):
            assert other.live is not None
            contender.source.live = other.live
        else:
            contender.source = other.live
        contender.base_optimiser = other.base_optimiser


def with_one_base(contenders: Sequence[Contender]) -> list[list[Contender]]:
    """Put those with one base together; who has none is left out."""
    together: dict[int, list[Contender]] = {}
    for contender in contenders:
        if contender.base is not None:
            together.setdefault(id(contender.base), []).append(contender)
    return list(together.values())
