"""The YAML of an experiment, with a comment above each setting that says why it was chosen."""

from __future__ import annotations

import json
import re
import textwrap
from collections.abc import Iterable, Mapping
from typing import Any

from simulator.inspect.proposal import Proposal
from simulator.inspect.roles import Guess
from simulator.inspect.survey import Survey
from simulator.stream.settings import StreamSettings

WIDTH = 112
WORDS_OF_YAML = {"y", "n", "yes", "no", "on", "off", "true", "false", "null", "none", "nan", "inf"}
ARMS = """\
# What is compared: a model that goes on from day to day, the same that never learns more than its first days, and one
# with a base of old knowledge. README.md lists backbones, knowledge and policies.
arms:
  finetune: {backbone: deepfm, policy: finetune}
  frozen: {backbone: deepfm, policy: frozen}
  finetune_edk: {backbone: deepfm, policy: finetune, knowledge: edk}
"""
COLUMNS = {  # settings of a table that name columns, and what is said of these
    "context": "categories of the impression",
    "scenario": "what models of several scenarios tell apart; its name says so",
    "numeric": "how much, not which: fractions, counts, or a name such as price",
    "lists": "sets of values, such as genres or tags",
    "vectors": "lists of fractions of one length",
    "histories": "lists of values of a field",
    "explode": "a row is a list of impressions; each is made a row, which names item and label",
}
DIN = "  din: {backbone: din, policy: finetune}  # reads the histories\n"


def yaml_of(
    name: str, stream: StreamSettings, proposal: Proposal | None, survey: Survey | None, doubts: Iterable[str]
) -> str:
    """The experiment as text; `proposal` is None for a source that knows its own columns."""
    lines = ["# Proposed by `python -m simulator inspect`; every choice is to be looked at.", *_head(survey)]
    if doubts := list(doubts):
        lines += ["#", "# To look at:"]
        lines += [line for doubt in doubts for line in _comment(f"- {doubt}", hanging="  ")]
    lines += ["", f"name: {scalar(name)}", "", "stream:"]
    table = proposal is not None
    reason = "your own table, described below" if table else "the files and columns of this data set, which it knows"
    lines += [*_comment(reason, "  "), f"  source: {stream.source}", f"  root: {scalar(stream.root)}"]
    lines += [*_comment(survey.why_period if survey else "to be set", "  "), f"  period: {stream.period}"]
    offset = "hours from UTC at which days are cut" + ("; set your own clock's" if table else "")
    lines += [*_comment(offset, "  "), f"  utc_offset_hours: {stream.utc_offset_hours}"]
    if proposal is not None:
        if survey is not None and 0 < survey.positives == survey.rows - survey.rejected:
            lines += _comment("every row is a click; so many rows that are none are drawn", "  ")
            lines.append(f"  negatives: {flow({'per_positive': 1, 'from': 'catalogue'})}")
        lines += ["  table:", *_table(stream, proposal)]
    din = DIN if stream.table.histories else ""
    return "\n".join([*lines, "", ARMS + din])


def scalar(value: Any) -> str:
    """A value as YAML: a text in quotes unless it can be nothing else."""
    if not isinstance(value, str):
        return json.dumps(value)
    if re.fullmatch(r"[A-Za-z_/][\w./-]*", value, re.ASCII) and value.lower() not in WORDS_OF_YAML:
        return value
    value = value.replace("${", r"\${")  # else the reader would fill it in
    if "\\" in value and value.isprintable() and "'" not in value:
        return f"'{value}'"
    return json.dumps(value, ensure_ascii=False)


def flow(value: Any) -> str:
    """A list or mapping on one line."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{scalar(key)}: {scalar(one)}" for key, one in value.items()) + "}"
    return "[" + ", ".join(map(scalar, value)) + "]"


def _head(survey: Survey | None) -> list[str]:
    if survey is None:
        return []
    of = f"of a sample, one stretch of rows in {survey.one_in}: " if survey.one_in > 1 else ""
    kept = survey.rows - survey.rejected
    rate = f"{survey.positives / kept:.2%} clicked" if kept else "none is good"
    return _comment(f"{of}{survey.rows} rows, {survey.rejected} of them bad, {rate}, {len(survey.periods)} periods")


def _table(stream: StreamSettings, proposal: Proposal) -> list[str]:
    table, time = stream.table, proposal.time
    lines: list[str] = []

    def add(key: str, value: Any, why: str = "") -> None:
        written = flow(value) if isinstance(value, list | dict) else scalar(value)
        lines.extend(_comment(why, "    ") if why else [])
        lines.extend(_folded(f"    {key}: {written}"))

    add("files", table.files)
    if table.columns:
        add("columns", table.columns, "no line of the file names its columns: rename them here, and below alike")
    if table.separator != ",":
        add("separator", table.separator, "cuts every line into as many values")
    if table.quoting != "minimal":
        add("quoting", table.quoting, "quotes stand within values, where they are characters like any other")
    add("time", table.time, time.why if time else "no column holds times; the order of rows stands for them")
    if table.time_unit != "s":
        add("time_unit", table.time_unit)
    if table.time_format:
        add("time_format", table.time_format)
    if table.first_year != 2000:
        add("first_year", table.first_year, "some times are of earlier years than 2000")
    add("label", table.label, _why(proposal.label, table.label, "no column is 0 or 1: name one"))
    if table.further_labels:
        add("further_labels", table.further_labels, "0 or 1, and come after a click or beside it: no fields")
    if proposal.request:
        add("request", table.request, proposal.request.why)
    if proposal.weight:
        add("weight", table.weight, proposal.weight.why)
    for role, guess in (("user", proposal.user), ("item", proposal.item)):
        rest = f"; the others have one value for each {role}" if len(getattr(table, role)) > 1 else ""
        add(
            role,
            getattr(table, role),
            _why(guess, "".join(getattr(table, role)), f"no column identifies the {role}: name one") + rest,
        )
    for key, why in COLUMNS.items():
        if named := getattr(table, key):
            add(key, named, why)
    if table.list_separator != ";":
        add("list_separator", table.list_separator)
    if table.missing:
        share = "; ".join(f"{text!r} is {where}" for text, where in proposal.missing.items())
        add("missing", table.missing, f"mean that there is no value: {share}")
    if proposal.left_out:
        lines += _comment("Left out:", "    ")
        for name, why in proposal.left_out.items():
            lines += _comment(f"{scalar(name)}: {why}", "      ", hanging="  ")
    return lines


def _why(guess: Guess | None, value: str, otherwise: str) -> str:
    """Why a column was chosen; what the elements of lists give needs no column."""
    if guess is not None:
        return guess.why
    return "a name for what the lists shown give (explode)" if value else otherwise


def _comment(text: str, indent: str = "", *, hanging: str = "") -> list[str]:
    shown = "".join(c if c.isprintable() else "?" for c in text)
    return textwrap.wrap(
        shown, WIDTH, initial_indent=f"{indent}# ", subsequent_indent=f"{indent}# {hanging}", break_on_hyphens=False
    )


def _folded(line: str) -> list[str]:
    """A flow list over several lines, cut behind commas outside of quotes."""
    if len(line) <= WIDTH:
        return [line]
    indent = " " * (len(line) - len(line.lstrip()) + 2)
    lines, rest = [], ""
    for piece in re.findall(r'(?:"(?:[^"\\]|\\.)*"|[^,"])+,?\s*', line):
        if rest and len(rest) + len(piece.rstrip()) > WIDTH:
            lines.append(rest.rstrip())
            rest = indent
        rest += piece
    return [*lines, rest.rstrip()]
