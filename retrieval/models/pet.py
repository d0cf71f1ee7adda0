"""PET: messages over the graph of a row, the older rows found for it, and the values they share (Du et al.,
NeurIPS 2022).

A row and its neighbours are nodes, and so is each distinct value among them: rows that share a value share its node.
An edge each way joins a row with each of its values. At first a neighbour is the embedding of its label, the row
itself, whose label is not known, is zero; an edge is the embedding, one for each way, of the label of its row.

messages   k, v = linear([h_src * e; h_src]),  q = linear(h_dst)
into a node   g = sum over its edges of softmax(q * k) * v, each channel by itself
new states    h' = W [g; h],  e' = W_e [h'_src; h'_dst; e],  each then through relu, layer norm, dropout
logit = Tower([h of the row after L rounds; v_1 .. v_F])

One set of weights serves both ways, and one layer norm all rounds, as in the authors' code. What the last round would
write and nobody reads is not computed: it sends messages to the row alone. Missing values are no nodes.

Beside that code: it predicts from the row's state alone, here the tower also reads the row's own embeddings, which is
where extra fields and joined embeddings enter; and its tower has batch normalisation.

Shapes: B rows, F fields, N = K + 1 rows of a graph, E edges each way, R = B N rows, M values, D embedding width.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from pkb.backbones.base import Tower
from pkb.batch import MISSING, Batch, Neighbours, Schema
from pkb.embedding import EmbeddingTable
from pkb.errors import SettingError
from pkb.plug import EMPTY, Plugged, Sockets
from pkb.rok.teacher import Teacher
from pkb.space import Dropout
from retrieval.models.neighbourhood import neighbours_of

UNKNOWN = 2  # the row's own label


@dataclass(frozen=True, kw_only=True)
class Graph:
    """The graphs of B rows, side by side. A graph's first row is the one to score."""

    row_E: Tensor  # the ends of each edge
    value_E: Tensor
    label_R: Tensor  # 0, 1 or UNKNOWN
    ids_M: Tensor  # of each value
    column_M: Tensor

    @classmethod
    def around(cls, ids_BF: Tensor, near: Neighbours) -> Graph:
        ids_BNF = torch.cat([ids_BF.unsqueeze(1), near.ids_BKF], dim=1).long()
        present_BNF = ids_BNF != MISSING
        present_BNF[:, 1:] &= near.present_BK.unsqueeze(2)
        graph_E, place_E, column_E = present_BNF.nonzero(as_tuple=True)
        fields, end = ids_BF.shape[1], int(ids_BNF.max()) + 1
        # equal keys are one node: the same value of the same field in the same graph
        key_M, value_E = ((graph_E * fields + column_E) * end + ids_BNF[present_BNF]).unique(return_inverse=True)
        label_BK = near.label_BK.long()
        return cls(
            row_E=graph_E * ids_BNF.shape[1] + place_E,
            value_E=value_E,
            label_R=torch.cat([torch.full_like(label_BK[:, :1], UNKNOWN), label_BK], dim=1).flatten(),
            ids_M=key_M % end,
            column_M=key_M // end % fields,
        )


def edge_softmax(scores_ED: Tensor, into_E: Tensor, nodes: int) -> Tensor:
    """Softmax over the edges into the same node, each channel by itself, [E, D]."""
    into_ED = into_E.unsqueeze(1).expand_as(scores_ED)
    scores_ND = scores_ED.new_zeros(nodes, scores_ED.shape[1])
    largest_ND = scores_ND.scatter_reduce(0, into_ED, scores_ED.detach(), "amax", include_self=False)
    shares_ED = (scores_ED - largest_ND.index_select(0, into_E)).exp()
    return shares_ED / scores_ND.scatter_add(0, into_ED, shares_ED).index_select(0, into_E)


class Messages(nn.Module):
    """From the nodes at one end of the edges into those at the other; h', [N, D]."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.query = nn.Linear(width, width)
        self.key_and_value = nn.Linear(2 * width, 2 * width)
        self.mix = nn.Linear(2 * width, width)  # W

    def forward(self, source_ED: Tensor, edges_ED: Tensor, target_ND: Tensor, into_E: Tensor) -> Tensor:
        keys_ED, values_ED = self.key_and_value(torch.cat([source_ED * edges_ED, source_ED], dim=1)).chunk(2, dim=1)
        scores_ED = self.query(target_ND).index_select(0, into_E) * keys_ED
        messages_ED = edge_softmax(scores_ED, into_E, len(target_ND)) * values_ED
        received_ND = torch.zeros_like(target_ND).index_add(0, into_E, messages_ED.to(target_ND.dtype))
        mixed_ND: Tensor = self.mix(torch.cat([received_ND, target_ND], dim=1))
        return mixed_ND


class PET(Teacher):
    retriever: ClassVar[str] = "field_match"

    @dataclass(frozen=True, kw_only=True)
    class Settings:
        width: int = 16  # embedding width D, of values, labels and edges
        layers: int = 3  # rounds of messages L, one or more
        hidden: tuple[int, ...] = (200, 80)  # widths of the tower
        dropout: Dropout = 0.1  # of states and of the tower

        def __post_init__(self) -> None:
            if self.layers < 1:
                raise SettingError(f"layers={self.layers}: must be 1 or more, a row without messages has no state")

    def __init__(self, schema: Schema, settings: Settings, sockets: Sockets = Sockets()) -> None:
        super().__init__(schema, settings, sockets)
        fields, width = len(schema.fields), settings.width
        self.embedding_width, self.aggregated_vectors = width, 1
        self.table = EmbeddingTable(schema.fields, width)
        self.label_of_row = nn.Embedding(3, width, padding_idx=UNKNOWN)
        self.label_of_edge = nn.Embedding(3, 2 * width, padding_idx=UNKNOWN)  # to the row, then to the value
        self.messages = nn.ModuleList(Messages(width) for _ in range(settings.layers))
        self.edges = nn.ModuleList(nn.Linear(3 * width, width) for _ in range(settings.layers - 1))  # W_e
        self.finish = nn.Sequential(nn.ReLU(), nn.LayerNorm(width), nn.Dropout(settings.dropout))
        number, wide = sockets.around(fields, width)
        self.tower = Tower(width + number * wide, settings.hidden, sockets, dropout=settings.dropout)
        self.hidden_width = self.tower.socket_width

    def forward(self, batch: Batch, plugged: Plugged = EMPTY) -> Tensor:
        v_BFD = self.with_knowledge(self.table(batch), plugged)
        state_BD = self._state(Graph.around(batch.ids_BF, neighbours_of(batch, self.retriever)), len(batch))
        logits: Tensor = self.tower(torch.cat([state_BD, v_BFD.flatten(1)], dim=1), plugged)
        return logits

    def aggregated(self, batch: Batch) -> Tensor:
        """h of the row, [B, 1, D]; zero where it has no neighbours, although a row alone has messages of its own."""
        near = neighbours_of(batch, self.retriever)
        state_BD = self._state(Graph.around(batch.ids_BF, near), len(batch))
        return (state_BD * near.present_BK.any(dim=1, keepdim=True)).unsqueeze(1)

    def _state(self, graph: Graph, graphs: int) -> Tensor:
        """h of each graph's first row after the last round, [B, D]."""
        row_E, value_E = graph.row_E, graph.value_E
        rows_RD, values_MD = self.label_of_row(graph.label_R), self.table.look_up(graph.ids_M, graph.column_M)
        edges_ED = self.label_of_edge(graph.label_R).index_select(0, row_E)
        to_row_ED, to_value_ED = edges_ED.chunk(2, dim=1)
        for messages, edges in zip(self.messages, self.edges, strict=False):
            at_row_ED, at_value_ED = rows_RD.index_select(0, row_E), values_MD.index_select(0, value_E)
            rows_RD = messages(at_value_ED, to_row_ED, rows_RD, row_E)
            values_MD = messages(at_row_ED, to_value_ED, values_MD, value_E)
            at_row_ED, at_value_ED = rows_RD.index_select(0, row_E), values_MD.index_select(0, value_E)
            to_row_ED = self.finish(edges(torch.cat([at_value_ED, at_row_ED, to_row_ED], dim=1)))
            to_value_ED = self.finish(edges(torch.cat([at_row_ED, at_value_ED, to_value_ED], dim=1)))
            rows_RD, values_MD = self.finish(rows_RD), self.finish(values_MD)
        of_a_graph = len(rows_RD) // graphs
        own_E = row_E % of_a_graph == 0
        at_value_ED = values_MD.index_select(0, value_E[own_E])
        state_BD: Tensor = self.finish(
            self.messages[-1](at_value_ED, to_row_ED[own_E], rows_RD[::of_a_graph], row_E[own_E] // of_a_graph)
        )
        return state_BD
