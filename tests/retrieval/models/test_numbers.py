"""Models that read older rows where some fields are numbers: the row's own count, a neighbour's are bins."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from pkb.bases import KNOWLEDGE_BASES
from pkb.batch import Batch
from pkb.step import Optimiser, click_loss
from retrieval.field_match import FieldMatchIndex
from retrieval.models import RETRIEVAL_MODELS
from retrieval.pool import Pool
from tests.pkb.backbones.check_backbone import IDS, Case, make_rows, stir
from tests.pkb.base_case import SCHEMA as BASE_SCHEMA
from tests.pkb.base_case import Case as BaseCase
from tests.pkb.base_case import compress, losses_of
from tests.pkb.neighbours import make_neighbours
from tests.pkb.test_numbers_contract import NUMERIC, moved


def met_rows(retriever: str | None) -> Batch:
    rows = make_rows(48, schema=NUMERIC)
    near = make_neighbours(rows, schema=NUMERIC)
    return replace(rows, neighbours={retriever or "": near})


@pytest.mark.parametrize("name", RETRIEVAL_MODELS)
def test_a_model_learns_and_its_score_depends_on_the_number(name: str) -> None:
    model = RETRIEVAL_MODELS[name]
    made, rows = Case(model, schema=NUMERIC).make(), met_rows(model.retriever)
    optimiser = Optimiser(made, embedding_learning_rate=0.3)
    losses = [optimiser.step(click_loss(made, rows), len(rows)) for _ in range(20)]
    assert losses[-1] < losses[0]
    stir(made).eval()
    assert not torch.equal(made(rows), made(moved(rows, 0.05)))
    blank = replace(rows, neighbours={})
    assert made(blank).isfinite().all()


@pytest.mark.parametrize("teacher", RETRIEVAL_MODELS)
def test_a_base_that_is_taught_compresses_rows_with_numbers(teacher: str) -> None:
    model = RETRIEVAL_MODELS[teacher]
    case = BaseCase(base=KNOWLEDGE_BASES["rok"], teacher=model)
    base = case.make(schema=replace(BASE_SCHEMA, fields=NUMERIC.fields))
    rows = met_rows(model.retriever)
    before = losses_of(base, rows, "imitation")["total"]
    compress(base, rows, steps=10, stages=["imitation"])
    assert losses_of(base, rows, "imitation")["total"] < before
    known, other = base.knowledge(rows), base.knowledge(moved(rows, 0.05))
    assert any(not torch.equal(known[part], other[part]) for part in known)


def test_a_search_asks_with_a_number_by_its_bin() -> None:
    rows = make_rows(60, schema=NUMERIC)
    rows = replace(rows, ids_BF=rows.ids_BF.clone())
    rows.ids_BF[:, :4] = IDS + torch.arange(240, dtype=torch.int32).view(60, 4)  # nothing else is shared
    pool = Pool(NUMERIC)
    search = FieldMatchIndex(pool, ["price"])
    pool.append(rows, start=0, end=60)
    search.extend()
    found = search.search(replace(rows, ts=None), 5, until=60).rows_BK
    price = rows.ids_BF[:, NUMERIC.names.index("price")]
    older = pool.take(found).ids_BF[:, NUMERIC.names.index("price")].view(60, 5)
    there = found >= 0
    assert there[:, 0].all()
    assert torch.equal(older[there], price.unsqueeze(1).expand(60, 5)[there])
