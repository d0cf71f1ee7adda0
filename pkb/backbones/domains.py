"""Which domain a row is of, for models that have a network for each of a few.

The field that names it is the one that `domain` names, else `domain`, else the log's scenario. The first domains met,
in the order of their ids, which is that of their first appearance in the log, have a network each; all later ones share
the last.

Shapes: B rows, N domains.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from pkb.batch import MISSING, Batch, Schema
from pkb.errors import SettingError
from pkb.space import Dropout


@dataclass(frozen=True, kw_only=True)
class DomainSettings:
    """What every model of domains can be set to."""

    domain: str = ""  # field that names the domain; if none is named, `domain`, or else the log's scenario
    domains: int = 2  # that have a network each, N
    width: int = 16  # embedding width
    hidden: tuple[int, ...] = (256, 128)
    dropout: Dropout = 0.0

    def __post_init__(self) -> None:
        if self.domains < 2:
            raise SettingError(f"domains={self.domains}: must be at least 2")
        if not self.hidden or min(self.hidden) < 1:
            raise SettingError(f"hidden={self.hidden}: must name at least one layer, each at least 1 wide")


class Domains(nn.Module):
    """The ids of the first N - 1 domains met."""

    ids: Tensor  # [N - 1] int32, MISSING where none was met

    def __init__(self, schema: Schema, settings: DomainSettings, model: str) -> None:
        super().__init__()
        name = settings.domain or ("domain" if "domain" in schema.names else schema.scenario)
        if name not in schema.names:
            what = f"{model}'s domain={name}: is no field" if name else f"{model} needs a field that names the domain"
            raise SettingError(f"{what}; set domain to one of {', '.join(schema.names)}")
        self.column = schema.names.index(name)
        self.register_buffer("ids", torch.full((settings.domains - 1,), MISSING, dtype=torch.int32))

    def meet(self, rows: Batch) -> None:
        """Note the domains of rows that are about to be learned."""
        for one in rows.ids_BF[:, self.column].unique().tolist():
            free = (self.ids == MISSING).nonzero()
            if one != MISSING and len(free) and one not in self.ids.tolist():
                self.ids[free[0]] = one

    def of(self, batch: Batch) -> Tensor:
        """The number of each row's domain, [B], below N; of one that was not met, or is missing, the last."""
        ids_B = batch.ids_BF[:, self.column]
        is_its = (ids_B[:, None] == self.ids) & (self.ids != MISSING)
        return torch.where(is_its.any(dim=1), is_its.int().argmax(dim=1), len(self.ids))
