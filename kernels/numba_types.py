"""The argument types of the compiled entry points, for Numba and for readers."""

from __future__ import annotations

import numpy as np
from numba import types
from numpy.typing import NDArray

READ_WORDS = types.Array(types.uint64, 1, "C", readonly=True)
"""uint64 (N,); a read-only type takes writable arrays too, so one compilation serves both."""
READ_ROWS = types.Array(types.uint64, 2, "C", readonly=True)
"""uint64 (N, words)"""
WORDS = types.Array(types.uint64, 1, "C")
ROWS = types.Array(types.uint64, 2, "C")
FLAGS = types.Array(types.boolean, 1, "C")
BYTES = types.Bytes(types.uint8, 1, "C")

U64Array = NDArray[np.uint64]
BoolArray = NDArray[np.bool_]
