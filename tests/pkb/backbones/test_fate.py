from __future__ import annotations

from dataclasses import replace

import torch

from pkb.backbones.fate import FATE, Graph
from pkb.batch import MISSING
from tests.pkb.backbones.check_backbone import IDS, SCHEMA, make_rows

IDS_BF = torch.tensor([[7, 20, 0], [7, 21, 30], [8, 21, 31]], dtype=torch.int32)


def model() -> FATE:
    torch.manual_seed(0)
    made = FATE(SCHEMA, FATE.Settings(hide=1.0))
    made.grow(IDS, torch.Generator().manual_seed(0))
    return made.eval()


def test_rows_hear_the_mean_of_their_values_and_values_that_of_their_rows() -> None:
    graph = Graph(IDS_BF)
    values, rows = torch.randn(len(graph.values_N), 4), torch.randn(3, 4)
    of = {int(value): vector for value, vector in zip(graph.values_N, values, strict=True)}
    heard = graph.to_rows(values, graph.edges_BF)
    torch.testing.assert_close(heard[0], (of[7] + of[20]) / 2)  # its third value is missing
    torch.testing.assert_close(heard[2], (of[8] + of[21] + of[31]) / 3)
    told = dict(zip(graph.values_N.tolist(), graph.to_values(rows, graph.edges_BF), strict=True))
    torch.testing.assert_close(told[7], (rows[0] + rows[1]) / 2)
    torch.testing.assert_close(told[31], rows[2])
    assert told[MISSING].abs().sum() == 0


def test_a_graph_knows_the_column_of_each_value() -> None:
    graph = Graph(IDS_BF)
    columns = dict(zip(graph.values_N.tolist(), graph.column_N.tolist(), strict=True))
    del columns[MISSING]  # of any column
    assert columns == {7: 0, 8: 0, 20: 1, 21: 1, 30: 2, 31: 2}


def test_new_values_differ_by_the_company_they_are_found_in() -> None:
    """Two unseen items read the same row of the table, but not the same neighbours."""
    m, rows = model(), make_rows(8)
    ids = rows.ids_BF.clone()
    ids[:4, SCHEMA.item_column], ids[4:, SCHEMA.item_column] = IDS + 1, IDS + 2
    graph = Graph(ids)
    starts = m._embeddings(graph)
    ends = m.extrapolation(starts, graph, graph.edges_BF)
    first, second = ((graph.values_N == value).nonzero().item() for value in (IDS + 1, IDS + 2))
    assert torch.equal(starts[int(first)], starts[int(second)])
    assert not torch.allclose(ends[int(first)], ends[int(second)])


def test_a_hidden_value_starts_from_the_row_for_new_values_of_its_field() -> None:
    m, graph = model().train(), Graph(IDS_BF)
    expected = m.table.weight[(1 + graph.column_N) * (graph.values_N != MISSING)]
    torch.testing.assert_close(m._embeddings(graph), expected)


def test_a_missing_value_says_nothing() -> None:
    m, rows = model(), make_rows(6)
    ids = rows.ids_BF.clone()
    ids[:, 3] = MISSING
    graph = Graph(ids)
    ends = m.extrapolation(m._embeddings(graph), graph, graph.edges_BF)
    assert ends[graph.values_N == MISSING].abs().sum() == 0


def test_a_score_depends_on_no_label() -> None:
    m, rows = model(), make_rows(16)
    assert torch.equal(m(replace(rows, label=1 - rows.label)), m(rows))


def test_a_row_scored_alone_is_the_graph_of_its_own_values() -> None:
    m, rows = model(), make_rows(1)
    together, apart = (
        m.extrapolation(m._embeddings(graph), graph, graph.edges_BF)[graph.place_BF]
        for graph in (Graph(rows.ids_BF), Graph(rows.ids_BF, apart=True))
    )
    torch.testing.assert_close(together, apart)
