"""Where groups of workers start: spread over the nodes of a cluster by what these have. Ray alone would pack them."""

from __future__ import annotations

from collections.abc import Mapping

import ray
from ray.train import ScalingConfig
from ray.train.v2._internal.execution.callback import ControllerCallback  # what a RunConfig takes as a callback

NODE_ID = "ray.io/node-id"  # a label that Ray gives every node


class Spread(ControllerCallback):
    """Gives the first start of a group its node; a later one goes where Ray finds room, as that node may have died."""

    def __init__(self, group: int) -> None:
        self.group, self.started = group, False

    def on_controller_start_worker_group(
        self, *, scaling_config: ScalingConfig, num_workers: int
    ) -> dict[str, str] | None:
        """Choose the node; None leaves it to Ray."""
        if self.started:
            return None
        self.started, kind = True, "GPU" if scaling_config.use_gpu else "CPU"
        has = {node["NodeID"]: node["Resources"].get(kind, 0.0) for node in ray.nodes() if node["Alive"]}
        node = node_of(self.group, has, num_workers)
        return None if node is None else {NODE_ID: node}


def node_of(group: int, has: Mapping[str, float], workers: int) -> str | None:
    """Deal groups of so many workers out to nodes, in proportion to the cores (or GPUs) that each has.

    None if there is but one node, or no node has room for a whole group.
    """
    places = [((1 + place) / many, node) for node, many in has.items() for place in range(int(many // workers))]
    return sorted(places)[group % len(places)][1] if len(has) > 1 and places else None
