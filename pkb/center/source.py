"""A version as the source of a model's knowledge."""

from __future__ import annotations

import torch

from pkb.batch import Batch, Schema
from pkb.center.keys import ids_of
from pkb.center.version import Version
from pkb.knowledge import Knowledge, Part


class Cached:
    """Answers from one version, for as long as it lives: a model that is pinned to it keeps its answers."""

    def __init__(self, version: Version, schema: Schema) -> None:
        self.version, self.schema = version, schema

    @property
    def parts(self) -> tuple[Part, ...]:
        return self.version.manifest.parts

    @property
    def built_until(self) -> int | None:
        return self.version.manifest.built_until

    def knowledge(self, batch: Batch) -> Knowledge:
        """Look up what is known of each row's user, item and category."""
        found = self.version.knowledge(*ids_of(batch, self.schema, self.version.manifest.category))
        return {name: torch.from_numpy(values).to(batch.ids_BF.device) for name, values in found.items()}

    def knowledge_with_gradient(self, batch: Batch) -> Knowledge:
        """Answer the same: nothing of it learns."""
        return self.knowledge(batch)
