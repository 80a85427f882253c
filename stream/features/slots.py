"""What a front end keeps between the blocks of its streams: a row of each array for each stream."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .feature import Feature

Samples = NDArray[np.float32]


class Slots:
    """Rows for streams that come and go.

    Attributes:
        of: the row of each stream, by name.
        opening: samples that wait until there are enough to pad a signal's beginning with, by name.
        left: samples that frames to come still need, `[slots, samples]`, the first `fill` of each.
        fill: how many are left, `[slots]`.
        next_frame: number of the next frame, `[slots]`.
        heard: samples so far, `[slots]`.
        every: all rows, `[slots]`.
    """

    def __init__(self, length: int, features: list[Feature]) -> None:
        self._features = features
        self.of: dict[str, int] = {}
        self.opening: dict[str, Samples] = {}
        self._free: list[int] = []
        self.left = np.zeros((0, length), np.float32)
        self.fill = np.zeros(0, np.intp)
        self.next_frame = np.zeros(0, np.int64)
        self.heard = np.zeros(0, np.int64)
        self.every = np.zeros(0, np.intp)
        self._grow(1)

    def join(self, name: str, zeros: int) -> int:
        """A slot for a new stream, with so many zeros before its first sample."""
        if not self._free:
            self._grow(2 * len(self.fill))
        slot = self.of[name] = self._free.pop()
        self.left[slot, :zeros] = 0
        self.fill[slot], self.next_frame[slot], self.heard[slot] = zeros, 0, 0
        for feature in self._features:
            for key, initial in feature.initial.items():
                feature.carried[key][slot] = initial
        return slot

    def leave(self, name: str) -> None:
        """Nothing is left of a stream."""
        slot = self.of.pop(name, None)
        self.opening.pop(name, None)
        if slot is not None:
            self._free.append(slot)

    def _grow(self, slots: int) -> None:
        old = len(self.fill)
        self.left, self.fill = _grown(self.left, slots), _grown(self.fill, slots)
        self.next_frame, self.heard = _grown(self.next_frame, slots), _grown(self.heard, slots)
        for feature in self._features:
            for key, initial in feature.initial.items():
                pool = feature.carried.get(key, np.empty((0, *np.shape(initial)), np.asarray(initial).dtype))
                feature.carried[key] = _grown(pool, slots)
        self.every = np.arange(slots)
        self._free.extend(reversed(range(old, slots)))


def _grown(array: NDArray[Any], slots: int) -> NDArray[Any]:
    return np.concatenate((array, np.zeros((slots - len(array), *array.shape[1:]), array.dtype)))
