"""FATE, open-world feature extrapolation: values learn from the values they occur with (Wu et al., NeurIPS 2021).

The rows of a batch and the values in them are the two sides of a graph. Messages pass L times from values to rows and
from rows back to values, with means that have no parameters and one matrix P_l a layer:

s_i(l) = P_l [s_i(l-1); mean of w_j(l-1) over the values j of row i],  s(0) = 0
w_j(l) = P_l [w_j(l-1); mean of s_i(l-1) over the rows i with value j],  w(0) = embeddings

and the tower reads sum_j w_j(L). A value that was never learnt so draws on the company it is found in.

Beside the paper: it alternates fast steps of the classifier with slow ones of the graph network, over random
subsets of features; here each minibatch hides a random share of its values, which then start from the row for
new values, as an unseen one does, and one optimiser takes one step.

The graph of a training step is its minibatch. A row that is scored is a graph by itself: the paper scores all test rows
as one graph, which a server that is asked about one user cannot do, and which would let a score depend on its batch.

Shapes: B rows, F fields, K extra fields, N values in the batch, D embedding width, J joined width.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from pkb.backbones.base import Backbone, Tower
from pkb.batch import MISSING, Batch, Schema
from pkb.embedding import EmbeddingTable
from pkb.plug import EMPTY, Plugged, Sockets
from pkb.space import Dropout


class Graph:
    """Which values occur in which rows; a missing value is in none. Rows that stand `apart` share no value."""

    def __init__(self, ids_BF: Tensor, *, apart: bool = False) -> None:
        if apart:
            self.values_N = ids_BF.flatten()
            self.place_BF = torch.arange(ids_BF.numel(), device=ids_BF.device).view_as(ids_BF)
        else:
            self.values_N, self.place_BF = ids_BF.unique(return_inverse=True)
        columns = torch.arange(ids_BF.shape[1], device=ids_BF.device).expand_as(ids_BF).flatten()
        self.column_N = columns.new_zeros(self.values_N.shape[0]).scatter_reduce(
            0, self.place_BF.flatten(), columns, "amax"
        )
        self.edges_BF = (ids_BF != MISSING).float()

    def without(self, share: float) -> Tensor:
        """The edges with a random `share` of them cut, [B, F]."""
        return self.edges_BF * (torch.rand_like(self.edges_BF) >= share)

    def to_rows(self, of_values_ND: Tensor, edges_BF: Tensor) -> Tensor:
        """Mean over the values of each row, [B, D]; zeros without edges."""
        gathered = torch.bmm(edges_BF.unsqueeze(1), of_values_ND[self.place_BF]).squeeze(1)
        return gathered / edges_BF.sum(dim=1, keepdim=True).clamp(min=1)

    def to_values(self, of_rows_BD: Tensor, edges_BF: Tensor) -> Tensor:
        """Mean over the rows of each value, [N, D]; zeros without edges."""
        messages = (edges_BF.unsqueeze(2) * of_rows_BD.unsqueeze(1)).flatten(0, 1)
        place, values = self.place_BF.flatten(), self.values_N.shape[0]
        gathered = messages.new_zeros(values, messages.shape[1]).index_add(0, place, messages)
        edges_N1 = edges_BF.new_zeros(values).index_add(0, place, edges_BF.flatten()).unsqueeze(1)
        return gathered / edges_N1.clamp(min=1)


class Extrapolation(nn.Module):
    """L rounds of messages; [N, D] -> [N, D]. Without biases, so that a missing value stays zero."""

    def __init__(self, width: int, layers: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(2 * width, width, bias=False) for _ in range(layers))

    def forward(self, values_ND: Tensor, graph: Graph, edges_BF: Tensor) -> Tensor:
        rows_BD = values_ND.new_zeros(edges_BF.shape[0], values_ND.shape[1])
        for layer in self.layers:
            to_rows_BD, to_values_ND = graph.to_rows(values_ND, edges_BF), graph.to_values(rows_BD, edges_BF)
            rows_BD = layer(torch.cat([rows_BD, to_rows_BD], dim=1))
            values_ND = layer(torch.cat([values_ND, to_values_ND], dim=1))
        return values_ND


class FATE(Backbone):
    @dataclass(frozen=True, kw_only=True)
    class Settings:
        width: int = 16  # embedding width D
        layers: int = 2  # rounds of messages L
        hidden: tuple[int, ...] = (256, 128)  # widths of the tower
        dropout: Dropout = 0.0  # of the tower
        cut: float = 0.5  # share of the graph's edges that a training step leaves out
        hide: float = 0.1  # share of a minibatch's values that are taken for new ones in training

    def __init__(self, schema: Schema, settings: Settings, sockets: Sockets = Sockets()) -> None:
        super().__init__(schema, settings, sockets)
        self.cut, self.hide = settings.cut, settings.hide
        self.embedding_width = settings.width
        # `hide` does the part of new values
        self.table = EmbeddingTable(schema.fields, settings.width, new_value_rate=0.0)
        self.extrapolation = Extrapolation(settings.width, settings.layers)
        self.tower = Tower(settings.width + sockets.joined, settings.hidden, sockets, dropout=settings.dropout)
        self.hidden_width = self.tower.socket_width

    def forward(self, batch: Batch, plugged: Plugged = EMPTY) -> Tensor:
        graph = Graph(batch.ids_BF, apart=not self.training)
        edges_BF = graph.without(self.cut) if self.training else graph.edges_BF
        values_ND = self.extrapolation(self._embeddings(graph), graph, edges_BF)
        v_BFD = self.with_knowledge(values_ND[graph.place_BF], plugged)
        logits: Tensor = self.tower(v_BFD.sum(dim=1), plugged)
        return logits

    def _embeddings(self, graph: Graph) -> Tensor:
        """w(0), [N, D]; in training some read the row for new values."""
        ids_N = graph.values_N
        if self.training:
            hidden_N = (torch.rand(ids_N.shape, device=ids_N.device) < self.hide) & (ids_N != MISSING)
            ids_N = torch.where(hidden_N, (1 + graph.column_N).to(ids_N.dtype), ids_N)
        return self.table.look_up(ids_N, graph.column_N)
