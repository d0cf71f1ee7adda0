"""Loops that numpy has no words for, compiled by numba."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray


def compiled(function: Callable[..., Any]) -> Any:
    """Compiled on the first call, for all processes to come where there is a folder to keep that in.

    Other threads run while it does.
    """
    try:
        return njit(nogil=True, cache=True)(function)
    except RuntimeError:  # neither the package's folder nor the user's can be written
        return njit(nogil=True)(function)


def read_only(array: NDArray[Any]) -> NDArray[Any]:
    """The array in the one form that a function is compiled for: as it comes from an object store, in C order."""
    view = np.ascontiguousarray(array).view()
    view.flags.writeable = False
    return view
