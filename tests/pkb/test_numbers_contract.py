"""Every backbone and every base holds to its contract where some fields are numbers, and reads what these say."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch

from pkb.backbones import BACKBONES
from pkb.bases import KNOWLEDGE_BASES
from pkb.batch import Batch, Field
from pkb.numbers import Number
from tests.pkb.backbones.check_backbone import SCHEMA, Case, cases, make_rows, stir
from tests.pkb.backbones.test_contract import FOR_FEW_ROWS
from tests.pkb.base_case import SCHEMA as BASE_SCHEMA
from tests.pkb.base_case import Case as BaseCase

NUMBERS = (
    Field(name="price", role="item", number=Number(knots=(-1.5, -0.5, 0.0, 0.5, 1.5))),
    Field(name="age", role="context", number=Number(knots=(-1.0, 1.0))),
)
NUMERIC = replace(SCHEMA, fields=(*SCHEMA.fields, *NUMBERS))
BY_BINS = ("fate", "logistic")  # whose nodes and weights are those of bins
BLIND = ("popularity",)


def named_cases() -> Iterator[Any]:
    for name, backbone in BACKBONES.items():
        for case, check in cases(backbone, **FOR_FEW_ROWS.get(name, {})):
            if case.plug is None:
                yield pytest.param(replace(case, schema=NUMERIC), check, id=f"{name}-{check.__name__}")


@pytest.mark.parametrize(("case", "check"), list(named_cases()))
def test_a_backbone_holds_to_its_contract(case: Case, check: Callable[[Case], None]) -> None:
    check(case)


def moved(rows: Batch, by: float) -> Batch:
    """The rows with other numbers."""
    assert rows.numbers_BN is not None
    numbers = rows.numbers_BN + by
    values = len(NUMERIC.categorical_names)
    return replace(
        rows, numbers_BN=numbers, ids_BF=torch.cat([rows.ids_BF[:, :values], NUMERIC.number_ids(numbers)], dim=1)
    )


@pytest.mark.parametrize("name", [name for name in BACKBONES if name not in BLIND])
def test_a_score_depends_on_the_number_and_not_on_its_bin_alone(name: str) -> None:
    case = Case(BACKBONES[name], settings=FOR_FEW_ROWS.get(name, {}), schema=NUMERIC)
    rows = case.rows
    if case.fitted:  # nothing but the price tells of the label
        assert rows.numbers_BN is not None
        rows = replace(rows, label=(rows.numbers_BN[:, 0] > 0.25).float())
    model = case.make()
    if case.fitted:
        model.eval().backbone.fit(rows)  # type: ignore[operator]
    else:
        stir(model).eval()
    there = ~rows.numbers_BN.isnan().any(dim=1)  # type: ignore[union-attr]
    before, within = model(rows)[there], moved(rows, 0.05)
    same_bin = (within.ids_BF == rows.ids_BF).all(dim=1)[there]
    assert 0 < same_bin.sum() < len(same_bin)
    other = ~torch.isclose(before, model(within)[there], atol=1e-6)
    if name in BY_BINS:
        assert not other[same_bin].any()
        assert other[~same_bin].any()
    else:
        assert other[same_bin].any()


@pytest.mark.parametrize("name", [name for name, base in KNOWLEDGE_BASES.items() if not base.taught])
def test_a_base_tells_rows_apart_by_their_numbers(name: str) -> None:
    base_class = KNOWLEDGE_BASES[name]
    schema = replace(BASE_SCHEMA, fields=NUMERIC.fields)
    base = BaseCase(base=base_class).make(schema=schema)
    base = (stir(base) if base.stages else base).eval()
    rows = make_rows(48, schema=schema)
    known = base.knowledge(rows)
    other = base.knowledge(moved(rows, 0.05))
    assert all(vectors.isfinite().all() for vectors in known.values())
    differs = any(not torch.equal(known[part], other[part]) for part in known)
    assert differs == bool(base.stages), "a base that learns reads numbers; novelty has none to tell"
