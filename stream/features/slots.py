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
        samples: what frames to come still need, `[slots, room]`: of each row `fill` samples from `begin` on. There is
            room behind them, so that a short block is appended in place, and moved to the front only now and then.
        begin, fill: see above, `[slots]`.
        next_frame: number of the next frame, `[slots]`.
        heard: samples so far, `[slots]`.
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
        self.heard = np.zeros(0, np.int64)
        self.every = np.zeros(0, np.intp)
        self._work = np.empty(0, np.float32)
        self._grow(1)

    def join(self, name: str, zeros: int) -> int:
        """A slot for a new stream, with so many zeros before its first sample."""
        if not self._free:
            self._grow(2 * len(self.fill))
        slot = self.of[name] = self._free.pop()
        self.put(slot, np.zeros(zeros, np.float32))
        self.next_frame[slot] = self.heard[slot] = 0
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

    def append(self, rows: NDArray[np.intp], fill: int, blocks: Samples) -> Samples:
        """What is left of some streams, `fill` samples each, with `blocks` `[streams, n]` behind them.

        `[streams, fill + n]`, to be used until the next call; `keep` says how much of it is done with.
        """
        where, size = _as_slice(rows), fill + blocks.shape[1]
        begins = self.begin[where]
        begin = begins.item(0)
        together = len(begins) == 1 or bool((begins == begin).all())
        if together and size <= self.samples.shape[1] and isinstance(where, slice):
            if begin + size > self.samples.shape[1]:
                self.samples[where, :fill] = self.samples[where, begin : begin + fill]
                self.begin[where] = begin = 0
            self.samples[where, begin + fill : begin + size] = blocks
            return self.samples[where, begin : begin + size]
        needed = len(rows) * size
        if needed > len(self._work):
            self._work = np.empty(needed, np.float32)
        joined = self._work[:needed].reshape(len(rows), size)
        if together:
            joined[:, :fill] = self.samples[where, begin : begin + fill]
        else:
            joined[:, :fill] = self.samples[rows[:, None], begins[:, None] + np.arange(fill)]
        joined[:, fill:] = blocks
        return joined

    def keep(self, rows: NDArray[np.intp], joined: Samples, done: int) -> None:
        """Lets go of the first `done` samples of what `append` returned."""
        where, left = _as_slice(rows), joined.shape[1] - done
        if np.may_share_memory(joined, self._work):
            self.samples[where, :left] = joined[:, done:]
            self.begin[where] = 0
        else:
            self.begin[where] += done
        self.fill[where] = left

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
        self.next_frame, self.heard = _grown(self.next_frame, slots), _grown(self.heard, slots)
        for feature in self._features:
            for key, initial in feature.initial.items():
                pool = feature.carried.get(key, np.empty((0, *np.shape(initial)), np.asarray(initial).dtype))
                feature.carried[key] = _grown(pool, slots)
        self.every = np.arange(slots)
        self._free.extend(reversed(range(old, slots)))


def _grown(array: NDArray[Any], slots: int) -> NDArray[Any]:
    return np.concatenate((array, np.zeros((slots - len(array), *array.shape[1:]), array.dtype)))


def _as_slice(rows: NDArray[np.intp]) -> slice | NDArray[np.intp]:
    """The same rows as a slice where they follow each other: numpy takes that faster."""
    first = rows.item(0)
    if len(rows) == 1 or (rows.item(-1) - first == len(rows) - 1 and bool((rows[1:] > rows[:-1]).all())):
        return slice(first, first + len(rows))
    return rows
