"""Deltas: how features change from frame to frame, by a polynomial fitted to their neighbours."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Samples = NDArray[np.float32]


def parse_delta(name: str) -> tuple[str, int]:
    """A feature's name without its suffix, and the order of the delta: 0, 1 (`_delta`) or 2 (`_delta2`).

    >>> parse_delta("mfcc"), parse_delta("mfcc_delta"), parse_delta("mfcc_delta2")
    (('mfcc', 0), ('mfcc', 1), ('mfcc', 2))
    """
    for suffix, order in (("_delta", 1), ("_delta2", 2)):
        if name.endswith(suffix) and name != suffix:
            return name.removesuffix(suffix), order
    return name, 0


def delta(frames: Samples, width: int, order: int) -> Samples:
    """The first or second derivative by frame of `frames` `[frames, dims]`, in units a frame (or frame²), same shape.

    To the `width` frames around each a polynomial of degree `order` is fitted by least squares, and its derivative of
    that order taken (Savitzky and Golay 1964, doi:10.1021/ac60214a047): `librosa.feature.delta(width=…, order=…)`
    along the frames. It is the same everywhere on the polynomial, so the first and last `width // 2` frames, that have
    too few neighbours, have the value of the nearest frame that has enough (librosa's mode "interp").

    Of fewer than `width` frames one polynomial is fitted to all; of no more than `order` frames it is 0.

    >>> delta(np.arange(0, 8, 2, dtype=np.float32)[:, None], width=3, order=1)[:, 0].tolist()
    [2.0, 2.0, 2.0, 2.0]
    """
    count = len(frames)
    if count < width:
        inner = _centred(frames, count, order) if count > order else np.zeros((min(1, count), *frames.shape[1:]))
        return np.repeat(np.asarray(inner, np.float32), count, axis=0)
    return np.pad(_centred(frames, width, order), ((width // 2, width // 2), (0, 0)), mode="edge")


@dataclass
class DeltaState:
    """Frames of one stream that wait for their neighbours, or that later frames still need.

    Attributes:
        frames: values without deltas, float32 `[frames, dims]`, at most as many as a delta is fitted to.
        first_frame: number of the first of them.
        next_frame: number of the next frame to let out; `first_frame` as long as none is out.
    """

    frames: Samples
    first_frame: int
    next_frame: int


class Deltas:
    """Lets frames out with their deltas, `width // 2` frames late, each stream by itself.

    The first `width // 2` frames of a segment come out with the one that follows them, whose deltas they share; the
    last ones with `flush`. The values are those of `delta` over the whole segment, to the bit.

    Args:
        width: frames that a delta is fitted to, odd.
        parts: for each output its columns among the values that come in, and the order of its delta: 0, 1 or 2.
    """

    def __init__(self, width: int, parts: list[tuple[slice, int]]) -> None:
        self._width, self._parts = width, parts
        self._streams: dict[str, DeltaState] = {}

    def push(self, stream: str, first_frame: int, values: Samples) -> tuple[int, Samples]:
        """Takes frames `[frames, values]`, numbered from `first_frame` on; returns those that are ready."""
        kept = self._streams.get(stream)
        if kept is None:
            kept = self._streams[stream] = DeltaState(values[:0].copy(), first_frame, first_frame)
        start = kept.next_frame
        if not len(values):
            return start, self._output(values, 0, 0)
        known = np.concatenate((kept.frames, values))
        half = self._width // 2
        begin, end = start - kept.first_frame, len(known) - half
        if len(known) < self._width:  # none is out yet: begin is 0
            kept.frames = known
            return start, self._output(known, 0, 0)
        kept.next_frame = kept.first_frame + end
        surplus = len(known) - self._width
        kept.frames, kept.first_frame = known[surplus:].copy(), kept.first_frame + surplus
        return start, self._output(known[max(0, begin - half) :], min(begin, half), end - begin)

    def flush(self, stream: str, first_frame: int, values: Samples) -> tuple[int, Samples]:
        """Takes the segment's last frames and returns all that are left."""
        start, ready = self.push(stream, first_frame, values)
        kept = self._streams.pop(stream)
        begin = kept.next_frame - kept.first_frame
        rest = self._output(kept.frames, begin, len(kept.frames) - begin)
        return start, np.concatenate((ready, rest))

    def reset(self, stream: str) -> None:
        """Forgets a stream."""
        self._streams.pop(stream, None)

    def state(self, stream: str) -> DeltaState | None:
        """A copy of what is kept of a stream."""
        kept = self._streams.get(stream)
        return kept and DeltaState(kept.frames.copy(), kept.first_frame, kept.next_frame)

    def restore(self, stream: str, state: DeltaState) -> None:
        """Goes on from `state`."""
        self._streams[stream] = DeltaState(state.frames.copy(), state.first_frame, state.next_frame)

    def bytes_per_stream(self, values: int) -> int:
        """The most that is kept for each stream, in bytes."""
        return self._width * values * np.dtype(np.float32).itemsize

    def _output(self, frames: Samples, begin: int, count: int) -> Samples:
        """All outputs for `count` frames from number `begin` of `frames` on, float32 `[count, outputs]`."""
        wanted = slice(begin, begin + count)
        columns = [
            (delta(frames[:, part], self._width, order) if order and count else frames[:, part])[wanted]
            for part, order in self._parts
        ]
        return np.concatenate(columns, axis=1)


def _centred(frames: Samples, width: int, order: int) -> Samples:
    """The derivative at the middle of each `width` consecutive frames, float32 `[frames - width + 1, dims]`.

    With t = -(width - 1) / 2 .. (width - 1) / 2 the fitted slope is  sum(t x) / sum(t²); the second derivative of the
    fitted parabola  2 sum(q x) / sum(q²)  with  q = t² - mean(t²): q is orthogonal to 1 and t, and has leading term t².
    """
    t = np.arange(width) - (width - 1) / 2
    basis = t if order == 1 else t * t - np.mean(t * t)
    weights = order * basis / np.sum(basis * basis)
    middles = len(frames) - width + 1
    # Frame by frame of the fit: sums in the same order for every frame, so bits do not hang on how many there are.
    # The weights sum to 0, so differences may stand for values, and a constant gives exactly 0.
    exact = frames.astype(np.float64)
    total = np.zeros((middles, *frames.shape[1:]))
    middle = exact[width // 2 :][:middles]
    for place in range(width // 2):
        before, after = exact[place:][:middles], exact[width - 1 - place :][:middles]
        change = after - before if order == 1 else (after - middle) + (before - middle)
        change *= weights[width - 1 - place]
        total += change
    return total.astype(np.float32)
