"""Models that read older rows, with fields of every kind: a row is read whole, a neighbour by its ids."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from pkb.bases import KNOWLEDGE_BASES
from pkb.batch import MISSING, Batch
from pkb.step import Optimiser, click_loss
from retrieval.field_match import FieldMatchIndex
from retrieval.models import RETRIEVAL_MODELS
from retrieval.pool import Pool
from tests.pkb.backbones.check_backbone import IDS, Case, make_rows, stir
from tests.pkb.base_case import SCHEMA as BASE_SCHEMA
from tests.pkb.base_case import Case as BaseCase
from tests.pkb.base_case import compress, losses_of
from tests.pkb.neighbours import make_neighbours
from tests.pkb.test_kinds_contract import OF_EVERY_KIND, moved, with_other_tags, with_other_text


def met_rows(retriever: str | None) -> Batch:
    rows = make_rows(48, schema=OF_EVERY_KIND)
    near = make_neighbours(rows, schema=OF_EVERY_KIND)
    return replace(rows, neighbours={retriever or "": near})


@pytest.mark.parametrize("name", RETRIEVAL_MODELS)
def test_a_model_learns_and_its_score_depends_on_fields_of_every_kind(name: str) -> None:
    model = RETRIEVAL_MODELS[name]
    made, rows = Case(model, schema=OF_EVERY_KIND).make(), met_rows(model.retriever)
    optimiser = Optimiser(made, embedding_learning_rate=0.3)
    losses = [optimiser.step(click_loss(made, rows), len(rows)) for _ in range(20)]
    assert losses[-1] < losses[0]
    stir(made).eval()
    for other in (moved(rows, 0.05), with_other_tags(rows), with_other_text(rows)):
        assert not torch.equal(made(rows), made(other))
    blank = replace(rows, neighbours={})
    assert made(blank).isfinite().all()


@pytest.mark.parametrize("teacher", RETRIEVAL_MODELS)
def test_a_base_that_is_taught_compresses_rows_with_fields_of_every_kind(teacher: str) -> None:
    model = RETRIEVAL_MODELS[teacher]
    case = BaseCase(base=KNOWLEDGE_BASES["rok"], teacher=model)
    base = case.make(schema=replace(BASE_SCHEMA, fields=OF_EVERY_KIND.fields))
    rows = met_rows(model.retriever)
    before = losses_of(base, rows, "imitation")["total"]
    compress(base, rows, steps=25, stages=["imitation"])
    assert losses_of(base, rows, "imitation")["total"] < before
    known = base.knowledge(rows)
    for change in (moved(rows, 0.05), with_other_tags(rows), with_other_text(rows)):
        other = base.knowledge(change)
        assert any(not torch.equal(known[part], other[part]) for part in known)


@pytest.mark.parametrize("field", ["tags", "price", "text"])
def test_a_search_asks_with_a_lists_first_value_a_numbers_bin_and_whether_there_is_a_vector(field: str) -> None:
    rows = make_rows(60, schema=OF_EVERY_KIND)
    rows = replace(rows, ids_BF=rows.ids_BF.clone())
    rows.ids_BF[:, :4] = IDS + torch.arange(240, dtype=torch.int32).view(60, 4)  # nothing else is shared
    pool = Pool(OF_EVERY_KIND)
    search = FieldMatchIndex(pool, [field])
    pool.append(rows, start=0, end=60)
    search.extend()
    found = search.search(replace(rows, ts=None), 5, until=60).rows_BK
    asked = rows.ids_BF[:, OF_EVERY_KIND.names.index(field)]
    older = pool.take(found).ids_BF[:, OF_EVERY_KIND.names.index(field)].view(60, 5)
    there = found >= 0
    assert torch.equal(there[:, 0], asked != MISSING)
    assert torch.equal(older[there], asked.unsqueeze(1).expand(60, 5)[there])
