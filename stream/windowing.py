"""The window rule: which frames one decision sees. Training, evaluation and live share it.

Window k of a segment is the frames [k * hop, k * hop + length). When a segment ends with frames that no window has
seen, one last window has them, filled up behind with the front end's value of silence; so a sound that is shorter than
a window is heard too.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]


class Window(NamedTuple):
    """Window number `number` of its segment: float32 `[length, dims]`, of which the first `frames` were heard."""

    number: int
    values: Array
    frames: int


class Windows:
    """Cuts the windows of one segment out of frames that arrive in any portions.

    length, hop: in frames, hop at most length. silence: a frame, or one value for all of it, to fill the last window.
    """

    def __init__(self, length: int, hop: int, silence: float | Array):
        if not 1 <= hop <= length:
            raise ValueError(f"a hop of {hop} frames with windows of {length}: 1 to {length}")
        self.length, self.hop, self.silence = length, hop, silence
        self._kept: Array | None = None  # frames from number _first on, which later windows see
        self._first = 0
        self._next = 0  # the next window
        self._seen = 0  # frames that some window has seen

    def push(self, first_frame: int, frames: Array) -> list[Window]:
        """Takes frames `[n, dims]`, numbered from `first_frame` on, and returns the windows that they complete.

        The first call may begin anywhere: then the first window is the first one that begins at or after it.
        """
        if self._kept is None:
            self._first = self._seen = first_frame
            self._next = -(-first_frame // self.hop)
            self._kept = np.empty((0, frames.shape[1]), np.float32)
        if first_frame != self._first + len(self._kept):
            raise ValueError(f"frame {self._first + len(self._kept)} is next, not {first_frame}")
        kept = np.concatenate((self._kept, frames)) if len(frames) else self._kept
        ready = []
        while (start := self._next * self.hop - self._first) + self.length <= len(kept):
            ready.append(Window(self._next, kept[start : start + self.length], self.length))
            self._seen = self._next * self.hop + self.length
            self._next += 1
        drop = min(len(kept), max(0, self._next * self.hop - self._first))
        self._kept, self._first = kept[drop:].copy(), self._first + drop
        return ready

    def flush(self) -> list[Window]:
        """Ends the segment: the last window, if there are frames that none has seen."""
        kept, self._kept = self._kept, None
        if kept is None or self._first + len(kept) <= self._seen:
            return []
        # With hop <= length the frames that are kept begin at the next window's first one.
        filled = np.full((self.length, kept.shape[1]), self.silence, np.float32)
        skipped = max(0, self._next * self.hop - self._first)
        heard = kept[skipped : skipped + self.length]
        if not len(heard):
            return []
        filled[: len(heard)] = heard
        return [Window(self._next, filled, len(heard))]


def windows_of(frames: Array, length: int, hop: int, silence: float | Array) -> Array:
    """All windows of a whole segment, `[windows, length, dims]`. See `Windows`, which does the same in a stream."""
    cutter = Windows(length, hop, silence)
    ready = [*cutter.push(0, frames), *cutter.flush()]
    values = [window.values for window in ready]
    return np.stack(values) if values else np.empty((0, length, frames.shape[1]), np.float32)
