"""Knowledge bases that are taught pass `check_knowledge_base` with every retrieval model as their teacher."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from pkb.bases import KNOWLEDGE_BASES
from retrieval.models import RETRIEVAL_MODELS
from tests.pkb.base_case import Case
from tests.pkb.check_knowledge_base import cases
from tests.pkb.test_knowledge_contract import CHEAP

NARROW = {"width": 4, "hidden": (8,)}


def taught_cases() -> Iterator[Any]:
    for name, base in KNOWLEDGE_BASES.items():
        for teacher in RETRIEVAL_MODELS if base.taught else ():
            for case, check in cases(base, RETRIEVAL_MODELS[teacher], NARROW, **CHEAP.get(name, {})):
                yield pytest.param(case, check, id=f"{name}-{teacher}-{check.__name__}")


@pytest.mark.parametrize(("case", "check"), list(taught_cases()))
def test_a_base_taught_by_each_model(case: Case, check: Callable[[Case], None]) -> None:
    check(case)
