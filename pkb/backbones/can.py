"""CAN, co-action network: the target's value is the weights of a small network that reads the behaviours
(Bian et al., WSDM 2022).

co-action = sum_h [out_1, out_2, ...](e_h^1), the same of e_h^2, ...

where out_1, out_2, ... are the outputs of the layers of an MLP with tanh between them and no biases, and the
entries of a vector of the target's value are its weights (eq. 4 to 6). Powers of a behaviour share the weights. The
co-action of every history goes into the tower, beside the fields and the mean of each history.

Behaviours and targets have vectors of their own here, apart from the fields' embeddings, so that memorising pairs does
not disturb those. Each of the three tables has a row for every id of the log: with `units` of the paper's size (16
wide, 8 and 4) a million ids take 640 MB, hence the smaller ones.

Shapes: B rows, F fields, H history length, D embedding width, E width of a behaviour, P powers, U outputs, W weights.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar

import torch
from torch import Tensor

from pkb.backbones.base import Backbone, Tower
from pkb.backbones.sequential import SequentialSettings, history_columns
from pkb.batch import Batch, Schema
from pkb.embedding import EmbeddingTable
from pkb.plug import EMPTY, Plugged, Sockets
from pkb.sequence import Past, mean_behaviour, read_past


def small_networks(inputs_BNE: Tensor, weights_BW: Tensor, units: Sequence[int]) -> Tensor:
    """The outputs of all layers of each row's own network, side by side; N inputs a row -> [B, N, U]."""
    outputs: list[Tensor] = []
    given = inputs_BNE
    for width_in, width_out in pairwise([inputs_BNE.shape[2], *units]):
        layer_BEU, weights_BW = weights_BW[:, : width_in * width_out], weights_BW[:, width_in * width_out :]
        given = torch.bmm(torch.tanh(given) if outputs else given, layer_BEU.reshape(-1, width_in, width_out))
        outputs.append(given)
    return torch.cat([*(torch.tanh(output) for output in outputs[:-1]), outputs[-1]], dim=2)


class CAN(Backbone):
    uses_histories: ClassVar[bool] = True

    @dataclass(frozen=True, kw_only=True)
    class Settings(SequentialSettings):
        behaviour_width: int = 8  # E, inputs of a small network
        units: tuple[int, ...] = (4, 4)  # widths of its layers
        powers: int = 3  # P
        scale: float = 0.3  # standard deviation of new behaviours and weights: those of an ordinary layer, not of an id

    def __init__(self, schema: Schema, settings: Settings, sockets: Sockets = Sockets()) -> None:
        super().__init__(schema, settings, sockets)
        self.histories = history_columns(schema, type(self).__name__)
        self.powers, self.units = settings.powers, settings.units
        fields, width = len(schema.fields), settings.width
        weights = sum(i * o for i, o in pairwise([settings.behaviour_width, *settings.units]))
        self.embedding_width = width
        self.table = EmbeddingTable(schema.fields, width)
        self.behaviours = EmbeddingTable(schema.fields, settings.behaviour_width, scale=settings.scale)
        self.weights = EmbeddingTable(schema.fields, weights, scale=settings.scale)
        of_histories = len(self.histories) * (width + settings.powers * sum(settings.units))
        inputs = (fields + sockets.fields) * (width + sockets.joined) + of_histories
        self.tower = Tower(inputs, settings.hidden, sockets, dropout=settings.dropout)
        self.hidden_width = self.tower.socket_width

    def forward(self, batch: Batch, plugged: Plugged = EMPTY) -> Tensor:
        v_BFD = self.table(batch)
        inputs = [self.with_knowledge(v_BFD, plugged).flatten(1)]
        for name, column in self.histories:
            ids_BH = batch.histories[name]
            inputs.append(mean_behaviour(read_past(self.table, ids_BH, column, v_BFD[:, column])))
            weights_BW = self.weights.look_up(batch.ids_BF[:, column], column)
            inputs.append(self._co_action(read_past(self.behaviours, ids_BH, column, weights_BW)))
        logits: Tensor = self.tower(torch.cat(inputs, dim=1), plugged)
        return logits

    def _co_action(self, past: Past) -> Tensor:
        """Pass behaviours through the network whose weights are the target's, [B, P U]."""
        behaviours_BHE = past.behaviours_BHD  # zeros where nothing is, and a network without biases maps those to zeros
        rows, _, width = behaviours_BHE.shape
        powers_BPHE = torch.stack([behaviours_BHE**power for power in range(1, self.powers + 1)], dim=1)
        outputs_BNU = small_networks(powers_BPHE.reshape(rows, -1, width), past.target_BD, self.units)
        return outputs_BNU.reshape(rows, self.powers, -1, outputs_BNU.shape[2]).sum(dim=2).flatten(1)
