from __future__ import annotations

import numpy as np
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator.stream.keys import UNSEEN, KeyIds, text_keys

TEXTS = st.lists(st.text(max_size=40), max_size=50)


@settings(deadline=None)
@given(st.lists(st.sets(st.integers(0, 200), max_size=40), max_size=20))
def test_keys_are_found_as_in_a_plain_dictionary(additions: list[set[int]]) -> None:
    plain: dict[int, int] = {}
    ids = KeyIds()
    for addition in additions:
        new = np.array(sorted(addition - plain.keys()), dtype=np.uint64)
        plain |= {int(key): len(plain) + place for place, key in enumerate(new)}
        ids.add(new, np.array([plain[int(key)] for key in new], dtype=np.int32))
        wanted = np.arange(201, dtype=np.uint64)
        assert ids.find(wanted).tolist() == [plain.get(int(key), UNSEEN) for key in wanted]
    assert ids.bytes == 12 * len(plain)


@settings(deadline=None)
@given(TEXTS, st.integers(0, 5))
def test_a_text_has_one_key_wherever_it_stands_and_another_text_another(texts: list[str], cut: int) -> None:
    array = pa.array(["longer than a word", *texts, "x"], pa.string())
    keys = text_keys(array, 1)
    assert np.array_equal(text_keys(array.slice(cut), 1), keys[cut:])
    assert len(set(keys.tolist())) == len(set(array.to_pylist()))


def test_the_same_text_has_different_keys_in_different_fields() -> None:
    texts = pa.array(["", "a", "b" * 8, "c" * 9], pa.string())
    assert not set(text_keys(texts, 0).tolist()) & set(text_keys(texts, 1).tolist())


def test_a_hundred_thousand_similar_texts_have_different_keys() -> None:
    texts = pa.array([f"user-{number:012d}" for number in range(100_000)], pa.string())
    assert len(np.unique(text_keys(texts, 0))) == 100_000
