"""Fixed weighted sums over the values of a frame: mel bands, chroma, cosine transforms."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Samples = NDArray[np.float32]


class Weights:
    """`rows @ matrix.T` with the same bits for a row wherever it stands, zeros left out.

    BLAS sums in another order for other numbers of rows, on some CPUs even for rows of one call: tried, it cost bits.

    Args:
        matrix: `[out, values]`, each row with a weight that is not 0.
    """

    def __init__(self, matrix: NDArray[np.floating]) -> None:
        self.matrix = np.ascontiguousarray(matrix, np.float32)
        outputs, self._places = np.nonzero(self.matrix)
        self._values = self.matrix[outputs, self._places]
        self._starts = np.searchsorted(outputs, np.arange(len(matrix)))

    def apply(self, rows: Samples) -> Samples:
        """The sums for each of `rows` `[rows, values]`, float32 `[rows, out]`."""
        weighted = rows[:, self._places]
        weighted *= self._values
        return np.add.reduceat(weighted, self._starts, axis=1)
