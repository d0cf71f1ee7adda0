"""Rows of a few scenarios, and models that have met them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch

from pkb.batch import Batch
from pkb.plug import Sockets
from tests.pkb.backbones.check_backbone import IDS, SCHEMA, make_rows, stir

COLUMN = SCHEMA.names.index("hour")
FIRST = SCHEMA.first_value_id  # the first scenario's id; the others' follow


def in_scenarios(scenarios: int, number: int = 32, *, seed: int = 0) -> Batch:
    """Rows that take turns in so many scenarios."""
    rows = make_rows(number, seed=seed)
    rows.ids_BF[:, COLUMN] = FIRST + torch.arange(number, dtype=torch.int32) % scenarios
    return rows


def moved_to(rows: Batch, scenario: int) -> Batch:
    """The same rows, all of one scenario, by its id."""
    ids = rows.ids_BF.clone()
    ids[:, COLUMN] = scenario
    return replace(rows, ids_BF=ids)


def met(backbone: Any, rows: Batch, /, sockets: Sockets = Sockets(), *, lively: bool = True, **settings: Any) -> Any:
    """In double precision and evaluation mode, having met these rows' scenarios; all weights far from zero."""
    torch.manual_seed(0)
    model = backbone(SCHEMA, backbone.Settings(**settings), sockets)
    model.grow(IDS, torch.Generator().manual_seed(0))
    model.meet(rows, torch.Generator().manual_seed(0))
    return (stir(model.double()) if lively else model.double()).eval()
