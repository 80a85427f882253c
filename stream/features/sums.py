"""Sums over the values of each row, with the same bits for a row wherever it stands.

einsum without BLAS: BLAS sums in another order for other numbers of rows (see Weights); `sum` takes twice as long.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Samples = NDArray[np.float32]


def sums(rows: NDArray[Any]) -> Samples:
    """The sum of each row, `[rows]`."""
    return np.asarray(np.einsum("ij->i", rows, optimize=False))


def products(rows: NDArray[Any], others: NDArray[Any]) -> Samples:
    """Row by row the sum of the products of two rows, `[rows]`."""
    return np.asarray(np.einsum("ij,ij->i", rows, others, optimize=False))


def weighted(rows: NDArray[Any], weights: NDArray[Any]) -> Samples:
    """The sum of each row's products with the same `weights` `[values]`, `[rows]`."""
    return np.asarray(np.einsum("ij,j->i", rows, weights, optimize=False))
