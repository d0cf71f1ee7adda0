"""BERT4Rec: hidden clicks are guessed from those before and after them (Sun et al., CIKM 2019).

    L = sum over hidden places of -log softmax(<GELU(W h + b), e_item>)

The softmax is over the true item and some drawn from the minibatch, not over the catalogue, which grows. Of every
sequence the newest click is taken away and guessed by the mask in front, as a row's is to be: the paper does so in
sequences of their own.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from pkb.batch import Batch, Schema
from pkb.pretrained.base import Pretrained, PretrainingSettings, nothing_to_learn


class BERT4Rec(Pretrained):
    @dataclass(frozen=True, kw_only=True)
    class Settings(PretrainingSettings):
        pass

    def __init__(self, schema: Schema, settings: Settings) -> None:
        super().__init__(schema, settings)
        self.guess = nn.Sequential(nn.Linear(settings.width, settings.width), nn.GELU(), nn.LayerNorm(settings.width))

    def compression_only(self) -> list[nn.Module]:
        return [self.guess]

    def compression_losses(self, batch: Batch, stage: str) -> dict[str, Tensor]:
        """The Cloze loss, a sum over hidden places by the rows of the minibatch."""
        rows, (name, column) = self.of_users(batch), self.clicks
        loss = nothing_to_learn(batch)
        if len(rows):
            puzzle, ids_BH = self.puzzle(rows), rows.histories[name]
            said_MD = self.guess(puzzle.said(self.encode(rows, puzzle.present_BH, puzzle.hidden_BH)))
            loss = self.guessed(said_MD, puzzle.of(ids_BH), ids_BH, column).sum() / len(batch)
        return {"total": loss, "cloze": loss}
