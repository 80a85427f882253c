"""Live streams on a GPU: blocks of many streams in, frames out, with what is left over kept on the device.

`stream.features.frontend.FrontEnd` on tensors, for a server that hears a thousand streams. The streams are slots of
tensors. They need not be in step: each slot has its own place, and is filled, flushed and reset by itself. What is
counted lies on the host, so that a push need not wait for the device.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from ..stream.errors import EarwitnessError
from ..stream.features.spec import FrontEndSpec
from .frontend import TorchFrontEnd
from .frontend_deltas import middles


class TensorFrames(NamedTuple):
    """The next frames of some slots.

    Attributes:
        first_frames: number of each slot's first one in its segment, int64 `[slots]`, on the CPU.
        counts: how many each slot has, int64 `[slots]`, on the CPU.
        values: float32 `[slots, most, dims]` on the device; zeros from a slot's count on.
    """

    first_frames: Tensor
    counts: Tensor
    values: Tensor


class TorchStreams:
    """Turns blocks of samples into frames for a fixed number of slots, each the stream of one source at a time.

    Frames are those of `TorchFrontEnd` over the whole segment, within the rounding of single precision, whatever the
    blocks. What is kept of a slot does not grow: `bytes_per_slot`.

    Args:
        spec: the front end. With `center` the `pad_mode` must be "constant".
        slots: how many.
        device: where it is computed and kept.

    >>> streams = TorchStreams(FrontEndSpec(), slots=3)
    >>> frames = streams.push([0, 2], torch.zeros(2, 700))
    >>> frames.first_frames.tolist(), frames.counts.tolist(), frames.values.shape
    ([0, 0], [2, 2], torch.Size([2, 2, 64]))
    >>> streams.push([0, 1], torch.zeros(2, 160)).counts.tolist()
    [1, 0]
    """

    def __init__(self, spec: FrontEndSpec, slots: int, device: str | torch.device = "cpu") -> None:
        if spec.center and spec.pad_mode != "constant":
            raise EarwitnessError(
                f"front end on tensors: pad_mode {spec.pad_mode!r} needs the signal's end; streams take 'constant', or "
                "center = false"
            )
        self.spec, self.device = spec, torch.device(device)
        self._front_end = TorchFrontEnd(spec, device)
        self._width = spec.delta_width if any(order for _, order in self._front_end.parts) else 0
        self._length = self._front_end.before + spec.frame_length + self._front_end.after
        # A slot's samples end where its row ends: those of the next block follow at once.
        self._left = torch.zeros(slots, self._length - 1, device=self.device)
        self._fill = torch.zeros(slots, dtype=torch.int64)
        self._frames = torch.zeros(slots, dtype=torch.int64)
        self._heard = torch.zeros(slots, dtype=torch.bool)
        fresh = [feature.fresh(slots, self.device) for feature in self._front_end.ordered()]
        self._carried = [{name: value.clone() for name, value in state.items()} for state in fresh]
        # The newest frames, right-aligned too, which deltas still need.
        self._recent = torch.zeros(slots, self._width, self._front_end.computed_dims, device=self.device)
        self.reset(range(slots))

    @property
    def bytes_per_slot(self) -> int:
        """What is kept of each slot on the device, in bytes."""
        kept = [self._left, self._recent, *(value for state in self._carried for value in state.values())]
        return sum(value[0].nbytes for value in kept)

    @torch.no_grad()
    def push(self, slots: Sequence[int] | Tensor, blocks: Tensor) -> TensorFrames:
        """Take a block of each of `slots` and return the frames that are ready.

        Args:
            slots: which, each once.
            blocks: float32 `[slots, samples]`, mono at `spec.sr`, full scale -1..1, on any device; in pinned memory
                they are copied while the host goes on. NaN and Inf are the caller's to replace.
        """
        places = _places(slots, len(self._fill))
        if blocks.ndim != 2 or len(blocks) != len(places):
            raise TypeError(f"blocks are [{len(places)} slots, samples], not {list(blocks.shape)}")
        first, counts, values = self._push(places, blocks.to(self.device, torch.float32, non_blocking=True))
        self._heard[places] |= blocks.shape[1] > 0
        if not self._width:
            return TensorFrames(first, counts, self._front_end.outputs(values))
        return self._differentiated(places, first, counts, values)

    @torch.no_grad()
    def flush(self, slots: Sequence[int] | Tensor) -> TensorFrames:
        """End the segments of `slots`: the frames that waited for what follows. Their next samples begin new ones."""
        places = _places(slots, len(self._fill))
        tail = torch.zeros(len(places), self.spec.lead + self._front_end.after, device=self.device)
        first, counts, values = self._push(places, tail, only=self._heard[places])
        frames = TensorFrames(first, counts, values)
        if self._width:
            frames = self._last(places, self._differentiated(places, *frames))
        else:
            frames = frames._replace(values=self._front_end.outputs(values))
        self.reset(places)
        return frames

    def reset(self, slots: Sequence[int] | range | Tensor) -> None:
        """Forget what is left of `slots`: their next sample is the first of a new segment."""
        places = _places(slots, len(self._fill))
        there = places.to(self.device)
        zeros = self._front_end.before + self.spec.lead
        self._left[there, self._left.shape[1] - zeros :] = 0.0
        self._fill[places], self._frames[places], self._heard[places] = zeros, 0, False
        for feature, carried in zip(self._front_end.ordered(), self._carried, strict=True):
            for name, value in feature.fresh(len(places), self.device).items():
                carried[name][there] = value

    def _push(self, places: Tensor, blocks: Tensor, only: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
        """First frames, counts and values `[slots, most, dims of the features]`, before any deltas."""
        spec, length, kept = self.spec, self._length, self._left.shape[1]
        there = places.to(self.device, non_blocking=True)
        fill, first = self._fill[places], self._frames[places]
        counts = ((fill + blocks.shape[1] - length) // spec.hop_length + 1).clamp(min=0)
        if only is not None:
            counts *= only
        joined = torch.cat((self._left[there], blocks), 1)
        self._left[there] = joined[:, joined.shape[1] - kept :]
        self._fill[places] = fill + blocks.shape[1] - counts * spec.hop_length
        self._frames[places] = first + counts
        most = int(counts.max()) if len(counts) else 0
        if not most:
            return first, counts, blocks.new_zeros(len(places), 0, self._front_end.computed_dims)
        samples = self._aligned(joined, kept - fill, (most - 1) * spec.hop_length + length)
        batch = self._front_end.batch(samples, most, (first == 0).to(self.device, non_blocking=True))
        values, ends = [], counts.to(self.device, non_blocking=True)
        rows = torch.arange(len(places), device=self.device)
        for feature, carried in zip(self._front_end.ordered(), self._carried, strict=True):
            value, histories = feature(batch, {name: state[there] for name, state in carried.items()})
            for name, history in histories.items():
                carried[name][there] = history[rows, ends]
            values.append(value)
        unused = torch.arange(most, device=self.device) >= ends[:, None]
        return first, counts, torch.cat(values, -1).masked_fill(unused[..., None], 0.0)

    def _aligned(self, joined: Tensor, starts: Tensor, length: int) -> Tensor:
        """So many samples of each slot from its own first one on; beyond the end, where frames are not used, any."""
        if bool((starts == starts[0]).all()):  # in step, as streams of one clock are: nothing to copy
            return joined[:, int(starts[0]) :]
        places = torch.arange(length, device=self.device) + starts.to(self.device, non_blocking=True)[:, None]
        return joined.gather(1, places.clamp(max=joined.shape[1] - 1))

    def _differentiated(self, places: Tensor, first: Tensor, counts: Tensor, values: Tensor) -> TensorFrames:
        """The frames whose neighbours are there: `width // 2` frames late, the first ones with the one that follows."""
        width, half, there = self._width, self._width // 2, places.to(self.device, non_blocking=True)
        known = torch.cat((self._recent[there], values), 1)  # number 0 is frame `first - width`
        self._recent[there] = _rows(known, counts[:, None] + torch.arange(width))
        begin = torch.where(first < width, 0, first - half)
        end = torch.where(first + counts < width, 0, first + counts - half)
        most = int((end - begin).max()) if len(places) else 0
        frames = begin[:, None] + torch.arange(most)  # numbers of the frames that come out
        at = frames - (first - width)[:, None]
        centres = torch.where(frames < half, half, frames) - (first - width)[:, None] - half
        columns = [
            _rows(middles(known[..., part], width, order), centres) if order else _rows(known[..., part], at)
            for part, order in self._front_end.parts
        ]
        unused = (torch.arange(most) >= (end - begin)[:, None]).to(self.device, non_blocking=True)
        return TensorFrames(begin, end - begin, torch.cat(columns, -1).masked_fill(unused[..., None], 0.0))

    def _last(self, places: Tensor, ready: TensorFrames) -> TensorFrames:
        """`ready` and the frames behind them, that no neighbours follow. Slot by slot: segments seldom end."""
        width, results = self._width, []
        for row, place in enumerate(places.tolist()):
            come = int(self._frames[place])
            known = self._recent[place : place + 1, width - min(come, width) :]
            rest = self._front_end.outputs(known)[0] if come else ready.values[0, :0]
            out = int(ready.first_frames[row] + ready.counts[row])
            own = ready.values[row, : int(ready.counts[row])]
            results.append(torch.cat((own, rest[len(rest) - (come - out) :])))
        counts = torch.tensor([len(result) for result in results], dtype=torch.int64)
        values = torch.nn.utils.rnn.pad_sequence(results, batch_first=True) if results else ready.values
        return TensorFrames(ready.first_frames, counts, values)


def _rows(values: Tensor, places: Tensor) -> Tensor:
    """`values[s, places[s]]` of each slot s, `[slots, places, dims]`; places beyond the end are the end's."""
    places = places.clamp(max=values.shape[1] - 1).to(values.device, non_blocking=True)
    return values.gather(1, places[..., None].expand(-1, -1, values.shape[2]))


def _places(slots: Sequence[int] | range | Tensor, available: int) -> Tensor:
    places = slots.cpu() if isinstance(slots, Tensor) else torch.tensor(list(slots), dtype=torch.int64)
    if len(places.unique()) != len(places) or (
        len(places) and not 0 <= int(places.min()) <= int(places.max()) < available
    ):
        raise IndexError(f"slots are numbers from 0 to {available - 1}, each once, not {places.tolist()}")
    return places
