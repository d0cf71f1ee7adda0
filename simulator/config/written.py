"""A YAML file as plain values, as they were written.

YAML 1.1 turns `1.10` into a number, `no` into false, and keeps the last of two equal keys. Where a setting is text
a number stays the text that stands in the file; what cannot be told is refused, with its line.
"""

from __future__ import annotations

import re
import typing
from pathlib import Path
from typing import Any

import yaml
from omegaconf._utils import get_yaml_loader  # the scalars of OmegaConf.load: 1e-3 is a number, a date is text

from pkb.errors import SettingError
from simulator.config.kinds import joined, takes_none, within, without_none

_TAG = "tag:yaml.org,2002:"
_NUMBERS = (f"{_TAG}int", f"{_TAG}float")
_ALSO_TEXT = (*_NUMBERS, f"{_TAG}timestamp", f"{_TAG}value")
_NEVER_TEXT = (f"{_TAG}bool", f"{_TAG}null")
_ODD = re.compile(r"[-+]?0[0-9_box].*|.*:.*")  # octal, binary and hexadecimal numbers, clock times


def read_yaml(file: Path, top: type[Any]) -> dict[str, Any]:
    """The values of a file for the settings `top`; SettingError says what is wrong, and in which line."""
    try:
        loader = get_yaml_loader()(file.read_text(encoding="utf-8"))
        try:
            node = loader.get_single_node()
            if not isinstance(node, yaml.MappingNode):
                raise SettingError(f"{file}: holds no settings (key: value)")
            _keep_text(file, node, top, "")
            return typing.cast(dict[str, Any], loader.construct_document(node))
        finally:
            loader.dispose()
    except OSError as error:
        raise SettingError(f"{file}: {error.strerror}; the shipped experiments are in configs/") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        what = " ".join(str(error).replace('in "<unicode string>", ', "in ").split())
        remedy = "put text with special characters in quotes"
        raise SettingError(f"{file}: not readable as YAML: {what}; {remedy}") from None
    except RecursionError:
        raise SettingError(f"{file}: not readable as YAML: it refers to itself, or is nested too deeply") from None


def _keep_text(file: Path, node: yaml.Node, kind: Any, path: str) -> None:
    """Mark what YAML takes for something else as text where text is wanted, down from a node of this type."""
    if isinstance(node, yaml.MappingNode):
        _keep_keys(file, node, without_none(kind), path)
    elif isinstance(node, yaml.SequenceNode):
        kind = without_none(kind)
        inner = typing.get_args(kind)[0] if typing.get_origin(kind) in (list, tuple) else kind
        for value in node.value:
            _keep_text(file, value, inner, path)
    elif isinstance(node, yaml.ScalarNode):
        _keep_scalar(file, node, kind, path)


def _keep_keys(file: Path, node: yaml.MappingNode, kind: Any, path: str) -> None:
    lines: dict[str, int] = {}
    for key, value in node.value:
        line = key.start_mark.line + 1
        if key.tag == f"{_TAG}merge":
            _keep_text(file, value, kind, path)
            continue
        if not isinstance(key, yaml.ScalarNode):
            raise SettingError(f"{file}, line {line}: a key must be text")
        name = joined(path, key.value)
        if key.tag in _NEVER_TEXT:
            raise _unquoted(file, key, name)
        if key.value in lines:
            raise SettingError(f"{file}, line {line}: {name} stands here again, after line {lines[key.value]}")
        lines[key.value] = line
        if key.tag in _ALSO_TEXT:
            key.tag = f"{_TAG}str"
        _keep_text(file, value, within(kind, key.value), name)


def _keep_scalar(file: Path, node: yaml.ScalarNode, kind: Any, path: str) -> None:
    wanted = without_none(kind)
    if wanted is str:
        if node.tag == f"{_TAG}bool" or (node.tag == f"{_TAG}null" and not takes_none(kind)):
            raise _unquoted(file, node, path)
        if node.tag in _ALSO_TEXT:
            node.tag = f"{_TAG}str"
    elif node.tag in _NUMBERS and (wanted is int or _ODD.fullmatch(node.value)):
        node.tag = f"{_TAG}str"  # OmegaConf makes the number of it, or refuses


def _unquoted(file: Path, node: yaml.ScalarNode, path: str) -> SettingError:
    return SettingError(
        f"{file}, line {node.start_mark.line + 1}: {path}: YAML reads {node.value!r} as no text; put it in quotes"
    )
