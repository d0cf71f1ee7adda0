"""A model whose weights are all far from zero, to hold against its paper's formula."""

from __future__ import annotations

from typing import Any, TypeVar

import torch

from pkb.backbones.base import Backbone
from pkb.plug import Sockets
from tests.pkb.backbones.check_backbone import IDS, SCHEMA, stir

B = TypeVar("B", bound=Backbone)


def lively(backbone: type[B], sockets: Sockets = Sockets(), **settings: Any) -> B:
    """In double precision and evaluation mode; knows the ids below `IDS`."""
    torch.manual_seed(0)
    model = backbone(SCHEMA, backbone.Settings(**settings), sockets)
    model.grow(IDS, torch.Generator().manual_seed(0))
    return stir(model.double()).eval()
