from __future__ import annotations

import math
from dataclasses import replace

import torch

from pkb.plug import Plugged, Sockets
from retrieval.models.rim import RIM
from tests.pkb.backbones.lively import lively
from tests.retrieval.models.rows import absent, make_met_rows, with_neighbours

ROWS = make_met_rows("field_match", 8)
NEAR = ROWS.neighbours["field_match"]


def dot(a: list[float], b: list[float]) -> float:
    return sum(x * y for x, y in zip(a, b, strict=True))


def test_what_is_aggregated_is_the_mean_of_neighbours_and_labels_weighted_by_attention() -> None:
    model = lively(RIM, width=3)
    aggregated = model.aggregated(ROWS)
    assert aggregated.shape == (8, model.aggregated_vectors, model.embedding_width) == (8, 5, 3)
    vectors, labels = model.table.weight.tolist(), model.labels.weight.tolist()
    queries = model.query(model.table(ROWS).flatten(1)).tolist()
    for row, query in enumerate(queries):
        found = [k for k in range(NEAR.present_BK.shape[1]) if NEAR.present_BK[row, k]]
        flat = {k: [number for value in NEAR.ids_BKF[row, k].tolist() for number in vectors[value]] for k in found}
        scores = {k: math.exp(dot(query, flat[k])) for k in found}
        expected = [0.0] * 15
        for k in found:
            whole = flat[k] + labels[int(NEAR.label_BK[row, k])]
            expected = [e + scores[k] / sum(scores.values()) * w for e, w in zip(expected, whole, strict=True)]
        torch.testing.assert_close(aggregated[row].flatten(), torch.tensor(expected, dtype=torch.float64))


def test_the_tower_reads_row_aggregate_and_all_pairs_and_the_logit_reads_the_label_again() -> None:
    model = lively(RIM, width=3, hidden=())
    v_BFD, r_BAD = model.table(ROWS), model.aggregated(ROWS)
    for row, logit in enumerate(model(ROWS).tolist()):
        vectors = [*v_BFD[row].tolist(), *r_BAD[row].tolist()]
        products = [dot(vectors[f], vectors[g]) for f in range(9) for g in range(f + 1, 9)]
        inputs = [number for vector in vectors for number in vector] + products
        again = dot(vectors[-1], model.last_of_label.weight[0].tolist())
        expected = dot(inputs, model.tower.last.weight[0].tolist()) + model.tower.last.bias.item() + again
        assert math.isclose(logit, expected, rel_tol=1e-9)


def test_without_neighbours_the_aggregate_is_zero() -> None:
    model = lively(RIM)
    for rows in (replace(ROWS, neighbours={}), with_neighbours(ROWS, "field_match", absent(NEAR))):
        assert not model.aggregated(rows).any()


def test_knowledge_does_not_change_what_is_aggregated() -> None:
    """The attention that a teacher was trained with is the one it teaches."""
    model = lively(RIM, Sockets(fields=2), width=3)
    queries: list[torch.Tensor] = []
    model.query.register_forward_hook(lambda _module, _inputs, output: queries.append(output))
    knowledge = Plugged(fields_BKD=torch.ones(8, 2, 3, dtype=torch.float64))
    assert not torch.isclose(model(ROWS), model(ROWS, knowledge)).any()
    assert torch.equal(queries[0], queries[1])
