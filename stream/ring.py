"""Rings of samples with absolute indices: one that hands live sound from a callback to a loop, one that remembers.

Both count samples from the start of the epoch, lost ones included, so that an index means the same moment everywhere.
Both take their memory when they are made.
"""

from __future__ import annotations

from collections import deque
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import DTypeLike, NDArray

Samples = NDArray[Any]  # [samples, channels]

_SMALLEST_BLOCK = 64  # samples; sound cards do not hand out less


class Taken(NamedTuple):
    """What one `HandOver.read` yields: `lost` samples are missing, then come `samples`.

    With neither, nothing was ready. `first_sample` is the index of the first of `samples`; the lost ones are
    `[first_sample - lost, first_sample)`. `wall_ns` and `monotonic_ns` are what `write` was told when the last of the
    samples came, 0 without samples.
    """

    first_sample: int
    samples: Samples
    lost: int
    wall_ns: int
    monotonic_ns: int


class HandOver:
    """From one thread that must never wait, as an audio callback, to one that may: the one place where sound is lost.

    A block that does not fit is lost whole and counted; `read` says where. One thread calls `write` and `lose`,
    another `read`; neither takes a lock. `write` makes no arrays and keeps nothing: it copies into memory that is
    there. It is right without locks because every fact has one writer: blocks are described in a table before the
    count of blocks goes up, and the reader counts what it has freed after it has copied.

    Args:
        samples: how many fit.
        channels: of each block.
        dtype: of each block, such as "int16".
        blocks: how many blocks fit, however small; enough for all of `samples` in blocks of 64 when left out.

    >>> ring = HandOver(100, 1, "int16")
    >>> ring.write(np.ones((80, 1), "int16")), ring.write(np.ones((30, 1), "int16"))
    (True, False)
    >>> len(ring.read(1000).samples), ring.write(np.ones((30, 1), "int16"))
    (80, True)
    >>> taken = ring.read(1000)
    >>> taken.first_sample, len(taken.samples), taken.lost
    (110, 30, 30)
    """

    def __init__(self, samples: int, channels: int, dtype: DTypeLike, blocks: int | None = None) -> None:
        self._ring = np.zeros((samples, channels), dtype)
        self._table = np.zeros((blocks or max(64, samples // _SMALLEST_BLOCK), 4), np.int64)
        # The writer's. Samples are counted here as they lie in the ring, without the lost ones.
        self._stored = 0
        self._blocks_in = 0
        self._lost = 0
        # The reader's.
        self._taken = 0
        self._blocks_out = 0
        self._lost_told = 0

    @property
    def capacity(self) -> int:
        """How many samples fit."""
        return len(self._ring)

    @property
    def waiting(self) -> int:
        """How many samples wait to be read."""
        return self._stored - self._taken

    @property
    def lost(self) -> int:
        """How many samples were lost so far, told by `read` or not yet."""
        return self._lost

    def write(self, block: Samples, wall_ns: int = 0, monotonic_ns: int = 0) -> bool:
        """Copy a block `[samples, channels]` in; False when it did not fit and counts as lost."""
        count, room = len(block), len(self._ring)
        if count == 0:
            return True
        if count > room - (self._stored - self._taken) or self._blocks_in - self._blocks_out >= len(self._table):
            self._lost += count
            return False
        start = self._stored % room
        first = min(count, room - start)
        self._ring[start : start + first] = block[:first]
        if first < count:
            self._ring[: count - first] = block[first:]
        entry = self._table[self._blocks_in % len(self._table)]
        entry[0] = self._stored + count
        entry[1] = self._lost
        entry[2] = wall_ns
        entry[3] = monotonic_ns
        self._stored += count
        self._blocks_in += 1  # now, and not before, the reader may look
        return True

    def lose(self, samples: int) -> None:
        """Count samples that the writer knows to have missed; they precede the next block."""
        self._lost += samples

    def read(self, limit: int) -> Taken:
        """At most `limit` (1 or more) samples without a gap between them, and how many were lost just before them.

        After the last block a loss at the very end comes alone, without samples.
        """
        if limit < 1:
            raise ValueError(f"limit is {limit}; it must be at least 1")
        lost = self._lost  # before the blocks: a loss counted here is none that follows a block seen below
        available = self._blocks_in
        samples = 0
        wall_ns = monotonic_ns = 0
        while self._blocks_out < available and samples < limit:
            end, lost_before, wall, monotonic = self._table[self._blocks_out % len(self._table)].tolist()
            if samples == 0:
                lost = lost_before
            elif lost_before != lost:
                break
            wall_ns, monotonic_ns = wall, monotonic
            part = min(limit - samples, end - self._taken - samples)
            samples += part
            if self._taken + samples < end:
                break
            self._blocks_out += 1
        out = np.empty((samples, self._ring.shape[1]), self._ring.dtype)
        start = self._taken % len(self._ring)
        first = min(samples, len(self._ring) - start)
        out[:first] = self._ring[start : start + first]
        out[first:] = self._ring[: samples - first]
        taken = Taken(self._taken + lost, out, lost - self._lost_told, wall_ns, monotonic_ns)
        self._lost_told = lost
        self._taken += samples  # now the writer may use the room
        return taken


class Cut(NamedTuple):
    """A piece of `History`: samples `[first_sample, first_sample + len(samples))`, silent in `gaps`.

    `gaps` are half-open spans `(first, end)` in order: samples that were lost, are no longer kept or have not come.
    """

    first_sample: int
    samples: Samples
    gaps: tuple[tuple[int, int], ...]


class History:
    """The newest samples of one epoch, to cut pieces out of by index.

    Args:
        samples: how many are kept.
        channels: of each block.
        dtype: of each block, such as "int16".

    >>> history = History(1000, 1, "int16")
    >>> history.append(0, np.ones((100, 1), "int16"))
    >>> history.append(150, np.ones((50, 1), "int16"))
    >>> piece = history.cut(80, 160)
    >>> piece.samples.sum(), piece.gaps
    (np.int64(30), ((100, 150),))
    """

    def __init__(self, samples: int, channels: int, dtype: DTypeLike) -> None:
        self._ring = np.zeros((samples, channels), dtype)
        self._gaps: deque[tuple[int, int]] = deque()  # those that reach into what is kept
        self._end = 0

    @property
    def first_sample(self) -> int:
        """The oldest sample that is kept."""
        return max(0, self._end - len(self._ring))

    @property
    def end_sample(self) -> int:
        """The sample after the newest one."""
        return self._end

    @property
    def nbytes(self) -> int:
        """The memory of the samples."""
        return self._ring.nbytes

    def append(self, first_sample: int, block: Samples) -> None:
        """Add a block `[samples, channels]`; a gap before it is noticed, samples that are known are not replaced."""
        self.skip(first_sample)
        new = block[self._end - first_sample :]
        end = self._end + len(new)
        self._put(end - len(new[-len(self._ring) :]), new[-len(self._ring) :])
        self._advance(end)

    def skip(self, end_sample: int) -> None:
        """All samples from the end to `end_sample` are lost."""
        if end_sample <= self._end:
            return
        first = self._end
        if self._gaps and self._gaps[-1][1] == first:
            first = self._gaps.pop()[0]
        self._gaps.append((first, end_sample))
        self._put(max(self._end, end_sample - len(self._ring)), None, end_sample)
        self._advance(end_sample)

    def cut(self, first_sample: int, end_sample: int) -> Cut:
        """A copy of samples `[first_sample, end_sample)`; what is not at hand is silence and listed."""
        out = np.zeros((max(0, end_sample - first_sample), self._ring.shape[1]), self._ring.dtype)
        first, end = max(first_sample, self.first_sample), min(end_sample, self._end)
        if first < end:
            start = first % len(self._ring)
            head = min(end - first, len(self._ring) - start)
            into = out[first - first_sample : end - first_sample]
            into[:head] = self._ring[start : start + head]
            into[head:] = self._ring[: end - first - head]
        absent = [(first_sample, self.first_sample), *self._gaps, (self._end, end_sample)]
        return Cut(first_sample, out, _joined(absent, first_sample, end_sample))

    def _put(self, first: int, samples: Samples | None, end: int = 0) -> None:
        """Write samples, or silence up to `end`, from index `first` on; at most a ring full."""
        count = end - first if samples is None else len(samples)
        start = first % len(self._ring)
        head = min(count, len(self._ring) - start)
        self._ring[start : start + head] = 0 if samples is None else samples[:head]
        self._ring[: count - head] = 0 if samples is None else samples[head:]

    def _advance(self, end: int) -> None:
        self._end = end
        while self._gaps and self._gaps[0][1] <= self.first_sample:
            self._gaps.popleft()


def _joined(spans: list[tuple[int, int]], first: int, end: int) -> tuple[tuple[int, int], ...]:
    """The parts of ordered spans within `[first, end)`, those that touch or overlap made one."""
    joined: list[tuple[int, int]] = []
    for span_first, span_end in spans:
        span_first, span_end = max(span_first, first), min(span_end, end)
        if span_first >= span_end:
            continue
        if joined and span_first <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(joined[-1][1], span_end))
        else:
            joined.append((span_first, span_end))
    return tuple(joined)
