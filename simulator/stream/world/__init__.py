"""A synthetic world with the true probability of every click (docs/world.md).

    presets        the shapes: fields, numbers of users and items, click rates
    population     users, places on the menu and the items that take them
    clock          when requests come
    drift          the named parts of what changes
    liking         what users make of items: the logit of a click
    domains        the sub-domain, where users like what they like elsewhere, more or less
    impressions    who is shown what, and how probable a click is
    clicks         what users have clicked lately
    generation     the raw files, a slice at a time
    truth          the best attainable AUC

All of a world follows from `stream.world`, period by period and slice by slice.
"""

from simulator.stream.world.generation import generate
from simulator.stream.world.presets import PRESETS

__all__ = ["PRESETS", "generate"]
