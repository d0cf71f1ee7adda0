"""What the loop plays: contenders, and the settings that they share."""

from __future__ import annotations

from dataclasses import dataclass

from retrieval.indexed_pool import RetrievalSettings
from simulator.contender.recipe import Recipe
from simulator.contender.settings import CompressSettings
from simulator.measure.settings import MeasureSettings
from simulator.stream.settings import StreamSettings
from simulator.train.settings import TrainSettings


@dataclass(frozen=True, kw_only=True)
class Play:
    """One experiment, as far as the loop over periods is concerned."""

    recipes: tuple[Recipe, ...]  # of the contenders, in the order in which they play
    stream: StreamSettings
    train: TrainSettings
    compress: CompressSettings
    retrieval: RetrievalSettings
    measure: MeasureSettings
    learns_last: bool = True  # the last period too, of which nothing more will be asked where arms are tuned
