"""One long array that takes in a period's rows at a time.

Shapes: N rows, W columns.
"""

from __future__ import annotations

from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import DTypeLike, NDArray

Scalar = TypeVar("Scalar", bound=np.generic)


class Growing(Generic[Scalar]):
    """Rows in one piece of memory, since a search reads them by number, wherever their period ended.

    It grows by half when it is full. So each row is copied twice on average, however many periods come.
    """

    def __init__(self, width: int, dtype: DTypeLike) -> None:
        self._room_NW: NDArray[Any] = np.empty((0, width), dtype=dtype)
        self._used = 0

    @property
    def values(self) -> NDArray[Scalar]:
        return self._room_NW[: self._used]

    @property
    def bytes(self) -> int:
        """Memory, room to grow included."""
        return self._room_NW.nbytes

    def append(self, rows_NW: NDArray[Scalar]) -> None:
        end = self._used + len(rows_NW)
        if end > len(self._room_NW):
            grown = np.empty((max(end, len(self._room_NW) * 3 // 2), rows_NW.shape[1]), dtype=self._room_NW.dtype)
            grown[: self._used] = self.values
            self._room_NW = grown
        self._room_NW[self._used : end] = rows_NW
        self._used = end
