from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any, Literal

import pytest

from pkb.errors import SettingError
from simulator.config.checks import at_least, one_of
from simulator.config.typed import plain, typed


@dataclass(frozen=True, kw_only=True)
class Inner:
    kind: Literal["flat", "tree"] = "flat"
    widths: tuple[int, ...] = (8, 4)
    rate: float | None = None

    def __post_init__(self) -> None:
        at_least(self, "rate", 0)


@dataclass(frozen=True, kw_only=True)
class Outer:
    inner: Inner = field(default_factory=lambda: Inner(kind="tree"))
    many: dict[str, Inner] = field(default_factory=dict)
    options: dict[str, Any] = field(default_factory=dict)
    mode: str = "a"

    def __post_init__(self) -> None:
        one_of(self, "mode", ("a", "b"))


def test_frozen_dataclasses_become_json_and_come_back() -> None:
    outer = Outer(
        inner=Inner(kind="tree", widths=(3,), rate=0.5),
        many={"x": Inner(rate=2.0), "y": Inner(widths=())},
        options={"a": [1, 2.5, "b"], "c": {"d": None}},
    )
    assert typed(Outer, json.loads(json.dumps(plain(outer)))) == outer


def test_what_is_not_given_is_the_default_of_the_section_it_stands_in() -> None:
    assert typed(Outer, {}) == Outer()
    assert typed(Outer, {"inner": {"rate": 1}}) == Outer(inner=Inner(kind="tree", rate=1.0))


def test_numbers_are_held_to_their_type() -> None:
    inner = typed(Inner, {"rate": 1, "widths": ["3"]})
    assert (inner, type(inner.rate)) == (Inner(rate=1.0, widths=(3,)), float)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"inner": {"rate": -1}}, "top.inner.rate=-1.0: must be at least 0"),
        ({"many": {"x": {"rate": -1}}}, "top.many.x.rate=-1.0: must be at least 0"),
        ({"mode": "c"}, "top.mode=c: is not one of a, b"),
        ({"inner": {"kind": "tre"}}, "top.inner.kind=tre: is not one of flat, tree; did you mean tree?"),
        ({"inner": {"kinds": "flat"}}, "unknown setting 'top.inner.kinds'; did you mean top.inner.kind?"),
        ({"widths": [1]}, "unknown setting 'top.widths'; did you mean top.inner.widths?"),
        ({"inner": {"widths": [1, "x"]}}, "top.inner.widths[1]='x': must be of type int"),
        ({"inner": {"rate": [1]}}, "top.inner.rate=[1]: must be of type float"),
    ],
)
def test_an_error_names_the_whole_key(values: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingError) as caught:
        typed(Outer, values, at="top")
    assert str(caught.value) == message


def test_stored_text_refers_to_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET", "secret")
    options = {"a": "${oc.env:SECRET}", "b": ["${mode}"]}
    assert typed(Outer, {"options": options}).options == options
