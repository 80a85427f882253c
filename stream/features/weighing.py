"""Fixed weighted sums over the values of a frame: mel bands, chroma, cosine transforms."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .kernel import COMPILED, kernel

Samples = NDArray[np.float32]


class Weights:
    """`rows @ matrix.T` with the same bits for a row wherever it stands.

    Only what lies between the first and the last weight of a sum that is not 0 is multiplied. BLAS would do for long
    batches, but it sums in another order for other numbers of rows, on some CPUs even for rows of one call: tried, it
    cost bits.

    Args:
        matrix: `[sums, values]`, each row with a weight that is not 0.

    Attributes:
        banded: as the kernel takes it: each sum's first value, how many it takes, and all weights in turn.
    """

    def __init__(self, matrix: NDArray[np.floating]) -> None:
        self.matrix = np.ascontiguousarray(matrix, np.float32)
        used = [np.flatnonzero(row)[[0, -1]] for row in self.matrix]
        firsts = np.array([first for first, _ in used], np.int32)
        lengths = np.array([last - first + 1 for first, last in used], np.int32)
        spans = [slice(first, last + 1) for first, last in used]
        self._weights = np.concatenate([row[span] for row, span in zip(self.matrix, spans, strict=True)])
        self.banded = firsts, lengths, self._weights
        self._places = np.concatenate([np.arange(span.start, span.stop) for span in spans])
        self._starts = np.concatenate(([0], np.cumsum(lengths)[:-1]))

    def apply(self, rows: Samples) -> Samples:
        """The sums for each of `rows` `[rows, values]`, float32 `[rows, sums]`."""
        if COMPILED:
            sums = np.empty((len(rows), len(self.matrix)), np.float32)
            kernel.weigh(rows, *self.banded, sums)
            return sums
        weighted = rows[:, self._places]
        weighted *= self._weights
        return np.add.reduceat(weighted, self._starts, axis=1)
