"""What every knowledge base must hold to whenever it is asked what it knows; each check takes one case."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import nn

from pkb.batch import MISSING, Batch
from pkb.source import Live
from tests.pkb.backbones.check_backbone import stir
from tests.pkb.base_case import (
    SCHEMA,
    UNSEEN,
    Case,
    assert_alike,
    assert_other,
    of_rows,
    same_bits,
)


def knowledge_has_the_parts_that_are_declared(case: Case) -> None:
    base, rows = case.make_compressed(), case.queries
    known = base.knowledge(rows)
    names = [part.name for part in base.parts]
    assert list(known) == names
    assert len(set(names)) == len(names) > 0
    for part in base.parts:
        assert known[part.name].shape == (len(rows), part.vectors, part.width)
        assert known[part.name].dtype == torch.float32
        assert known[part.name].isfinite().all()
        assert set(part.fields) <= {*SCHEMA.names, *(h.name for h in SCHEMA.histories)}
        assert not part.of_fields or part.vectors == len(SCHEMA.fields)


def one_row_is_a_batch(case: Case) -> None:
    base = case.make_compressed()
    known = base.knowledge(case.queries.select(slice(1)))
    assert all(known[part.name].shape == (1, part.vectors, part.width) for part in base.parts)


def rows_that_differ_are_told_apart(case: Case) -> None:
    known = case.make_compressed().knowledge(case.queries)
    for name, part in known.items():
        assert part.flatten(1).unique(dim=0).shape[0] > 1, f"{name} is the same for all rows"


def a_part_depends_on_its_fields_alone(case: Case) -> None:
    """Neighbours count too, for a base that searches; those of the row itself are kept here."""
    base, rows, draw = case.make_compressed(), case.queries, torch.Generator().manual_seed(5)
    known = base.knowledge(rows)
    for part in base.parts:
        decides = torch.tensor([name in part.fields for name in SCHEMA.names])
        other_ids = torch.randint(MISSING, UNSEEN, rows.ids_BF.shape, generator=draw, dtype=torch.int32)
        other = Batch(
            row_id=rows.row_id + 1000,
            ids_BF=torch.where(decides, rows.ids_BF, other_ids),
            label=1 - rows.label,
            ts=None,
            histories={name: h if name in part.fields else h.flip(0) for name, h in rows.histories.items()},
            request=rows.row_id // 2,
            p_true=torch.rand(len(rows), generator=draw, dtype=torch.float64),
            neighbours=rows.neighbours if base.searches else {},
        )
        assert_alike({part.name: base.knowledge(other)[part.name]}, {part.name: known[part.name]})


def neighbours_count_if_and_only_if_it_searches(case: Case) -> None:
    base, rows = case.make_compressed(), case.queries
    assert base.retriever is not None or not (base.searches or base.taught)
    alone, known = base.knowledge(replace(rows, neighbours={})), base.knowledge(rows)
    (assert_other if base.searches else assert_alike)(alone, known)


def histories_are_read_only_if_it_says_so(case: Case) -> None:
    """Nobody reads a log's histories for a base that does not ask for them."""
    if not case.base.uses_histories:
        base, rows = case.make_compressed(), case.queries
        assert_alike(base.knowledge(replace(rows, histories={})), base.knowledge(rows))


def it_is_frozen_while_it_is_used(case: Case) -> None:
    base, rows = case.make_compressed(), case.queries
    before = {name: value.clone() for name, value in base.state_dict().items()}
    drawn = torch.get_rng_state()
    said = []
    for training in (False, True, True):
        said.append(base.train(training).knowledge(rows))
        assert base.training == training, "it is left in another mode"
    assert torch.equal(torch.get_rng_state(), drawn), "it draws at random"
    for name, part in said[0].items():
        assert not part.requires_grad
        assert all(same_bits(part, other[name]) for other in said), f"{name} differs from one call to the next"
    assert all(same_bits(value, before[name]) for name, value in base.state_dict().items())
    assert all(p.grad is None for p in case.make().parameters())


def rows_may_come_in_any_order(case: Case) -> None:
    base, rows = case.make_compressed(), case.queries
    order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(4))
    assert_alike(base.knowledge(rows.select(order)), of_rows(base.knowledge(rows), order))


def the_rows_beside_one_do_not_matter(case: Case) -> None:
    base, rows = case.make_compressed(), case.queries
    known = base.knowledge(rows)
    for some in (slice(1, 2), slice(5, 23)):
        assert_alike(base.knowledge(rows.select(some)), of_rows(known, some))


def all_new_values_of_a_field_are_alike(case: Case) -> None:
    base, rows = case.make_compressed(), case.rows
    for column in range(len(SCHEMA.fields)):
        said = []
        for unseen in (UNSEEN, UNSEEN + 10_000):
            ids = rows.ids_BF.clone()
            ids[::2, column] = unseen
            said.append(base.knowledge(replace(rows, ids_BF=ids)))
        assert all(part.isfinite().all() for part in said[0].values())
        assert_alike(*said)


def knowledge_is_on_the_common_scale(case: Case) -> None:
    base, rows = case.make_compressed(), case.queries
    for _ in range(2):  # it measures its own units, whatever the scale was
        for name, part in base.knowledge(rows).items():
            assert part.mean(dim=0).abs().max() < 1e-3, f"{name} is not centred"
            assert abs(part.var(dim=0, correction=0).mean() - 1) < 1e-3, f"{name} has another variance than 1"
        base.standardise(rows)


def gradients_of_use_reach_what_learns_on_and_nothing_else(case: Case) -> None:
    base, rows = case.make_compressed(), case.queries
    assert case.base.learns_on_with(case.base.Settings(**case.settings)) == (len(base.learns_on()) > 0)
    base.zero_grad()
    known = base.train().knowledge_with_gradient(rows)
    assert base.training
    assert_alike(known, base.knowledge(rows))
    learning = {id(p) for p in base.learns_on().parameters()}
    assert any(part.requires_grad for part in known.values()) == bool(learning)
    if learning:
        torch.stack([part.square().sum() for part in known.values()]).sum().backward()
    reached = {id(p) for p in base.parameters() if p.grad is not None and p.grad.to_dense().any()}
    assert reached == learning


def what_serves_compression_alone_has_no_part_in_knowledge(case: Case) -> None:
    base, rows = case.make_compressed(), case.queries
    known = base.knowledge(rows)
    stir(nn.ModuleList(base.compression_only()))
    assert_alike(base.knowledge(rows), known)


def a_source_is_dated_and_knows_nothing_before_compression(case: Case) -> None:
    base, rows = case.make_compressed(), case.queries
    source = Live(base)
    assert source.parts == base.parts
    looked = [source.built_until]
    assert source.knowledge(rows) is source.knowledge_with_gradient(rows) is None
    for period, until in enumerate((100, 300, 200)):
        source.compressed(period, until)
        looked.append(source.built_until)
    source.learned(250)
    assert [*looked, source.built_until] == [None, 100, 300, 300, 300]
    said = source.knowledge(rows)
    assert said is not None
    assert_alike(said, base.knowledge(rows))
