"""Every registered backbone passes `check_backbone`, one test a check."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from pkb.backbones import BACKBONES
from tests.pkb.backbones.check_backbone import Case, cases

VARIANTS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("deepfm", {"dropout": 0.3}),
    ("dnn", {"hidden": ()}),
    ("dcnv2", {"rank": 4, "experts": 3}),
    ("pnn", {"product": "outer"}),
    ("pnn", {"product": "both"}),
    ("autoint", {"hidden": ()}),
    ("midpg", {"variant": "non", "hidden": (16, 8)}),
    ("midpg", {"variant": "rc", "mir": 0.0, "mir_shuffled": 0.0, "hidden": (16, 8)}),
)


SMALL: dict[str, Any] = {"hidden": (16, 8)}
# What is held back for a log's sake would tell little apart on a few hundred rows; and narrow layers of many weights by
# scenario are as good as wide ones, but faster, and products of several weights far from zero stay small.
FOR_FEW_ROWS: dict[str, dict[str, Any]] = {
    **dict.fromkeys(["dnn_per_scenario", "ple", "pepnet", "midpg", "adasparse"], SMALL),
    "star": {"hidden": (32, 16)},
    "keep": {"hidden": (32, 16)},
    **dict.fromkeys(["conet", "darec"], SMALL),
    **dict.fromkeys(["bert4rec", "s3rec"], SMALL | {"width": 16, "layers": 1}),
    "apg": SMALL | {"rank": 4, "inner": 8},
    "logistic": {"l2": 1.0},
    "gbdt": {"trees": 200, "leaves": 31, "learning_rate": 0.1},
}


def named_cases(name: str, settings: dict[str, Any]) -> Iterator[Any]:
    label = "-".join([name, *(f"{key}={value}" for key, value in settings.items())])
    for case, check in cases(BACKBONES[name], **settings):
        yield pytest.param(case, check, id=f"{label}-{case.plug or 'no_plug'}-{check.__name__}")


@pytest.mark.parametrize(
    ("case", "check"), [param for name in BACKBONES for param in named_cases(name, FOR_FEW_ROWS.get(name, {}))]
)
def test_with_default_settings(case: Case, check: Callable[[Case], None]) -> None:
    check(case)


@pytest.mark.parametrize(
    ("case", "check"), [param for name, settings in VARIANTS for param in named_cases(name, settings)]
)
def test_with_other_settings(case: Case, check: Callable[[Case], None]) -> None:
    check(case)
