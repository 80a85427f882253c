"""Where sound sets in and where it breaks off, by the loudness of frames: finer than any window of a model.

Loudness is the mean over the bands of a frame in dB, so that a sound counts by how far it stands out of each band, not
by its power alone. What is `RANGE_DB` below the loudest frame in sight counts as silence: that digital zeros give way
to the hiss of a recording is no event. A step is clear when the `EDGE_S` behind it are `CLEAR_DB` louder than those
before, and at least half as much as the largest step in sight. (Averaged so, steady noise moves by less than 1 dB.)

A front end without log-mels and other than a waveform tells no loudness: then there are no edges to be found.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from .features.frontend import FrontEndSpec

EDGE_S = 0.05
CLEAR_DB = 3.0
RANGE_DB = 50.0
CELL_S = 0.01  # of loudness, where the frames are single samples


class Loudness:
    """The newest frames' loudness in dB, one value a cell: a frame, or `CELL_S` of a waveform."""

    def __init__(self, spec: FrontEndSpec) -> None:
        self._waveform = spec.feature == "waveform"
        self._columns = slice(0, 1) if self._waveform else spec.columns.get("log_mel")
        self._cell = max(1, round(spec.sr * CELL_S)) if self._waveform else 1  # frames
        self._edge = max(1, round(EDGE_S * spec.sr / (spec.hop_length * self._cell)))  # cells
        # Whatever the power and the logarithm of the front end, in dB of power.
        self._scale = (1.0 if spec.log == "db" else 10.0 / math.log(10.0)) * 2.0 / spec.power
        self._rest = np.empty((0, 1), np.float32)  # less than a cell of a waveform
        self._values = np.empty(0)
        self._dropped = 0  # cells before _values[0]
        self._origin = -1  # first frame of all
        self.end = 0  # the next frame

    def add(self, first_frame: int, frames: NDArray[np.float32]) -> None:
        """Frames `[frames, dims]`, each behind the last."""
        if self._origin < 0:
            self._origin = self.end = first_frame
        if first_frame != self.end:
            raise ValueError(f"frame {self.end} is next, not {first_frame}")
        self.end += len(frames)
        if self._columns is None:
            return
        frames = frames[:, self._columns]
        if self._waveform:
            frames = np.concatenate((self._rest, frames))
            whole = len(frames) // self._cell * self._cell
            cells, self._rest = frames[:whole].reshape(-1, self._cell), frames[whole:].copy()
            new = 10.0 * np.log10(np.mean(np.square(cells, dtype=np.float64), axis=1) + 1e-10)
        else:
            new = np.mean(frames, axis=1, dtype=np.float64) * self._scale
        self._values = np.concatenate((self._values, new))

    def forget(self, before_frame: int) -> None:
        """Drop what lies more than an edge before a frame."""
        drop = (before_frame - self._origin) // self._cell - self._edge - self._dropped
        if drop > 0 and self._columns is not None:
            self._values = self._values[drop:]
            self._dropped += drop

    def onset_in(self, start: int, end: int) -> int | None:
        """The frame of the earliest clear rise in frames `[start, end)`, None when there is none."""
        first, levels, before = self._cut(start, end, start - self._edge * self._cell)
        at = clear_edge(level_steps(levels, before, self._edge), self._edge)
        return None if at is None else first + at * self._cell

    def offset_in(self, start: int, end: int, onset: int) -> int | None:
        """The frame of the latest clear fall in frames `[start, end)` of an event that began at `onset`."""
        first, levels, before = self._cut(start, end, max(onset, start - self._edge * self._cell))
        falls = -level_steps(levels, before, self._edge)
        at = clear_edge(falls[::-1], self._edge)
        return None if at is None else first + (len(falls) - 1 - at) * self._cell

    def _cut(self, start: int, end: int, context: int) -> tuple[int, NDArray[np.float64], int]:
        """Cells of `[context, end)`, how many of them lie before `start`, and the first frame of the one at `start`."""
        low, first, last = ((each - self._origin) // self._cell - self._dropped for each in (context, start, end))
        low, first = max(0, low), max(0, first)
        cells = self._values[low : max(first, last)]
        return self._origin + (self._dropped + first) * self._cell, cells, first - low


def level_steps(levels: NDArray[np.float64], before: int, edge: int) -> NDArray[np.float64]:
    """How much louder it is behind each boundary than before it, dB, from boundary number `before` on.

    Boundary b lies before `levels[b]`; the mean of `edge` values from there on is compared with that of at most `edge`
    values before. Where there are none, at the very beginning, it is taken to have been as quiet as the quietest part.
    """
    boundaries = np.arange(before, len(levels) - edge + 1)
    if not len(boundaries):
        return np.empty(0)
    sums = np.concatenate(([0.0], np.cumsum(np.maximum(levels, np.max(levels) - RANGE_DB))))
    after = (sums[boundaries + edge] - sums[boundaries]) / edge
    begins = np.maximum(0, boundaries - edge)
    earlier = (sums[boundaries] - sums[begins]) / np.maximum(1, boundaries - begins)
    return after - np.where(boundaries == 0, np.min(after), earlier)


def clear_edge(steps: NDArray[np.float64], edge: int) -> int | None:
    """The first clear step, at its top: of those above `CLEAR_DB` and half of the largest. None when there is none."""
    if not len(steps) or (largest := float(np.max(steps))) < CLEAR_DB:
        return None
    first = int(np.argmax(steps >= max(CLEAR_DB, largest / 2)))
    return first + int(np.argmax(steps[first : first + edge + 1]))
