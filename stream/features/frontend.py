"""From samples to frames, for any number of streams at once, in blocks of any size.

`FrontEnd` keeps what is left over of each stream, counts frames, and takes all frames that are ready, of all streams,
in one batch; `compute` is the same for one whole signal. Training, evaluation and live use this one code.

**The values of a frame are the same bits whatever the block sizes and the other streams**, on one machine with one
numpy. Where a family cannot promise that, its file says so.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from operator import attrgetter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .catalog import find_feature
from .clean import LOUDEST, clean
from .delta import Deltas, DeltaState, parse_delta
from .feature import Batch, Feature, Tables
from .ready import Frames, Group, Ready
from .slots import Slots
from .spec import WAVEFORM, FrontEndSpec
from .spectra import gather

__all__ = ["LOUDEST", "Frames", "FrontEnd", "FrontEndSpec", "Ready", "StreamState", "clean", "compute", "silence"]

Samples = NDArray[np.float32]

ROWS = 256
"""Frames computed together, so that all intermediates of a batch stay in the cache."""

SPARE_HOPS = 10
"""Hops of room behind what is kept of a stream: blocks of as much are appended in place, and seldom moved."""

MANY_SPARES = 4
"""Blocks longer than so many times that are taken stream by stream: each has frames enough for a batch."""

LONGEST = 1 << 16
"""Samples that are taken at once of one stream, at most."""

_FLOAT32 = frozenset({np.dtype(np.float32)})
_dtype = attrgetter("dtype")


@dataclass
class StreamState:
    """All that a front end keeps of one stream. A stream goes on from it, in any front end of the same spec.

    Attributes:
        left: samples that frames to come still need, float32 `[samples]`; padding before the signal included.
        next_frame: number of the next frame to compute.
        opening: samples that wait until there are enough to pad the signal's beginning with; None once it is padded.
        carried: what the features carry on, by "place in the spec/name".
        deltas: frames that wait for their neighbours, where the spec has deltas.
    """

    left: Samples
    next_frame: int
    opening: Samples | None
    carried: dict[str, NDArray[Any]] = field(default_factory=dict)
    deltas: DeltaState | None = None


class FrontEnd:
    """Turns blocks of samples into frames, stream by stream, all in one batch.

    A stream begins with its first block and ends with `flush` or `reset`; the next block of that name begins a new
    segment with frame 0. What is kept of a stream is stated by `bytes_per_stream`. Not for use by several threads at
    once.

    >>> front_end = FrontEnd(FrontEndSpec())
    >>> frames = front_end.push({"kitchen": np.zeros(700, np.float32)})["kitchen"]
    >>> frames.first_frame, frames.values.shape, round(float(frames.values[0, 0]), 3)
    (0, (2, 64), -100.0)
    >>> front_end.push({"kitchen": np.zeros(160, np.float32)})["kitchen"].first_frame
    2
    """

    def __init__(self, spec: FrontEndSpec) -> None:
        self.spec = spec
        computed, outputs = _plan(spec)
        self._features: list[Feature] = [find_feature(name)(spec) for name in computed]
        widths = [feature.dims(spec) for feature in self._features]
        ends = np.cumsum(widths).tolist()
        self._columns = [slice(end - width, end) for end, width in zip(ends, widths, strict=True)]
        self._dims = ends[-1]
        parts = [(self._columns[place], order) for place, order in outputs]
        self._deltas = Deltas(spec.delta_width, parts) if any(order for _, order in parts) else None
        self._tables = Tables(spec, lone=len(self._features) == 1)
        self._nothing = np.empty((0, self._dims), np.float32)
        # Edges are mirrored from what is still there: it must reach as far back as the mirror.
        mirrored = spec.lead + 1 if spec.pad_mode != "constant" and spec.center else 0
        self._mirrored = mirrored
        self._before = max(mirrored, *(feature.before for feature in self._features))
        self._after = max(feature.after for feature in self._features)
        self._length = self._before + spec.frame_length + self._after
        self._spare = SPARE_HOPS * spec.hop_length
        self._slots = Slots(self._length, self._spare, self._features)

    @property
    def latency_samples(self) -> int:
        """`FrontEndSpec.latency_samples`: samples from a frame's time to the one that lets it out."""
        return self.spec.latency_samples

    @property
    def bytes_per_stream(self) -> int:
        """Memory that is kept for each stream, in bytes, names and bookkeeping (about 300) aside."""
        state = self._slots.samples[0].nbytes + sum(
            carried[0].nbytes for feature in self._features for carried in feature.carried.values()
        )
        return int(state) + (self._deltas.bytes_per_stream(self._dims) if self._deltas else 0)

    def push(self, blocks: Mapping[str, Samples]) -> Mapping[str, Frames]:
        """Take a block of each named stream and return the frames that are ready, for each of them.

        Args:
            blocks: per stream float32 `[samples]`, mono at `spec.sr`, full scale -1..1; may be empty. NaN and Inf are
                the caller's to replace (`clean`).

        Returns:
            For each stream of `blocks`, in their order, its next frames, perhaps none. Of many streams a `Ready`, which
            has them all in few arrays as well.
        """
        if not _FLOAT32.issuperset(map(_dtype, blocks.values())):
            _check(blocks.values())
        if self._mirrored:
            blocks = {name: self._opened(name, block) for name, block in blocks.items()}
        result = self._push(list(blocks), list(blocks.values()))
        if self._deltas is None:
            return result
        return {name: Frames(*ready) for name, ready in self._deltas.push(result).items()}

    def flush(self, stream: str) -> Frames:
        """End the segment of `stream`: the frames that waited for what follows, and nothing is left of it."""
        slots = self._slots
        if stream not in slots.of:
            return Frames(0, np.empty((0, self.spec.dims), np.float32))
        slot = slots.of[stream]
        tail = self._closing(stream, slot)
        last = self._push([stream], [tail])[stream]
        if self._deltas is not None:
            last = Frames(*self._deltas.flush(stream, *last))
        slots.leave(stream)
        return last

    def reset(self, stream: str) -> None:
        """Forget `stream`: its next sample is the first of a new segment. Nothing is kept of one that has left."""
        self._slots.leave(stream)
        if self._deltas is not None:
            self._deltas.reset(stream)

    def state(self, stream: str) -> StreamState | None:
        """A copy of all that is kept of `stream`; None where nothing is."""
        slot = self._slots.of.get(stream)
        if slot is None:
            return None
        slots = self._slots
        carried = {
            f"{place}/{name}": pool[slot].copy()
            for place, feature in enumerate(self._features)
            for name, pool in feature.carried.items()
        }
        opening = slots.opening.get(stream)
        return StreamState(
            left=slots.left(slot).copy(),
            next_frame=int(slots.next_frame[slot]),
            opening=None if opening is None else opening.copy(),
            carried=carried,
            deltas=self._deltas.state(stream) if self._deltas else None,
        )

    def restore(self, stream: str, state: StreamState) -> None:
        """Let `stream` go on from `state`, in place of what is kept of it; taken from a front end of the same spec."""
        self.reset(stream)
        slots = self._slots
        slot = self._join(stream)
        slots.put(slot, state.left)
        slots.next_frame[slot] = state.next_frame
        slots.opening.pop(stream, None)
        if state.opening is not None:
            slots.opening[stream] = state.opening.copy()
        for place, feature in enumerate(self._features):
            for name, pool in feature.carried.items():
                pool[slot] = state.carried[f"{place}/{name}"]
        if self._deltas is not None and state.deltas is not None:
            self._deltas.restore(stream, state.deltas)

    # ---- padding

    def _join(self, name: str) -> int:
        """A new stream's slot: zeros before the signal, or nothing yet where the signal itself pads its beginning."""
        slots = self._slots
        zeros = self._before + (0 if self._mirrored else self.spec.lead)
        slot = slots.join(name, zeros)
        if self._mirrored:
            slots.opening[name] = np.empty(0, np.float32)
        return slot

    def _opened(self, name: str, block: Samples) -> Samples:
        """The block, with the mirrored beginning before it as soon as there are samples enough to mirror."""
        slots = self._slots
        if name not in slots.of:
            self._join(name)
        waiting = slots.opening.get(name)
        if waiting is None:
            return block
        joined = np.concatenate((waiting, block))
        if len(joined) < self._mirrored:
            slots.opening[name] = joined
            return joined[:0]
        del slots.opening[name]
        return np.pad(joined, (self.spec.lead, 0), mode=self.spec.pad_mode)

    def _closing(self, name: str, slot: int) -> Samples:
        """What follows a signal: its padding, and zeros for what looks beyond the last frame; nothing after nothing."""
        spec, slots = self.spec, self._slots
        waiting, left = slots.opening.pop(name, None), slots.left(slot)
        if not self._mirrored:
            heard = slots.next_frame[slot] > 0 or len(left) > self._before + spec.lead
            return np.zeros(spec.lead + self._after if heard else 0, np.float32)
        if waiting is not None:
            whole = np.pad(waiting, spec.lead, mode=spec.pad_mode) if len(waiting) else waiting
        else:
            end = left[-self._mirrored :]
            whole = np.pad(end, (0, spec.lead), mode=spec.pad_mode)[len(end) :]
        return np.concatenate((whole, np.zeros(self._after if len(whole) else 0, np.float32)))

    # ---- frames

    def _push(self, names: list[str], blocks: list[Samples]) -> Mapping[str, Frames]:
        """All frames that are ready, before any deltas."""
        if not names:
            return {}
        slots = self._slots
        try:
            places = list(map(slots.of.__getitem__, names))
        except KeyError:
            places = [slots.of[name] if name in slots.of else self._join(name) for name in names]
        rows = slots.every[places[0] : places[0] + 1] if len(places) == 1 else np.array(places, np.intp)
        lengths = list(map(len, blocks))
        longest = max(lengths)
        if longest <= self._spare:
            return self._push_short(names, rows, blocks, lengths)
        if len(names) == 1 or longest > MANY_SPARES * self._spare:
            return {
                name: self._push_long(name, place, block)
                for name, place, block in zip(names, places, blocks, strict=True)
            }
        pieces = []
        for start in range(0, longest, self._spare):
            parts = [block[start : start + self._spare] for block in blocks]
            pieces.append(self._push_short(names, rows, parts, list(map(len, parts))))
        return {
            name: Frames(pieces[0][name].first_frame, np.concatenate([piece[name].values for piece in pieces]))
            for name in names
        }

    def _push_short(
        self, names: list[str], rows: NDArray[np.intp], blocks: list[Samples], lengths: list[int]
    ) -> Mapping[str, Frames]:
        """Blocks that find room behind what is left of their streams: those that have as many frames go together."""
        slots = self._slots
        try:
            slots.append(rows, blocks, lengths)
        except ValueError:
            _check(blocks)
            raise
        if len(names) == 1:
            first = slots.next_frame.item(rows[0])
            count = 1 + (slots.fill.item(rows[0]) - self._length) // self.spec.hop_length
            return {names[0]: Frames(first, self._advance(rows, count)[0] if count > 0 else self._nothing)}
        first_frames = slots.next_frame[rows]
        counts = np.maximum(0, 1 + (slots.fill[rows] - self._length) // self.spec.hop_length)
        opening = first_frames == 0
        groups = [
            Group(group, self._advance(rows if group is None else rows[group], count))
            for group, count in _alike(2 * counts + opening)
            if count
        ]
        return Ready(names, first_frames, groups, self._nothing)

    def _push_long(self, name: str, slot: int, block: Samples) -> Frames:
        """A block without room in its row, by itself, piece by piece."""
        _check((block,))
        slots, hop, rows = self._slots, self.spec.hop_length, self._slots.every[slot : slot + 1]
        first, start = slots.next_frame.item(slot), 0
        parts: list[Samples] = []
        while start < len(block) or not parts:
            samples = np.concatenate((slots.left(slot), block[start : start + LONGEST]))
            start += LONGEST
            count = max(0, 1 + (len(samples) - self._length) // hop)
            parts.append(self._compute(rows, samples, np.zeros(1, np.intp), count)[0] if count else self._nothing)
            slots.put(slot, samples[count * hop :])
            slots.next_frame[slot] += count
        return Frames(first, parts[0] if len(parts) == 1 else np.concatenate(parts))

    def _advance(self, rows: NDArray[np.intp], count: int) -> Samples:
        """The next `count` frames of some streams, `[streams, frames, dims]`; what they alone needed is let go."""
        slots, done = self._slots, count * self.spec.hop_length
        values = self._compute(rows, slots.samples, slots.starts(rows), count)
        where = rows if len(rows) > 1 else rows.item(0)  # of a single one numpy takes less than half of the time
        slots.begin[where] += done
        slots.fill[where] -= done
        slots.next_frame[where] += count
        return values

    def _compute(self, rows: NDArray[np.intp], samples: Samples, starts: NDArray[np.intp], count: int) -> Samples:
        """The next `count` frames of some streams, whose samples begin at `starts`; `[streams, frames, dims]`."""
        if self.spec.feature == WAVEFORM:
            return gather(samples, starts, count)[:, :, None].copy()
        opening = self._slots.next_frame.item(rows.item(0)) == 0
        streams, together = len(rows), max(1, ROWS // count)
        if streams <= together and count <= ROWS and len(self._features) == 1:
            values = self._features[0].compute(self._batch(rows, samples, starts, count, opening))
            return values.reshape(streams, count, self._dims)
        values = np.empty((streams, count, self._dims), np.float32)
        for stream in range(0, streams, together):
            some = slice(stream, stream + together)
            for begin in range(0, count, ROWS):
                part = slice(begin, min(count, begin + ROWS))
                first = starts[some] + begin * self.spec.hop_length
                batch = self._batch(rows[some], samples, first, part.stop - begin, opening and not begin)
                for feature, columns in zip(self._features, self._columns, strict=True):
                    values[some, part, columns] = feature.compute(batch).reshape(len(batch.slots), batch.count, -1)
        return values

    def _batch(
        self, rows: NDArray[np.intp], samples: Samples, starts: NDArray[np.intp], count: int, opening: bool
    ) -> Batch:
        length = self._length + (count - 1) * self.spec.hop_length
        return Batch(self._tables, samples, starts, length, self._before, rows, count, opening)


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


@lru_cache(maxsize=64)
def silence(spec: FrontEndSpec) -> Samples:
    """A frame of digital silence, float32 `[dims]`, read-only. Padding is made of it."""
    front_end = FrontEnd(spec)
    needed = spec.latency_samples + spec.hop_length
    frames = [front_end.push({"": np.zeros(needed, np.float32)})[""], front_end.flush("")]
    frame = np.array(np.concatenate([part.values for part in frames])[0])
    frame.setflags(write=False)
    return frame


def _check(blocks: Iterable[Samples]) -> None:
    for block in blocks:
        if block.ndim != 1 or block.dtype != np.float32:
            raise TypeError(f"a block is float32 [samples], not {block.dtype} {list(block.shape)}")


def _plan(spec: FrontEndSpec) -> tuple[list[str], list[tuple[int, int]]]:
    """The features to compute, and for each output which of them it is and how often it is differentiated."""
    parsed = [parse_delta(name) for name in spec.features]
    computed = list(dict.fromkeys(name for name, _ in parsed))
    return computed, [(computed.index(name), order) for name, order in parsed]


def _alike(keys: NDArray[np.intp]) -> list[tuple[NDArray[np.intp] | None, int]]:
    """Indices of the streams with the same key, group by group, None for all; and how many frames they have.

    The key is twice the number of frames, and one more for streams that begin.
    """
    if (keys == keys[0]).all():
        return [(None, int(keys[0]) // 2)]
    order = np.argsort(keys, kind="stable")
    groups = np.split(order, np.flatnonzero(np.diff(keys[order])) + 1)
    return [(group, int(keys[group[0]]) // 2) for group in groups]
