"""Lists that a column holds as text: joined by a separator, or as Python, JSON and SQL write them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from simulator.stream.raw import quoted, text, texts

Split = Callable[[str, str, Sequence[str]], str]  # `split`, or another way
_ITEM = r"""'[^'\\]*'|"[^"\\]*"|[^\s,'"\[\](){}\\]+"""
_WRITTEN = rf"\s*[\[({{]\s*(?:(?:{_ITEM})(?:\s*,\s*(?:{_ITEM}))*\s*,?)?\s*[\])}}]\s*"
NOTHING = ("None", "null", "NULL", "nan", "NaN")  # what stands without quotes for an element that is missing


def split(joined: str, separator: str, missing: Sequence[str]) -> str:
    """Expression: the list, of trimmed elements; empty for an empty text and one that means a missing value."""
    return f"""CASE
        WHEN trim({joined}) IN ({texts(("", *missing))}) THEN []
        WHEN {is_written(joined)} THEN list_transform(regexp_extract_all({joined}, {text(_ITEM)}), lambda item: CASE
            WHEN left(item, 1) IN ('''', '"') THEN item[2:-2]
            WHEN item IN ({texts(NOTHING)}) THEN NULL ELSE item END)
        ELSE list_transform(string_split(
            CASE WHEN ends_with({joined}, {text(separator)}) THEN left({joined}, -{len(separator)}) ELSE {joined} END,
            {text(separator)}), lambda item: trim(item))
    END"""


def defect(column: str, joined: str, separator: str) -> str:
    """Expression: what is wrong with a text that begins like a written list and is none, or null."""
    said = f"is no list; write 1{separator}2{separator}3 (stream.table.list_separator), [1, 2, 3] or ['a', 'b']"
    return f"""CASE WHEN {is_written(joined)} AND NOT regexp_full_match({joined}, {text(_WRITTEN)})
        THEN {text(column)} || ' ' || {quoted(joined)} || {text(" " + said)} END"""


def is_written(joined: str) -> str:
    return rf"regexp_matches({joined}, '^\s*[\[({{]')"
