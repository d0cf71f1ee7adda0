from __future__ import annotations

import numpy as np
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator.stream.vocabulary import Values, Vocabulary

TEXT = st.one_of(st.none(), st.sampled_from(["", "-1", "a", "b", "c", "d", "é", "0"]))
Row = tuple[str | None, str | None, list[str | None]]
ROWS = st.lists(st.tuples(TEXT, TEXT, st.lists(TEXT, max_size=4)), max_size=30)


def encode(
    vocabulary: Vocabulary, rows: list[Row]
) -> tuple[list[tuple[int, int, list[int]]], list[tuple[int, str, str]]]:
    """Fields user and item, and a history of items."""
    number = np.arange(len(rows))
    lengths = [len(history) for _, _, history in rows]
    columns = [
        Values(field="user", texts=pa.array([user for user, _, _ in rows], pa.string()), rows=number),
        Values(field="item", texts=pa.array([item for _, item, _ in rows], pa.string()), rows=number),
        Values(
            field="item",
            texts=pa.array([text for _, _, history in rows for text in history], pa.string()),
            rows=np.repeat(number, lengths),
        ),
    ]
    (users, items, flat), added = vocabulary.encode(columns)
    histories = np.split(flat, np.cumsum(lengths)[:-1]) if rows else []
    ids = [(int(u), int(i), h.tolist()) for u, i, h in zip(users, items, histories, strict=True)]
    return ids, [(entry.id, entry.field, entry.text) for entry in added]


@settings(deadline=None)
@given(ROWS)
def test_ids_are_those_of_a_plain_dictionary_filled_row_by_row(rows: list[Row]) -> None:
    ids: dict[tuple[str, str | None], int] = {}

    def number(field: str, text: str | None) -> int:
        return 0 if text in (None, "", "-1") else ids.setdefault((field, text), 3 + len(ids))

    expected = [
        (number("user", user), number("item", item), [number("item", text) for text in history])
        for user, item, history in rows
    ]
    vocabulary = Vocabulary(["user", "item"], missing=["", "-1"])
    encoded, added = encode(vocabulary, rows)
    assert encoded == expected
    assert added == [(i, field, text) for (field, text), i in ids.items()]
    assert vocabulary.size == 3 + len(ids)


@settings(deadline=None)
@given(ROWS, st.integers(1, 7))
def test_ids_do_not_depend_on_how_the_log_is_cut(rows: list[Row], size: int) -> None:
    whole = encode(Vocabulary(["user", "item"]), rows)
    vocabulary = Vocabulary(["user", "item"])
    ids, added = [], []
    for start in range(0, len(rows), size):
        more_ids, more_added = encode(vocabulary, rows[start : start + size])
        ids += more_ids
        added += more_added
    assert (ids, added) == whole


def test_the_same_text_in_two_fields_is_two_values() -> None:
    ids, _ = encode(Vocabulary(["user", "item"]), [("a", "a", ["a"])])
    assert ids == [(3, 4, [4])]
