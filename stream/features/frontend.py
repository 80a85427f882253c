"""From samples to frames, for any number of streams at once, in blocks of any size.

`FrontEnd` keeps what is left over of each stream, counts frames, and takes all frames that are ready, of all streams,
in one batch; `compute` is the same for one whole signal. Training, evaluation and live use this one code.

**The values of a frame are the same bits whatever the block sizes and the other streams**, on one machine with one
numpy (`log_mel.py` says how). Between kinds of CPUs they agree to about 1e-6, where numpy's kernels round otherwise.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .log_mel import BATCH, LogMel
from .spec import FrontEndSpec

__all__ = ["LOUDEST", "Frames", "FrontEnd", "FrontEndSpec", "clean", "compute"]

Samples = NDArray[np.float32]

LOUDEST = 1e9
"""Samples beyond this (full scale is 1) are not sound but a broken source; their powers would overflow."""


@dataclass(frozen=True, slots=True)
class Frames:
    """Consecutive frames of one stream.

    Attributes:
        first_frame: number of the first one, counted from the segment's beginning.
        values: float32 `[frames, dims]`, C-contiguous; the receiver's to keep (other streams may share the memory's
            owner, never the elements). Frames may be 0.
    """

    first_frame: int
    values: Samples


class FrontEnd:
    """Turns blocks of samples into frames, stream by stream, all in one batch.

    A stream begins with its first block and ends with `flush`, `reset` or `drop`; the next block of that name begins a
    new segment with frame 0. What it keeps of a stream is fewer than `n_fft + hop_length` samples. Not for use by
    several threads at once.

    >>> front_end = FrontEnd(FrontEndSpec())
    >>> frames = front_end.push({"kitchen": np.zeros(700, np.float32)})["kitchen"]
    >>> frames.first_frame, frames.values.shape, round(float(frames.values[0, 0]), 3)
    (0, (2, 64), -100.0)
    >>> front_end.push({"kitchen": np.zeros(160, np.float32)})["kitchen"].first_frame
    2
    """

    def __init__(self, spec: FrontEndSpec) -> None:
        self.spec = spec
        self._streams: dict[str, _Stream] = {}
        self._computer = LogMel(spec) if spec.feature == "log_mel" else None

    @property
    def latency_samples(self) -> int:
        """`FrontEndSpec.latency_samples`: samples from a frame's time to the one that lets it out."""
        return self.spec.latency_samples

    def push(self, blocks: Mapping[str, Samples]) -> dict[str, Frames]:
        """Take a block of each named stream and return the frames that are ready, for each of them.

        Args:
            blocks: per stream float32 `[samples]`, mono at `spec.sr`, full scale -1..1; may be empty. NaN and Inf are
                the caller's to replace (`clean`).

        Returns:
            For each stream of `blocks` its next frames, perhaps none.
        """
        if self._computer is None:
            return {name: self._pass_on(name, block) for name, block in blocks.items()}
        ready = []
        for name, block in blocks.items():
            stream = self._streams.get(name)
            if stream is None:
                stream = self._streams[name] = _Stream(self.spec)
            ready.append((name, stream.first_frame, stream.take(block)))
        values = np.empty((sum(len(frames) for _, _, frames in ready), self.spec.n_mels), np.float32)
        self._compute([frames for _, _, frames in ready], values)
        result, row = {}, 0
        for name, first_frame, frames in ready:
            result[name] = Frames(first_frame, values[row : row + len(frames)])
            row += len(frames)
        return result

    def flush(self, stream: str) -> Frames:
        """End the segment of `stream`: its last frames, which exist only with `center`, and nothing is left of it."""
        state = self._streams.get(stream)
        if state is None:
            return Frames(0, np.empty((0, self.spec.dims), np.float32))
        tail = np.zeros(self.spec.lead if state.heard else 0, np.float32)
        last = Frames(state.first_frame, np.empty((0, 1), np.float32))
        if self._computer is not None:
            last = self.push({stream: tail})[stream]
        del self._streams[stream]
        return last

    def reset(self, stream: str) -> None:
        """Forget what is left over of `stream`: the next sample is the first of a new segment."""
        self._streams.pop(stream, None)

    def drop(self, stream: str) -> None:
        """The stream has left. The same as `reset`, as nothing is kept of a stream that waits to begin."""
        self.reset(stream)

    def _pass_on(self, name: str, block: Samples) -> Frames:
        stream = self._streams.setdefault(name, _Stream(self.spec))
        first_frame = stream.first_frame
        stream.first_frame += len(block)
        return Frames(first_frame, np.array(block, np.float32).reshape(-1, 1))

    def _compute(self, views: list[Samples], values: Samples) -> None:
        """Compute all frames of `views` `[frames, n_fft]` into `values`, one full batch after the other."""
        assert self._computer is not None
        filled = done = 0
        for part in _fill_up(views):
            self._computer.put(part, filled)
            filled += len(part)
            if filled == BATCH:
                self._computer.compute_into(values[done : done + filled])
                done, filled = done + filled, 0
        if filled:
            self._computer.compute_into(values[done : done + filled])


def compute(spec: FrontEndSpec, samples: Samples) -> Samples:
    """All frames of one signal, by the same code that runs live.

    Args:
        spec: the front end.
        samples: float32 `[samples]`, mono at `spec.sr`.

    Returns:
        float32 `[frames, dims]`, `spec.frames_of(len(samples))` frames: what `FrontEnd` gives for the same samples in
        any blocks, `flush` included.
    """
    front_end = FrontEnd(spec)
    body, tail = front_end.push({"": samples})[""], front_end.flush("")
    return np.concatenate((body.values, tail.values)) if len(tail.values) else body.values


def clean(samples: Samples) -> tuple[Samples, int]:
    """Replace what is no sound by silence: NaN, Inf and magnitudes of `LOUDEST` and more.

    Returns:
        `samples` itself and 0 where all is well, else a mended copy and how many values were replaced.
    """
    flat = samples.reshape(-1)
    with np.errstate(all="ignore"):
        # One pass settles the usual case: the energy is finite and small only if every sample is (half: it is rounded).
        if float(np.dot(flat, flat)) < LOUDEST * LOUDEST / 2:
            return samples, 0
        bad = ~(np.abs(samples) < LOUDEST)
    count = int(np.count_nonzero(bad))
    return (np.where(bad, np.float32(0), samples), count) if count else (samples, 0)


class _Stream:
    """What is kept between the blocks of one stream: the samples from the next frame's first one on."""

    __slots__ = ("_hop", "_left", "_n_fft", "first_frame", "heard")

    def __init__(self, spec: FrontEndSpec) -> None:
        self._n_fft, self._hop = spec.n_fft, spec.hop_length
        self._left = np.zeros(spec.lead, np.float32)
        self.first_frame = 0  # number of the next frame
        self.heard = False

    def take(self, block: Samples) -> Samples:
        """Append a block; return all complete frames as an overlapping view `[frames, n_fft]`."""
        if block.ndim != 1 or block.dtype != np.float32:
            raise TypeError(f"a block is float32 [samples], not {block.dtype} {list(block.shape)}")
        self.heard = self.heard or len(block) > 0
        joined = np.concatenate((self._left, block))
        count = max(0, 1 + (len(joined) - self._n_fft) // self._hop)
        step = joined.itemsize
        # The same as sliding_window_view(joined, n_fft)[::hop], which takes longer than all the rest of a small push.
        frames = np.ndarray((count, self._n_fft), np.float32, joined, 0, (self._hop * step, step))
        self._left = joined[count * self._hop :].copy()  # a view would keep the whole block alive
        self.first_frame += count
        return frames


def _fill_up(views: list[Samples]) -> Iterator[Samples]:
    """The frames of all views, in order, in parts that never cross a multiple of `BATCH`."""
    room = BATCH
    for view in views:
        start = 0
        while start < len(view):
            part = view[start : start + room]
            start += len(part)
            room = room - len(part) or BATCH
            yield part
