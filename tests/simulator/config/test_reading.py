"""Settings from a file and a command line; the sections are small ones of this test."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hydra.core.global_hydra import GlobalHydra

from pkb.errors import SettingError
from simulator.config.reading import read
from simulator.config.typed import yaml_of


@dataclass(frozen=True, kw_only=True)
class Arm:
    backbone: str = "lr"
    widths: tuple[int, ...] = (1, 2)


@dataclass(frozen=True, kw_only=True)
class Table:
    label: str = ""
    request: str | None = None
    user: list[str] = field(default_factory=list)
    histories: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Top:
    name: str = "run"
    root: str = ""
    count: int = 1
    rate: float = 0.5
    table: Table = field(default_factory=Table)
    arms: dict[str, Arm] = field(default_factory=dict)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "one.yaml"


def given(file: Path, text: str, *overrides: str) -> Top:
    file.write_text(text)
    return read(Top, file, overrides)


def refusal(file: Path, text: str, *overrides: str) -> str:
    with pytest.raises(SettingError) as caught:
        given(file, text, *overrides)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_file_that_is_missing_or_no_yaml_is_named(file: Path) -> None:
    with pytest.raises(SettingError, match=r"one\.yaml: No such file"):
        read(Top, file)
    assert "one.yaml: not readable as YAML" in refusal(file, "a: [1,\nb: }")
    assert "one.yaml: not readable as YAML: it refers to itself" in refusal(file, "table: &a {histories: *a}")
    for text in ("", "3", "[a]"):
        assert "one.yaml: holds no settings" in refusal(file, text)


def test_yaml_tags_execute_nothing(file: Path) -> None:
    text = f"name: !!python/object/apply:os.system ['touch {file.parent}/done']\n"
    assert "not readable as YAML" in refusal(file, text)
    assert not (file.parent / "done").exists()


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("name: a\ncount: 2\nname: b", 3),
        ("arms:\n  a: {}\n  b: {}\n  a: {}", 4),
        ('arms:\n  1: {}\n  "1": {}', 3),
        ("table: {label: a, label: b}", 1),
    ],
    ids=["at the top", "an arm", "a number and its text", "within braces"],
)
def test_a_key_that_stands_twice_is_refused_with_its_line(file: Path, text: str, line: int) -> None:
    assert f"one.yaml, line {line}: " in refusal(file, text)
    assert "stands here again" in refusal(file, text)


@pytest.mark.parametrize(
    "text",
    ["2024_01_15", "1e3", "1.10", "007", "0x1F", "12:30:00", "2024-01-15", "08", "1.0e+3", "1_0"],
)
def test_a_number_or_date_where_text_is_wanted_stays_as_it_was_written(file: Path, text: str) -> None:
    assert given(file, f"name: {text}").name == text
    assert given(file, f"table: {{user: [{text}], histories: {{a: {text}}}, request: {text}}}").table == Table(
        user=[text], histories={"a": text}, request=text
    )
    assert list(given(file, f"arms: {{{text}: {{}}}}").arms) == [text]
    if ":" not in text:  # which Hydra's grammar keeps for itself
        assert given(file, "count: 1", f"name={text}", f"table.request={text}").name == text


def test_the_command_line_knows_text_from_numbers_by_the_setting(file: Path) -> None:
    assert given(file, "count: 1", "name=true").name == "true"
    assert given(file, "count: 1", "name=null").name == "null"
    assert given(file, "table: {request: a}", "table.request=null").table.request is None
    assert given(file, "count: 1", "table.user=[001,7]").table.user == ["001", "7"]


@pytest.mark.parametrize("text", ["no", "on", "yes", "true", "off"])
def test_a_truth_value_where_text_is_wanted_is_to_be_put_in_quotes(file: Path, text: str) -> None:
    for where in (f"arms:\n  {text}: {{}}", f"count: 1\nname: {text}", f"table:\n  user: [a, {text}]"):
        told = refusal(file, where)
        assert "one.yaml, line 2: " in told
        assert f"{text!r} as no text; put it in quotes" in told
    assert list(given(file, f"arms: {{'{text}': {{}}}}").arms) == [text]
    assert list(given(file, "count: 1", f"arms.{text}.backbone=fm").arms) == [text]


@pytest.mark.parametrize("text", ["null", "~", "", "Null", "# none"])
def test_nothing_where_text_is_wanted_is_to_be_put_in_quotes_with_its_line(file: Path, text: str) -> None:
    for where in (f"count: 1\nname: {text}", f"table:\n  user:\n  - a\n  - {text}", f"arms:\n  {text or '~'}: {{}}"):
        assert "as no text; put it in quotes" in refusal(file, where) or text.startswith("#")
    assert given(file, f"table: {{request: {text or 'null'}\n}}").table.request is None


@pytest.mark.parametrize("text", ["=", "2024-01-15 10:00:00", "1:2", "0b1", ".5", "+1", "-.inf", ".nan", "0o7", "1__0"])
def test_further_texts_that_yaml_has_a_meaning_for_stay_as_they_were_written(file: Path, text: str) -> None:
    assert given(file, f"name: {text}").name == text
    assert given(file, f"table: {{histories: {{a: {text}}}}}").table.histories == {"a": text}


@pytest.mark.parametrize("text", ["*.csv", "%a", "@a", "`a`", "{a", "|x", "a: b", "!x"])
def test_text_that_is_no_yaml_without_quotes_is_told_so_with_its_line(file: Path, text: str) -> None:
    told = refusal(file, f"count: 1\nname: {text}")
    assert "one.yaml" in told
    assert "in quotes" in told
    assert "line 2" in told
    assert given(file, f"count: 1\nname: '{text}'").name == text


def test_numbers_are_decimal_whatever_zeros_and_colons_they_have(file: Path) -> None:
    assert given(file, "count: 010").count == 10
    assert "count='12:30': must be of type int" in refusal(file, "count: 12:30")
    assert "rate='12:30.5': must be of type float" in refusal(file, "rate: 12:30.5")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("cuont: 3", "one.yaml: unknown setting 'cuont'; did you mean count?"),
        ("lable: 3", "one.yaml: unknown setting 'lable'; did you mean table?"),
        ("user: 3", "unknown setting 'user'; did you mean table.user?"),
        ("arms: {a: {backbon: x}}", "unknown setting 'arms.a.backbon'; did you mean arms.a.backbone?"),
        ("table:", "table=null: is a section, write table.<name>=value"),
        ("table: [1]", "table=[1]: is a section"),
        ("arms: 3", "arms=3: is a section"),
        ("table: {user: u}", "table.user='u': is a list, write table.user=[u]"),
        ("count: 1.5", "count='1.5': must be of type int"),
        ("count: yes", "count=True: must be of type int"),
        ("count: ", "count=null: must be of type int"),
        ("rate: fast", "rate='fast': must be of type float"),
        ("arms: {a: {widths: [1, x]}}", "arms.a.widths[1]='x': must be of type int"),
        ("name: {a: b}", "name={'a': 'b'}: must be of type str"),
        ("name: ???", "name: must be given"),
        ("defaults: [a]", "unknown setting 'defaults'"),
        ("hydra: {run: {dir: x}}", "unknown setting 'hydra'"),
        ("? [a, b]\n: c", "one.yaml, line 1: a key must be text"),
    ],
)
def test_what_is_wrong_in_a_file_is_one_line_that_names_the_key(file: Path, text: str, message: str) -> None:
    assert message in refusal(file, text)


def test_text_may_refer_to_the_environment_and_to_other_settings(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    monkeypatch.setenv("COUNT", "12")
    top = given(file, "name: ${root}\nroot: ${oc.env:HOME}/logs\ncount: ${oc.env:COUNT}", "table.label='${name}!'")
    assert top == Top(name="/home/me/logs", root="/home/me/logs", count=12, table=Table(label="/home/me/logs!"))
    assert given(file, "root: ${name}").root == "run"  # a default


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name: ${nope}", "name: Interpolation key 'nope' not found"),
        ("name: ${oc.env:NO_SUCH}", "name: \"Environment variable 'NO_SUCH' not found\""),
        ("name: ${", r"write \${ where ${ is text"),
        ("count: ${name}", "count='run': must be of type int"),
        ("table: ${name}", "table='${name}': is a section"),
    ],
)
def test_a_reference_that_leads_nowhere_is_one_line(file: Path, text: str, message: str) -> None:
    assert message in refusal(file, text)


def test_resolved_settings_are_read_back_as_they_are_whatever_their_text(file: Path) -> None:
    texts = ["no", "007", "1e3", "${name}", r"\${name}", r"\\${", "null", "2024-01-15", "a: b", "", "é"]
    top = Top(table=Table(user=texts, histories={"no": "on"}), arms={"1": Arm(widths=())})
    assert given(file, yaml_of(top)) == top


def test_overrides_are_applied_in_their_order(file: Path) -> None:
    text = "table: {label: a, histories: {x: y}}\narms: {a: {backbone: fm}, b: {}}"
    top = given(file, text, "~arms.a", "arms.c={backbone: dnn}", "+arms.d.backbone=fm", "table.histories={u: v}")
    assert top.arms == {"b": Arm(), "c": Arm(backbone="dnn"), "d": Arm(backbone="fm")}
    assert top.table.histories == {"x": "y", "u": "v"}
    assert given(file, text, "arms={}", "arms.e={}").arms == {"e": Arm()}
    assert given(file, text, "table={}").table == Table()
    assert given(file, text, "arms.a={widths: [3]}").arms["a"] == Arm(backbone="fm", widths=(3,))
    assert given(file, text, "~table.label").table.label == ""


def test_reading_leaves_no_trace_in_hydra_or_in_the_folder(
    file: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    for count in (2, 3):
        assert given(file, "name: a", f"count={count}") == Top(name="a", count=count)
        assert not GlobalHydra.instance().is_initialized()
    assert "did you mean" in refusal(file, "name: a", "coumt=3")
    assert not GlobalHydra.instance().is_initialized()
    assert list(tmp_path.iterdir()) == [file]
