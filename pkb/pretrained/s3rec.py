"""S3-Rec: sequences, items and attributes tell each other apart by what they share (Zhou et al., CIKM 2020, section 4).

    AAP   an item's own embedding tells its attributes
    MIP   what is said at a hidden place tells the item
    MAP   what is said at a hidden place tells the item's attributes
    SP    a sequence with a segment hidden tells that segment
    L = 0.2 AAP + MIP + MAP + 0.5 SP, each by InfoNCE on a bilinear form (the weights are the authors' code's)

Attributes are the other histories: of a behaviour that is missing in one of them that one tells nothing, and a log with
histories of items alone has MIP and SP. A segment is half of the places, one behind the other, and is told from those
of the other users in the minibatch. The encoder stays bidirectional in fine-tuning: all that it reads lies in the past.

Shapes: B users, H behaviours, S = H + 1 places, D width, M places.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from pkb.batch import MISSING, Batch, Schema
from pkb.pretrained.base import Pretrained, PretrainingSettings, nothing_to_learn
from pkb.pretrained.encoder import told_apart


class S3Rec(Pretrained):
    @dataclass(frozen=True, kw_only=True)
    class Settings(PretrainingSettings):
        aap: float = 0.2
        mip: float = 1.0
        map: float = 1.0
        sp: float = 0.5

    def __init__(self, schema: Schema, settings: Settings) -> None:
        super().__init__(schema, settings)
        names = ["mip", "sp", *(("aap", "map") if self.attributes else ())]
        self.forms = nn.ModuleDict({name: nn.Linear(settings.width, settings.width, bias=False) for name in names})

    def compression_only(self) -> list[nn.Module]:
        return [self.forms]

    def compression_losses(self, batch: Batch, stage: str) -> dict[str, Tensor]:
        """All four tasks, each a sum over what is guessed by the rows of the minibatch."""
        rows = self.of_users(batch)
        losses = {name: nothing_to_learn(batch) for name in self.forms}
        if len(rows):
            losses |= self._of_places(rows) | {"sp": self._of_segments(rows)}
            losses = {name: loss / len(batch) for name, loss in losses.items()}
        total = torch.stack([getattr(self.settings, name) * loss for name, loss in losses.items()]).sum()
        return {"total": total, **losses}

    def _of_places(self, rows: Batch) -> dict[str, Tensor]:
        """AAP, MIP and MAP."""
        puzzle, (name, column) = self.puzzle(rows), self.clicks
        ids_BH = rows.histories[name]
        said_MD = puzzle.said(self.encode(rows, puzzle.present_BH, puzzle.hidden_BH))
        losses = {"mip": self.guessed(self.forms["mip"](said_MD), puzzle.of(ids_BH), ids_BH, column).sum()}
        for attribute, its_column in self.attributes:
            its_BH = _as_long(rows.histories[attribute], ids_BH.shape[1])
            for task, vectors, wanted in (
                ("map", said_MD, puzzle.of(its_BH)),
                ("aap", self.table.look_up(ids_BH, column).flatten(0, 1), (its_BH * (ids_BH != MISSING)).flatten()),
            ):
                told = wanted != MISSING
                if told.any():
                    said = self.forms[task](vectors[told])
                    loss = self.guessed(said, wanted[told], its_BH, its_column).sum()
                    losses[task] = losses[task] + loss if task in losses else loss
        return losses

    def _of_segments(self, rows: Batch) -> Tensor:
        """SP, of users with two clicks or more."""
        present_BH = rows.histories[self.clicks[0]] != MISSING
        rows = rows.select(present_BH.sum(dim=1) > 1)
        if not len(rows):
            return nothing_to_learn(rows)
        present_BH = rows.histories[self.clicks[0]] != MISSING
        place_BH, length_B1 = present_BH.cumsum(dim=1) - 1, present_BH.sum(dim=1, keepdim=True)
        half_B1 = length_B1 // 2
        first_B1 = (torch.rand(half_B1.shape, device=half_B1.device) * (length_B1 - half_B1 + 1)).long()
        within_BH = present_BH & (place_BH >= first_B1) & (place_BH < first_B1 + half_B1)
        around_BD = self.forms["sp"](self.encode(rows, present_BH, within_BH)[:, 0])
        segment_BD = self.encode(rows, within_BH)[:, 0]
        itself_BB = torch.eye(len(rows), dtype=torch.bool, device=segment_BD.device)
        return told_apart(around_BD, segment_BD, segment_BD, itself_BB).sum()


def _as_long(ids_BH: Tensor, length: int) -> Tensor:
    """The same history in so many columns; what is not there is missing."""
    return nn.functional.pad(ids_BH[:, :length], (0, max(0, length - ids_BH.shape[1])), value=MISSING)
