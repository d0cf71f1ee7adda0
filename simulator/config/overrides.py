"""One override of the command line, in Hydra's grammar, with the characters that were typed where text is wanted.

Hydra takes `1.10` for a number and `null` for nothing, keeps the last of two equal keys, and refuses `~/logs`. The type
of the setting decides whether what was typed counts, or what Hydra reads in it.
"""

from __future__ import annotations

import typing
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from antlr4 import CommonTokenStream, InputStream
from hydra.core.override_parser.overrides_parser import create_functions
from hydra.core.override_parser.overrides_visitor import HydraErrorListener, HydraOverrideVisitor
from hydra.core.override_parser.types import ChoiceSweep, Override, OverrideType, Quote, QuotedString, ValueType
from hydra.errors import HydraException
from hydra.grammar.gen.OverrideLexer import OverrideLexer
from hydra.grammar.gen.OverrideParser import OverrideParser

from pkb.errors import SettingError
from simulator.config.kinds import fields_of, is_section, joined, near_key, takes_none, within, without_none


def parse(top: type[Any], text: str) -> Override:
    """One override of the settings `top`; SettingError if it is none, or if there is no such setting."""
    try:
        override = _read(text)
    except HydraException as error:
        key, equals, typed = text.partition("=")
        key = key.strip().lstrip("+")
        if not equals or key.startswith("~") or without_none(_kind_or_none(top, key)) is not str or "," in typed[1:]:
            told = str(error).splitlines()[0]
            raise SettingError(
                f"override {text!r}: {told}; write key=value, with special characters of the value in quotes"
            ) from None
        return Override(OverrideType.CHANGE, key, ValueType.ELEMENT, _text(typed.strip() or typed))
    if override.package is not None:
        raise SettingError(f"override {text!r}: there are no packages here; write key=value")
    if override.is_delete():
        if override.value_type is not None:
            raise SettingError(f"override {text!r}: takes no value; write ~{override.key_or_group}")
        setting_at(top, override.key_or_group)
        return override
    kind = setting_at(top, override.key_or_group)
    value = override._value
    if isinstance(value, ChoiceSweep):
        value.list = [_settled(kind, each) for each in value.list]
    elif without_none(kind) is str and (value == "" or isinstance(value, list | Mapping)):
        override._value = _text(text.partition("=")[2])  # white space, which Hydra drops, or a pattern such as [ab]
    else:
        override._value = _settled(kind, value)
    return override


def setting_at(top: type[Any], key: str) -> Any:
    """The type of the setting with this key; SettingError, with the nearest right key, if there is none."""
    kind: Any = top
    path = ""
    for name in key.split("."):
        inner = within(kind, name)
        if inner is None and not is_section(without_none(kind)):
            raise SettingError(f"{key}: {path} is a value, not a section")
        if inner is None:
            hint = near_key(top, path, name, fields_of(without_none(kind)))
            raise SettingError(f"unknown setting {joined(path, name)!r}{hint}")
        kind, path = inner, joined(path, name)
    return kind


def _kind_or_none(top: type[Any], key: str) -> Any:
    try:
        return setting_at(top, key)
    except SettingError:
        return None


@dataclass(frozen=True)
class _Scalar:
    """One value, as Hydra reads it (null is None) and as it was typed."""

    read: Any
    typed: str


class _Visitor(HydraOverrideVisitor):
    """Hydra's reading of the grammar, but for scalars and for keys that stand twice."""

    def visitPrimitive(self, ctx: Any) -> Any:  # noqa: N802  these are ANTLR's names
        return _Scalar(super().visitPrimitive(ctx), ctx.getText().strip())

    def visitDictContainer(self, ctx: Any) -> Any:  # noqa: N802
        entries: dict[str, Any] = {}
        for pair in ctx.dictKeyValuePair():
            key = str(self._typed_key(pair.dictKey()))
            if key in entries:
                raise HydraException(f"{key} stands there twice")
            entries[key] = self.visitElement(pair.element())
        return entries

    def _typed_key(self, ctx: Any) -> str:
        read = self.visitDictKey(ctx)
        return read if isinstance(read, str) else ctx.getText().strip()

    def visitFunction(self, ctx: Any) -> Any:  # noqa: N802
        if ctx.ID().getText() == "choice" and not ctx.argName():
            return ChoiceSweep(list=[self.visitElement(each) for each in ctx.element()])
        return HydraOverrideVisitor(self.functions).visitFunction(ctx)


def _read(text: str) -> Override:
    """As Hydra's own parser does it, with the visitor of this file."""
    told = HydraErrorListener()
    lexer: Any = OverrideLexer(InputStream(text))
    parser: Any = OverrideParser(CommonTokenStream(lexer))
    for each in (lexer, parser):
        each.removeErrorListeners()
        each.addErrorListener(told)
    return typing.cast(Override, _Visitor(create_functions()).visit(parser.override()))


def _settled(kind: Any, value: Any) -> Any:
    """The value for a setting of this type: of scalars, what was typed where text is wanted, else what Hydra read."""
    bare = without_none(kind)
    if isinstance(value, Mapping):
        return {key: _settled(within(kind, key), inner) for key, inner in value.items()}
    if isinstance(value, list):
        inner = typing.get_args(bare)[0] if typing.get_origin(bare) in (list, tuple) else bare
        return [_settled(inner, each) for each in value]
    if not isinstance(value, _Scalar):
        return value  # of a function
    if bare is str and not isinstance(value.read, str | QuotedString) and not (value.read is None and takes_none(kind)):
        return _text(value.typed)
    return value.read


def _text(value: str) -> QuotedString:
    return QuotedString(text=value, quote=Quote.single)
