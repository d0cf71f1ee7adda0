"""How lessons are learned: by how many workers, on what, in which steps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from pkb.errors import SettingError
from pkb.space import Between, OneOf
from simulator.config.checks import above_zero, at_least, between, one_of


@dataclass(frozen=True, kw_only=True)
class TrainSettings:
    device: str = "auto"  # auto, cpu, cuda: where models train and predict
    groups: str = "auto"  # of workers, among which contenders are shared out; auto: one for each core, or a number
    workers: int = 1  # processes of each group, which train the same contenders together
    threads: int = 0  # of torch in each worker; 0: one, or with one group as many as a short trial shows to pay
    # Rows of a minibatch over all workers together; 0: as many as make 128 steps of a lesson.
    batch_size: Annotated[int, OneOf((0, 64, 128, 256, 512, 1024))] = 0
    learning_rate: Annotated[float, Between(1e-4, 1e-2, log=True)] = 1e-3  # of Adam, for the dense parameters
    # Of row-wise Adagrad, for the embedding tables.
    embedding_learning_rate: Annotated[float, Between(0.02, 0.6, log=True)] = 0.1
    # Passes over the rows of a lesson; 0: until its newest rows gain no more, at most 4. Not tuned: what more of them
    # learn by heart costs later than the first periods tell.
    epochs: int = 0
    precision: str = "auto"  # of dense layers in training: float32, bfloat16, or auto: the latter where the CPU has it
    patience: int = 1  # epochs without a better validation AUC that end a lesson (protocol `split`)
    evict_after: int = 0  # an id unseen in so many periods loses its embedding; 0 keeps all
    ledger: bool = False  # write down which rows each rank has learned (folder `ledger` of the run)
    max_failures: int = 3  # restarts of the worker group from the last committed period

    def __post_init__(self) -> None:
        one_of(self, "device", ("auto", "cpu", "cuda"))
        if self.groups != "auto" and not (self.groups.isdecimal() and int(self.groups)):
            raise SettingError(f"groups={self.groups}: write auto, or a number of at least 1")
        at_least(self, "workers", 1)
        at_least(self, "threads", 0)
        between(self, "batch_size", 0, 2**31 - 1)
        above_zero(self, "learning_rate")
        above_zero(self, "embedding_learning_rate")
        at_least(self, "epochs", 0)
        one_of(self, "precision", ("auto", "float32", "bfloat16"))
        at_least(self, "patience", 1)
        at_least(self, "evict_after", 0)
        at_least(self, "max_failures", 0)
