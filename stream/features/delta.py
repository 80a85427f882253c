"""Deltas: how features change from frame to frame, by a polynomial fitted to their neighbours."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache

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
    width = min(width, len(frames))
    if width <= order:
        return np.zeros_like(frames)
    middles = _centred(frames, width, order)
    before, after = width // 2, (width - 1) // 2
    return np.concatenate((middles[:1].repeat(before, axis=0), middles, middles[-1:].repeat(after, axis=0)))


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
    """Lets frames out with their deltas, `width // 2` frames late; streams that are in step are computed together.

    The first `width // 2` frames of a segment come out with the one that follows them, whose deltas they share; the
    last ones with `flush`. The values are those of `delta` over the whole segment, to the bit.

    Args:
        width: frames that a delta is fitted to, odd.
        parts: for each output its columns among the values that come in, and the order of its delta: 0, 1 or 2. Each
            value that comes in is in one at least.
    """

    def __init__(self, width: int, parts: list[tuple[slice, int]]) -> None:
        self._width, self._half, self._parts = width, width // 2, parts
        self._dims = max(part.stop for part, _ in parts)
        ends = np.cumsum([part.stop - part.start for part, _ in parts]).tolist()
        self._places = [slice(start, end) for start, end in zip([0, *ends], ends, strict=False)]
        self._outputs = ends[-1]
        self._slots: dict[str, int] = {}
        self._free: list[int] = []
        self._frames = np.zeros((0, width, self._dims), np.float32)  # of each slot: the last frames that came,
        self._held: list[int] = []  # how many of them there are,
        self._seen: list[int] = []  # and the number of the next frame to come

    def push(self, frames: Mapping[str, tuple[int, Samples]]) -> dict[str, tuple[int, Samples]]:
        """Takes frames of each stream, (number of the first, `[frames, values]`); returns those that are ready."""
        groups: dict[tuple[int, int], list[str]] = {}
        ready: dict[str, tuple[int, Samples]] = {}
        for name, (first, values) in frames.items():
            slot = self._slots.get(name)
            if slot is None:
                slot = self._join(name, first)
            ready[name] = (self._next(slot), _NONE)  # keeps the order; the values follow
            groups.setdefault((self._held[slot], len(values)), []).append(name)
        for (held, count), names in groups.items():
            together = max(1, _AT_ONCE // ((held + count) * self._dims + 1))
            for start in range(0, len(names), together):
                some = names[start : start + together]
                slots = [self._slots[name] for name in some]
                results = self._advance(slots, held, count, [frames[name][1] for name in some])
                for name, values in zip(some, results, strict=True):
                    ready[name] = (ready[name][0], values)
        return ready

    def flush(self, stream: str, first_frame: int, values: Samples) -> tuple[int, Samples]:
        """Takes the segment's last frames and returns all that are left."""
        start, ready = self.push({stream: (first_frame, values)})[stream]
        slot = self._slots[stream]
        held = self._held[slot]
        kept = self._frames[slot, :held]
        wait = held - (self._next(slot) - (self._seen[slot] - held))
        rest = np.empty((wait, self._outputs), np.float32)
        for (part, order), place in zip(self._parts, self._places, strict=True):
            whole = delta(kept[:, part], self._width, order) if order else kept[:, part]
            rest[:, place] = whole[held - wait :]
        self.reset(stream)
        return start, np.concatenate((ready, rest))

    def reset(self, stream: str) -> None:
        """Forgets a stream."""
        slot = self._slots.pop(stream, None)
        if slot is not None:
            self._free.append(slot)

    def state(self, stream: str) -> DeltaState | None:
        """A copy of what is kept of a stream."""
        slot = self._slots.get(stream)
        if slot is None:
            return None
        held = self._held[slot]
        return DeltaState(self._frames[slot, :held].copy(), self._seen[slot] - held, self._next(slot))

    def restore(self, stream: str, state: DeltaState) -> None:
        """Goes on from `state`."""
        self.reset(stream)
        held = len(state.frames)
        slot = self._join(stream, state.first_frame + held)
        self._frames[slot, :held], self._held[slot] = state.frames, held

    def bytes_per_stream(self, values: int) -> int:
        """The most that is kept for each stream, in bytes."""
        return self._width * values * self._frames.itemsize

    def _join(self, name: str, next_frame: int) -> int:
        if not self._free:
            old, new = len(self._held), max(1, 2 * len(self._held))
            self._frames = np.concatenate((self._frames, np.zeros((new - old, *self._frames.shape[1:]), np.float32)))
            self._held += [0] * (new - old)
            self._seen += [0] * (new - old)
            self._free = list(reversed(range(old, new)))
        slot = self._slots[name] = self._free.pop()
        self._held[slot], self._seen[slot] = 0, next_frame
        return slot

    def _next(self, slot: int) -> int:
        """The number of the next frame to let out: none is out before there are as many as a delta is fitted to."""
        held = self._held[slot]
        return self._seen[slot] - (self._half if held == self._width else held)

    def _advance(self, slots: list[int], held: int, count: int, values: list[Samples]) -> Iterable[Samples]:
        """Takes `count` frames of each of some streams that hold as many; the outputs that are ready of each."""
        width, half, known = self._width, self._half, held + count
        if not count:
            return [np.empty((0, self._outputs), np.float32)] * len(slots)
        frames = np.empty((len(slots), known, self._dims), np.float32)
        frames[:, :held] = self._frames[slots, :held]
        frames[:, held:] = np.concatenate(values).reshape(len(slots), count, self._dims)
        keep = min(known, width)
        self._frames[slots, :keep] = frames[:, known - keep :]
        for slot in slots:
            self._held[slot] = keep
            self._seen[slot] += count
        opening = held < width
        begin, end = 0 if opening else half + 1, known - half if known >= width else 0
        ready = np.empty((len(slots), max(0, end - begin), self._outputs), np.float32)
        if ready.shape[1]:
            for (part, order), place in zip(self._parts, self._places, strict=True):
                if not order:
                    ready[:, :, place] = frames[:, begin:end, part]
                    continue
                if opening:
                    ready[:, half:, place] = _centred(frames[:, :, part], width, order)
                    ready[:, :half, place] = ready[:, half : half + 1, place]
                else:
                    ready[:, :, place] = _centred(frames[:, 1:, part], width, order)
        return ready


_NONE = np.empty((0, 0), np.float32)
_AT_ONCE = 1 << 15  # values, so that what is made of them stays in the cache


def _centred(frames: Samples, width: int, order: int) -> Samples:
    """The derivative in the middle of each `width` consecutive frames, float32 `[..., frames - width + 1, dims]`.

    With t = -(width - 1) / 2 .. (width - 1) / 2 the fitted slope is  sum(t x) / sum(t²); the second derivative of the
    fitted parabola  2 sum(q x) / sum(q²)  with  q = t² - mean(t²): q is orthogonal to 1 and t, and has leading term t².
    Scaled to whole numbers, 2 t and 12 q, they make products of single-precision values that double precision holds
    exactly, and all but always their sums: so the derivative of a constant is exactly 0.
    """
    weights, scale = _weights(width, order)
    middles = frames.shape[-2] - width + 1
    exact = frames.astype(np.float64)
    # Elementwise, in one order: a frame's bits do not hang on how many there are. The weights are (anti)symmetric.
    total = weights[width // 2] * exact[..., width // 2 :, :][..., :middles, :] if width % 2 else 0.0
    for place in range(width // 2):
        before, after = exact[..., place:, :][..., :middles, :], exact[..., width - 1 - place :, :][..., :middles, :]
        pair = after - before if order == 1 else after + before
        pair *= weights[width - 1 - place]
        total = np.add(total, pair, out=pair)
    total *= scale
    return np.asarray(total, np.float32)


@lru_cache(maxsize=64)
def _weights(width: int, order: int) -> tuple[list[float], float]:
    """Whole numbers by which the frames are weighed, and what scales their sum."""
    steps = 2 * np.arange(width) - (width - 1)
    weights = steps if order == 1 else 3 * steps * steps - (width * width - 1)
    return weights.astype(np.float64).tolist(), (2.0 if order == 1 else 24.0) / float(np.sum(weights * weights))
