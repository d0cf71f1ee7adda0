"""One long array that takes in some rows at a time.

Shapes: N rows, each of any shape.
"""

from __future__ import annotations

from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import DTypeLike, NDArray

Scalar = TypeVar("Scalar", bound=np.generic)


class Growing(Generic[Scalar]):
    """Rows in one piece of memory, since a search reads them by number, wherever their period ended.

    It grows by half when it is full: each row is then copied about twice, however many periods come.
    """

    def __init__(self, dtype: DTypeLike, *row: int) -> None:
        self._room: NDArray[Any] = np.empty((0, *row), dtype=dtype)
        self._used = 0

    def __len__(self) -> int:
        return self._used

    @property
    def values(self) -> NDArray[Scalar]:
        """The rows, as a view that later rows do not change."""
        return self._room[: self._used]

    @property
    def bytes(self) -> int:
        """Memory, room to grow included."""
        return self._room.nbytes

    def append(self, rows: NDArray[Scalar]) -> None:
        end = self._used + len(rows)
        if end > len(self._room):
            grown = np.empty((max(end, len(self._room) * 3 // 2), *rows.shape[1:]), dtype=self._room.dtype)
            grown[: self._used] = self.values
            self._room = grown
        self._room[self._used : end] = rows
        self._used = end
