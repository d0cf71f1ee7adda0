from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator.stream.vocabulary import Ids, Numbering, Values, Vocabulary

TEXT = st.one_of(st.none(), st.sampled_from(["", "-1", "a", "b", "c", "d", "é", "0"]))
Row = tuple[str | None, str | None, list[str | None]]
ROWS = st.lists(st.tuples(TEXT, TEXT, st.lists(TEXT, max_size=4)), max_size=30)


class Ingest:
    """Fields user and item, and a history of items: arrives whole, leaves in pieces."""

    def __init__(self, rows: list[Row], missing: Sequence[str] = ()) -> None:
        self.rows = rows
        self.words: dict[int, tuple[str, str]] = {}
        vocabulary = Vocabulary(["user", "item"], missing=missing)
        self.arrived = self._arrive(vocabulary)
        self.numbering = Numbering(2, vocabulary.size)

    def _arrive(self, vocabulary: Vocabulary) -> list[tuple[int, int, list[int]]]:
        """Provisional ids, the last rows first."""
        arrived: list[tuple[int, int, list[int]]] = []
        for start in range(len(self.rows) // 2 * 2, -1, -2):
            rows = self.rows[start : start + 2]
            lengths = [len(history) for _, _, history in rows]
            texts = [
                ("user", [user for user, _, _ in rows]),
                ("item", [item for _, item, _ in rows]),
                ("item", [text for _, _, history in rows for text in history]),
            ]
            (users, items, flat), words = vocabulary.encode(
                [Values(field=field, texts=pa.array(values, pa.string())) for field, values in texts]
            )
            self.words |= {w["provisional"]: (w["field"], w["text"]) for w in words.to_pylist()}
            arrived = [*_rows(users, items, flat, lengths), *arrived]
        return arrived

    def leave(self, start: int = 0, size: int | None = None) -> list[tuple[int, int, list[int]]]:
        """Final ids of the rows from `start` on."""
        rows = self.arrived[start:][:size]
        lengths = [len(history) for _, _, history in rows]
        number = np.arange(len(rows))
        columns = [[user for user, _, _ in rows], [item for _, item, _ in rows], [i for _, _, h in rows for i in h]]
        places = [number, number, np.repeat(number, lengths)]
        ids = [Ids(ids=np.array(c, dtype=np.int32), rows=p) for c, p in zip(columns, places, strict=True)]
        users, items, flat = self.numbering.number(ids)
        return _rows(users, items, flat, lengths)

    def entries(self) -> list[tuple[int, str, str]]:
        pairs = self.numbering.pairs().to_pylist()
        return sorted((p["id"], *self.words[p["provisional"]]) for p in pairs if p["provisional"] in self.words)


def _rows(
    users: np.ndarray, items: np.ndarray, flat: np.ndarray, lengths: list[int]
) -> list[tuple[int, int, list[int]]]:
    histories = np.split(flat, np.cumsum(lengths)[:-1]) if lengths else []
    return [(int(u), int(i), h.tolist()) for u, i, h in zip(users, items, histories, strict=True)]


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
    ingest = Ingest(rows, missing=["", "-1"])
    assert ingest.leave() == expected
    assert ingest.entries() == [(i, field, text) for (field, text), i in ids.items()]
    assert ingest.numbering.size == 3 + len(ids)


@settings(deadline=None)
@given(ROWS, st.integers(1, 7))
def test_ids_do_not_depend_on_how_the_log_is_cut(rows: list[Row], size: int) -> None:
    whole, cut = Ingest(rows), Ingest(rows)
    pieces = [row for start in range(0, len(rows), size) for row in cut.leave(start, size)]
    assert pieces == whole.leave()
    assert cut.entries() == whole.entries()


def test_the_same_text_in_two_fields_is_two_values() -> None:
    assert Ingest([("a", "a", ["a"])]).leave() == [(3, 4, [4])]


def test_a_value_that_arrives_but_is_in_no_row_of_the_log_takes_no_id() -> None:
    ingest = Ingest([("a", "x", []), ("b", "x", [])])
    assert ingest.leave(1) == [(3, 4, [])]
    assert ingest.entries() == [(3, "user", "b"), (4, "item", "x")]
