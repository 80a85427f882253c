"""What a front end keeps between the blocks of its streams: a row of each array for each stream."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .feature import Feature
from .kernel import COMPILED, kernel

Samples = NDArray[np.float32]


class Slots:
    """Rows for streams that come and go.

    Attributes:
        of: the row of each stream, by name.
        opening: samples that wait until there are enough to pad a signal's beginning with, by name.
        samples: what frames to come still need, `[slots, room]`: of each row `fill` samples from `begin` on. There is
            room behind them, so that a short block is appended in place, and moved to the front only now and then.
        begin, fill: see above, `[slots]`.
        next_frame: number of the next frame, `[slots]`.
        every: all rows, `[slots]`.
    """

    def __init__(self, length: int, spare: int, features: list[Feature]) -> None:
        self._features = features
        self.of: dict[str, int] = {}
        self.opening: dict[str, Samples] = {}
        self._free: list[int] = []
        self.samples = np.zeros((0, length + spare), np.float32)
        self.begin = np.zeros(0, np.intp)
        self.fill = np.zeros(0, np.intp)
        self.next_frame = np.zeros(0, np.int64)
        self.every = np.zeros(0, np.intp)
        self._grow(1)

    def join(self, name: str, zeros: int) -> int:
        """A slot for a new stream, with so many zeros before its first sample."""
        if not self._free:
            self._grow(2 * len(self.fill))
        slot = self.of[name] = self._free.pop()
        self.put(slot, np.zeros(zeros, np.float32))
        self.next_frame[slot] = 0
        for feature in self._features:
            for key, initial in feature.initial.items():
                feature.carried[key][slot] = initial
        return slot

    def put(self, slot: int, samples: Samples) -> None:
        """Samples that are left of a stream, in place of those that were."""
        self.samples[slot, : len(samples)] = samples
        self.begin[slot], self.fill[slot] = 0, len(samples)

    def left(self, slot: int) -> Samples:
        """What is left of a stream, a view."""
        begin = self.begin.item(slot)
        return self.samples[slot, begin : begin + self.fill.item(slot)]

    def starts(self, rows: NDArray[np.intp]) -> NDArray[np.intp]:
        """Where in `samples`, counted over all of it, that which is left of some streams begins."""
        room = self.samples.shape[1]
        if len(rows) == 1:
            row = rows.item(0)
            return np.array([row * room + self.begin.item(row)])
        return rows * room + self.begin[rows]

    def append(self, rows: NDArray[np.intp], blocks: list[Samples], lengths: list[int]) -> None:
        """Each block, of so many samples, behind what is left of its stream. It must find room in the row."""
        joined = blocks[0] if len(blocks) == 1 else np.concatenate(blocks)
        if joined.ndim != 1:
            raise ValueError("a block is [samples]")
        if COMPILED and joined.flags.c_contiguous:
            kernel.append(self.samples, rows, self.begin, self.fill, joined, np.array(lengths, np.intp))
            return
        at = 0
        for row, length in zip(rows.tolist(), lengths, strict=True):
            begin, fill = self.begin.item(row), self.fill.item(row)
            if begin + fill + length > self.samples.shape[1]:
                self.samples[row, :fill] = self.samples[row, begin : begin + fill]
                self.begin[row] = begin = 0
            self.samples[row, begin + fill : begin + fill + length] = joined[at : at + length]
            self.fill[row] = fill + length
            at += length

    def leave(self, name: str) -> None:
        """Nothing is left of a stream."""
        slot = self.of.pop(name, None)
        self.opening.pop(name, None)
        if slot is not None:
            self._free.append(slot)

    def _grow(self, slots: int) -> None:
        old = len(self.fill)
        self.samples, self.fill = _grown(self.samples, slots), _grown(self.fill, slots)
        self.begin = _grown(self.begin, slots)
        self.next_frame = _grown(self.next_frame, slots)
        for feature in self._features:
            for key, initial in feature.initial.items():
                pool = feature.carried.get(key, np.empty((0, *np.shape(initial)), np.asarray(initial).dtype))
                feature.carried[key] = _grown(pool, slots)
        self.every = np.arange(slots)
        self._free.extend(reversed(range(old, slots)))


def _grown(array: NDArray[Any], slots: int) -> NDArray[Any]:
    return np.concatenate((array, np.zeros((slots - len(array), *array.shape[1:]), array.dtype)))
