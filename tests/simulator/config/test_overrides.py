"""What is typed on the command line is what a setting gets."""

from __future__ import annotations

import shlex
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from pkb.errors import SettingError
from simulator.config.reading import read


@dataclass(frozen=True, kw_only=True)
class Arm:
    backbone: str = "lr"
    options: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Top:
    name: str = "run"
    request: str | None = None
    count: int = 1
    rate: float = 0.5
    user: list[str] = field(default_factory=list)
    histories: dict[str, str] = field(default_factory=dict)
    arms: dict[str, Arm] = field(default_factory=dict)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    made = tmp_path / "one.yaml"
    made.write_text("count: 2\n")
    return made


TEXTS = [
    *("1.10", "1e3", "007", "0x1F", "1_000", "2024_01_15", "2024-01-15", "12:30:00", "-0", "+1", ".5", "1.", "08"),
    *("true", "no", "on", "null", "nan", "inf", "~", "~/logs", "~me/logs", "../a", "/data/ö/log", "*.csv", "**/x?.csv"),
    *("[a.csv", "[ab].csv", "[ab]", "a{b}.csv", "::", "|", r"\t", r"\|", ";", "#", "a#b", "a b", "a: b", "a=b", "&a"),
    *("!x", "%", "@", "`", "(a)", "x (1).csv", "it's", '27"', "-", "é", "${oc.env:NO_SUCH_SETTING,x}", "a\\b", "C:/x"),
]


@pytest.mark.parametrize("text", TEXTS)
def test_a_text_setting_takes_exactly_the_characters_that_were_typed(file: Path, text: str) -> None:
    expected = "x" if "${" in text else text
    top = read(Top, file, [f"name={text}", f"+histories.a={text}"])
    assert top.name == expected
    assert top.histories == {"a": expected}


@pytest.mark.parametrize("text", ["1.10", "1e3", "007", "true", "2024_01_15", "~/x", ",", "a,b", "it''s\t", "null"])
def test_quotes_hold_text_together_and_are_no_part_of_it(file: Path, text: str) -> None:
    assert read(Top, file, [f'name="{text}"']).name == text


@pytest.mark.parametrize("typed", ["\t", " ", ""])
def test_white_space_alone_is_text(file: Path, typed: str) -> None:
    assert read(Top, file, [f"name={typed}"]).name == typed


def test_texts_within_lists_and_mappings_stay_as_they_were_typed(file: Path) -> None:
    words = ["user=[1.10,1e3,007,true,null,2024-01-15,'a,b']", "histories={1.10:1e3,no:007,a:true}"]
    top = read(Top, file, [*words, "arms={1.10:{backbone:1e3},2024_01_15:{}}"])
    assert top.user == ["1.10", "1e3", "007", "true", "null", "2024-01-15", "a,b"]
    assert top.histories == {"1.10": "1e3", "no": "007", "a": "true"}
    assert top.arms == {"1.10": Arm(backbone="1e3"), "2024_01_15": Arm()}


def test_numbers_and_nothing_are_such_where_the_setting_takes_them(file: Path) -> None:
    top = read(
        Top, file, ["count=010", "rate=1e-3", "request=null", "arms.a.options={n: 3, f: 1e-2, t: true, z: null}"]
    )
    assert (top.count, top.rate, top.request) == (10, 0.001, None)
    assert top.arms["a"].options == {"n": 3, "f": 0.01, "t": True, "z": None}


@pytest.mark.parametrize("typed", ["arms={a:{},a:{backbone:fm}}", "histories={1.10:a,1.10:b}"])
def test_a_key_that_stands_twice_in_an_override_is_refused(file: Path, typed: str) -> None:
    with pytest.raises(SettingError, match="stands there twice"):
        read(Top, file, [typed])


@pytest.mark.parametrize("typed", ["name=~/a,~/b", "name=a,b", "user=[~/a]", "count=~", "name.x=~"])
def test_what_cannot_be_kept_is_one_line_that_asks_for_quotes_or_names_the_setting(file: Path, typed: str) -> None:
    with pytest.raises(SettingError) as caught:
        read(Top, file, [typed])
    told = str(caught.value)
    assert "\n" not in told
    assert "quotes" in told
    assert shlex.quote(typed) in told or repr(typed) in told


def test_an_override_changes_one_place_of_what_yaml_holds_in_two(file: Path) -> None:
    file.write_text("arms:\n  a: &it {backbone: fm}\n  b: *it\n")
    top = read(Top, file, ["arms.a.backbone=dnn", "~arms.b.backbone"])
    assert top.arms == {"a": Arm(backbone="dnn"), "b": Arm()}


def test_a_deletion_takes_no_value(file: Path) -> None:
    with pytest.raises(SettingError, match=r"takes no value; write ~count"):
        read(Top, file, ["~count=2"])
