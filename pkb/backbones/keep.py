"""KEEP's extractor as the click model itself: what its pre-training is fine-tuned to (Zhang et al., 2022, section 1).

The paper argues against this way: a model that is trained on and on forgets what it was pre-trained on. With
`plug: weights` it goes on from a base `keep`; without one it is the same network that starts from nothing. Of the
tasks it has the first one alone, and of the base what that needs.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import ClassVar

from torch import Tensor

from pkb.backbones.base import Backbone
from pkb.batch import Batch, Schema
from pkb.keep.keep import KEEP
from pkb.knowledge import KnowledgeBase
from pkb.plug import EMPTY, Plugged, Sockets


class KEEPNetwork(Backbone):
    uses_histories: ClassVar[bool] = True
    takes_knowledge: ClassVar[bool] = False
    network_of: ClassVar[str | None] = "keep"
    embedding_width = hidden_width = 0

    @dataclass(frozen=True, kw_only=True)
    class Settings:
        """As KEEP's; with `plug: weights` those of the base."""

        user_width: int = 48
        width: int = 16
        hidden: tuple[int, ...] = (512, 256, 128, 64)
        attention: tuple[int, ...] = (36,)

    def __init__(self, schema: Schema, settings: Settings, sockets: Sockets = Sockets()) -> None:
        super().__init__(schema, settings, sockets)
        self.task = schema.labels[0]
        shapes = {f.name: getattr(settings, f.name) for f in fields(settings)}
        self.network = KEEP(schema, KEEP.Settings(tasks=(self.task,), **shapes))

    def forward(self, batch: Batch, plugged: Plugged = EMPTY) -> Tensor:
        return self.network.score(batch, self.task)

    def go_on_from(self, base: KnowledgeBase) -> bool:
        assert isinstance(base, KEEP), f"{type(base).__name__} is another base"
        own, number = self.network, base.labels.index(self.task)
        own.table.restore(base.table.rows_in_use())
        for mine, its in (
            (own.interests, base.interests),
            (own.towers[0], base.towers[number]),
            (own.heads[0], base.heads[number]),
        ):
            mine.load_state_dict(its.state_dict())
        return True
