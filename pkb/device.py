"""Where models train and predict, and in which precision: the one place that moves batches and chooses autocast."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from pkb.batch import Batch
from pkb.errors import SettingError


@dataclass(frozen=True, kw_only=True)
class Device:
    """A processor or a GPU; dense layers train in bfloat16 there, or in float32."""

    name: str = "cpu"
    bfloat16: bool = False

    @classmethod
    def choose(cls, device: str, precision: str) -> Device:
        """Resolve `auto`: a GPU where there is one, and bfloat16 where the device multiplies in it.

        SettingError where `cuda` is asked for and there is none.
        """
        there = torch.cuda.is_available()
        if device == "cuda" and not there:
            raise SettingError("device=cuda: torch finds no GPU here; write cpu or auto")
        name = "cuda" if device != "cpu" and there else "cpu"
        multiplies = torch.cuda.is_bf16_supported() if name == "cuda" else torch.cpu._is_avx512_bf16_supported()
        return cls(name=name, bfloat16=precision == "bfloat16" or (precision == "auto" and multiplies))

    def place(self, batch: Batch) -> Batch:
        """Move the rows to the device; rows that are there already are returned as they are."""
        return batch if batch.ids_BF.device.type == self.name else batch.to(self.name)

    def autocast(self) -> torch.autocast:
        """Open the context in which a training step computes its logits."""
        return torch.autocast(self.name, torch.bfloat16, enabled=self.bfloat16)


CPU = Device()
