"""The random numbers of one batch."""

from __future__ import annotations

import zlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.float64]


class Draws:
    """Random numbers by what they are for: another use of them, or another setting of one, leaves the others alone.

    They are numpy's, made on the CPU: the same whatever device the batch is made on, and apart from torch's own state,
    which the network's dropout uses meanwhile in another thread.
    """

    def __init__(self, seed: Sequence[int]) -> None:
        self._seed = int(np.random.SeedSequence(tuple(seed)).generate_state(1, np.uint64)[0])

    def of(self, purpose: str) -> np.random.Generator:
        """The generator for one purpose, at its beginning."""
        key = np.array([self._seed, zlib.crc32(purpose.encode())], np.uint64)
        return np.random.Generator(np.random.Philox(key=key))

    def uniform(self, purpose: str, between: tuple[float, float], size: int) -> Numbers:
        """Evenly from one number to another, `[size]`."""
        return self.of(purpose).uniform(*between, size)

    def ratios(self, purpose: str, between: tuple[float, float], size: int) -> Numbers:
        """Evenly from one ratio to another by their logarithms, `[size]`."""
        return np.exp(self.uniform(purpose, (np.log(between[0]), np.log(between[1])), size))

    def chance(self, purpose: str, share: float, size: int) -> NDArray[np.bool_]:
        """True in `share` of the cases, `[size]`."""
        if share in (0.0, 1.0):
            return np.full(size, share == 1.0)
        return np.asarray(self.of(f"{purpose} or not").random(size) < share)
