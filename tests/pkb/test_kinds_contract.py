"""Every backbone and every base holds to its contract where fields are of every kind, and reads what these say."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch

from pkb.backbones import BACKBONES
from pkb.backbones.base import ClickModel
from pkb.bases import KNOWLEDGE_BASES
from pkb.batch import MISSING, Batch, Field
from pkb.numbers import Number
from pkb.pretrained.base import Pretrained
from pkb.vectors import Vector
from tests.pkb.backbones.check_backbone import (
    SCHEMA,
    Case,
    a_score_does_not_depend_on_the_rows_beside_it,
    cases,
    every_parameter_gets_a_finite_gradient,
    growing_leaves_known_ids_alone,
    it_learns_what_can_be_learnt,
    make_rows,
    missing_values_are_scored,
    one_finite_logit_a_row,
    padding_changes_nothing,
    stir,
    what_was_saved_scores_the_same,
)
from tests.pkb.backbones.test_contract import FOR_FEW_ROWS
from tests.pkb.base_case import SCHEMA as BASE_SCHEMA
from tests.pkb.base_case import Case as BaseCase

OF_EVERY_KIND = replace(
    SCHEMA,
    fields=(
        *SCHEMA.fields,
        Field(name="tags", role="item", pooling="mean"),
        Field(name="price", role="item", number=Number(knots=(-1.5, -0.5, 0.0, 0.5, 1.5))),
        Field(name="age", role="context", number=Number(knots=(-1.0, 1.0))),
        Field(name="text", role="item", vector=Vector(length=3, scale=1.7)),
    ),
)
BY_BINS = ("fate", "logistic")  # whose nodes and weights are those of bins
BY_FIRST = ("fate", "gbdt")  # what is read of a list
BY_PRESENCE = ("fate", "logistic")  # of a vector
BLIND = ("popularity",)


MEET_KINDS = (  # the checks that a field of another kind may fail
    one_finite_logit_a_row,
    every_parameter_gets_a_finite_gradient,
    a_score_does_not_depend_on_the_rows_beside_it,
    padding_changes_nothing,
    missing_values_are_scored,
    it_learns_what_can_be_learnt,
    what_was_saved_scores_the_same,
    growing_leaves_known_ids_alone,
)


def named_cases() -> Iterator[Any]:
    for name, backbone in BACKBONES.items():
        for case, check in cases(backbone, **FOR_FEW_ROWS.get(name, {})):
            if case.plug is None and check in MEET_KINDS:
                yield pytest.param(replace(case, schema=OF_EVERY_KIND), check, id=f"{name}-{check.__name__}")


@pytest.mark.parametrize(("case", "check"), list(named_cases()))
def test_a_backbone_holds_to_its_contract(case: Case, check: Callable[[Case], None]) -> None:
    check(case)


def moved(rows: Batch, by: float) -> Batch:
    """The rows with other numbers."""
    assert rows.numbers_BN is not None
    numbers = rows.numbers_BN + by
    before, behind = rows.ids_BF[:, :-3], rows.ids_BF[:, -1:]
    return replace(
        rows, numbers_BN=numbers, ids_BF=torch.cat([before, OF_EVERY_KIND.number_ids(numbers), behind], dim=1)
    )


def with_other_tags(rows: Batch) -> Batch:
    """The rows with another value behind the first of each list that has more."""
    tags = rows.lists["tags"].clone()
    tags[:, 1] = torch.where(tags[:, 1] == MISSING, MISSING, rows.lists["tags"].max() - tags[:, 1] % 3)
    return replace(rows, lists={"tags": tags})


def with_other_text(rows: Batch) -> Batch:
    """The rows with another vector where there is one."""
    return replace(rows, vectors={"text": 1.5 - 2 * rows.vectors["text"]})


def learned(name: str, rows: Batch) -> ClickModel:
    """A model that nothing but these rows has taught."""
    case = Case(BACKBONES[name], settings=FOR_FEW_ROWS.get(name, {}), schema=OF_EVERY_KIND)
    model = case.make()
    if case.fitted:
        model.eval().backbone.fit(rows)  # type: ignore[operator]
        return model
    return stir(model).eval()


def rows_of(name: str) -> Batch:
    return Case(BACKBONES[name], schema=OF_EVERY_KIND).rows


@pytest.mark.parametrize("name", [name for name in BACKBONES if name not in BLIND])
def test_a_score_depends_on_the_number_and_not_on_its_bin_alone(name: str) -> None:
    rows = rows_of(name)
    numbers = rows.numbers_BN
    assert numbers is not None
    rows = replace(rows, label=(numbers[:, 0] > 0.25).float())  # a fit is told by the price alone
    model, there = learned(name, rows), ~numbers.isnan().any(dim=1)
    before, within = model(rows)[there], moved(rows, 0.05)
    same_bin = (within.ids_BF == rows.ids_BF).all(dim=1)[there]
    assert 0 < same_bin.sum() < len(same_bin)
    other = ~torch.isclose(before, model(within)[there], atol=1e-6)
    if name in BY_BINS:
        assert not other[same_bin].any()
        assert other[~same_bin].any()
    else:
        assert other[same_bin].any()


@pytest.mark.parametrize("name", [name for name in BACKBONES if name not in BLIND])
def test_a_score_depends_on_all_values_of_a_list(name: str) -> None:
    rows = rows_of(name)
    model, other = learned(name, rows), with_other_tags(rows)
    several = rows.lists["tags"][:, 1] != MISSING
    differs = ~torch.isclose(model(rows), model(other), atol=1e-6)
    assert not differs[~several].any()
    assert differs.any() == (name not in BY_FIRST)


@pytest.mark.parametrize("name", [name for name in BACKBONES if name not in BLIND])
def test_a_score_depends_on_the_entries_of_a_vector(name: str) -> None:
    rows = rows_of(name)
    rows = replace(rows, label=(rows.vectors["text"][:, 0] > 0.25).float())
    model, there = learned(name, rows), ~rows.vectors["text"].isnan().any(dim=1)
    differs = ~torch.isclose(model(rows), model(with_other_text(rows)), atol=1e-6)
    assert not differs[~there].any()
    assert differs.any() == (name not in BY_PRESENCE)


@pytest.mark.parametrize("change", [lambda rows: moved(rows, 0.05), with_other_tags, with_other_text])
@pytest.mark.parametrize("name", [name for name, base in KNOWLEDGE_BASES.items() if not base.taught])
def test_a_base_tells_rows_apart_by_fields_of_every_kind(name: str, change: Callable[[Batch], Batch]) -> None:
    base_class = KNOWLEDGE_BASES[name]
    schema = replace(BASE_SCHEMA, fields=OF_EVERY_KIND.fields)
    base = BaseCase(base=base_class).make(schema=schema)
    base = (stir(base) if base.stages else base).eval()
    rows = make_rows(48, schema=schema)
    known, other = base.knowledge(rows), base.knowledge(change(rows))
    assert all(vectors.isfinite().all() for vectors in known.values())
    differs = any(not torch.equal(known[part], other[part]) for part in known)
    reads_fields = bool(base.stages) and not isinstance(base, Pretrained)
    assert differs == reads_fields, "a base that learns reads them; novelty has none to tell, sequences hold none"
