from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from pkb.batch import MISSING, Batch
from pkb.errors import SettingError
from retrieval.models.pet import PET, UNKNOWN, Messages, edge_softmax
from tests.pkb.backbones.lively import lively
from tests.retrieval.models.rows import make_met_rows, with_neighbours

Node = tuple[str, int, int]  # ("row", place, 0) or ("value", column, id)


def state_of_one(model: PET, batch: Batch, row: int) -> Tensor:
    """The state of one row as the docstring of `PET` tells it: every node and every edge by itself."""
    near = batch.neighbours["field_match"]
    rows, labels = [batch.ids_BF[row].tolist()], [UNKNOWN]
    for ids, label, present in zip(near.ids_BKF[row], near.label_BK[row], near.present_BK[row], strict=True):
        if present:
            rows.append(ids.tolist())
            labels.append(int(label))
    width = model.embedding_width
    states: dict[Node, Tensor] = {}
    edges: dict[tuple[Node, Node], Tensor] = {}  # source, destination
    for place, (ids, label) in enumerate(zip(rows, labels, strict=True)):
        states["row", place, 0] = model.label_of_row.weight[label]
        for column, value in enumerate(ids):
            if value != MISSING:
                states["value", column, value] = model.table.weight[value]
                to_row, to_value = model.label_of_edge.weight[label].split(width)
                edges[("value", column, value), ("row", place, 0)] = to_row
                edges[("row", place, 0), ("value", column, value)] = to_value
    for number, messages in enumerate(model.messages):
        assert isinstance(messages, Messages)
        mixed = {}
        for node, state in states.items():
            sources = [source for source, destination in edges if destination == node]
            received = torch.zeros(width, dtype=torch.float64)
            if sources:
                pairs = [torch.cat([states[s] * edges[s, node], states[s]]) for s in sources]
                keys, values = torch.stack([messages.key_and_value(p) for p in pairs]).chunk(2, dim=1)
                received = ((messages.query(state) * keys).softmax(dim=0) * values).sum(dim=0)
            mixed[node] = messages.mix(torch.cat([received, state]))
        if number < len(model.edges):
            write = model.edges[number]
            edges = {(s, d): model.finish(write(torch.cat([mixed[s], mixed[d], e]))) for (s, d), e in edges.items()}
        states = {node: model.finish(state) for node, state in mixed.items()}
    return states["row", 0, 0]


def rows_with_gaps() -> Batch:
    """Some values are missing."""
    rows = make_met_rows("field_match", 12)
    near = rows.neighbours["field_match"]
    ids_BF, ids_BKF = rows.ids_BF.clone(), near.ids_BKF.clone()
    ids_BF[3:6, 1] = MISSING
    ids_BKF[:, 1, 1] = MISSING
    return with_neighbours(replace(rows, ids_BF=ids_BF), "field_match", replace(near, ids_BKF=ids_BKF))


@pytest.mark.parametrize("layers", [1, 2, 3])
def test_messages_are_those_of_a_graph_of_single_nodes_and_edges(layers: int) -> None:
    model, rows = lively(PET, width=4, layers=layers), rows_with_gaps()
    read: list[Tensor] = []
    model.tower.register_forward_pre_hook(lambda _module, inputs: read.append(inputs[0]))
    model(rows)
    for row in range(len(rows)):
        expected = torch.cat([state_of_one(model, rows, row), model.table(rows)[row].flatten()])
        torch.testing.assert_close(read[0][row], expected)


def test_a_neighbour_that_shares_no_value_is_not_heard() -> None:
    model, rows = lively(PET), make_met_rows("field_match", 12)
    near = rows.neighbours["field_match"]
    shared_BKF = near.ids_BKF == rows.ids_BF.unsqueeze(1)
    stranger = with_neighbours(rows, "field_match", replace(near, ids_BKF=near.ids_BKF * ~shared_BKF))
    torch.testing.assert_close(model(stranger), model(replace(rows, neighbours={})))


def test_a_softmax_over_edges_sums_to_one_at_every_node_however_large_the_scores() -> None:
    scores_ED = 1e4 * torch.randn(20, 3, generator=torch.Generator().manual_seed(0))
    into_E = torch.arange(20) % 4
    shares_ED = edge_softmax(scores_ED, into_E, 5)
    for node in range(4):
        torch.testing.assert_close(shares_ED[into_E == node], scores_ED[into_E == node].softmax(dim=0))


def test_rounds_are_one_or_more() -> None:
    with pytest.raises(SettingError, match="layers=0: must be 1 or more"):
        PET.Settings(layers=0)
