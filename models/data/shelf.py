"""Recordings end to end in one tensor on the device that trains, and random windows of them by index alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .recordings import Recording

Whole = NDArray[np.int64]


class Shelf:
    """Recordings in one tensor. Drawing from it and gathering have no loop over the rows of a batch.

    Args:
        groups: recordings by group: a class, a kind of background.

    Attributes:
        values: float32 `[values of all + 1, ...]`; the last is 0 and stands for all that is outside of a recording.
        groups: the names of the groups that have recordings.
    """

    def __init__(self, groups: Mapping[str, Sequence[Recording]], device: str | torch.device = "cpu") -> None:
        self.groups = [name for name, recordings in groups.items() if recordings]
        recordings = [recording for name in self.groups for recording in groups[name]]
        self._sizes = np.array([len(groups[name]) for name in self.groups], np.int64)
        self._group_firsts = np.cumsum(self._sizes) - self._sizes
        self._lengths = np.array([len(recording.values) for recording in recordings], np.int64)
        self._firsts = np.cumsum(self._lengths) - self._lengths
        self.values = self._joined(recordings, device)
        # Recording r has the numbers from r to r + 1: one search finds a place in whatever recording is asked for.
        ends = [r + np.cumsum(each.weights) / each.weights.sum() for r, each in enumerate(recordings)]
        self._ends = np.concatenate([np.zeros(0), *ends])
        self._starts = np.concatenate([np.zeros(0, np.int64), *(each.starts for each in recordings)])
        self._last = np.cumsum([len(each.starts) for each in recordings]) - 1

    def _joined(self, recordings: Sequence[Recording], device: str | torch.device) -> Tensor:
        shape = recordings[0].values.shape[1:] if recordings else ()
        joined = np.zeros((int(self._lengths.sum()) + 1, *shape), np.float32)
        for first, recording in zip(self._firsts, recordings, strict=True):
            joined[first : first + len(recording.values)] = recording.values
        return torch.from_numpy(joined).to(device)

    @property
    def silence(self) -> int:
        """The number of the value that is 0."""
        return len(self.values) - 1

    def draw_of(self, groups: Whole, rng: np.random.Generator, versions: int = 1) -> Whole:
        """A random recording `[count]` of each group `[count]`, the first of its `versions` that stand in a row."""
        inside = (rng.random(len(groups)) * (self._sizes[groups] // versions)).astype(np.int64)
        return np.asarray(self._group_firsts[groups] + inside * versions)

    def draw_starts(self, recordings: Whole, rng: np.random.Generator) -> Whole:
        """A random place `[count]` for a window in each recording `[count]`."""
        places = np.searchsorted(self._ends, recordings + rng.random(len(recordings)), side="right")
        places = np.minimum(places, self._last[recordings])  # r + 0.999… may be rounded to r + 1
        return np.asarray(self._starts[places])

    def cut(self, recordings: Whole, starts: Whole, count: int) -> Tensor:
        """Values of windows as they are, `[windows, count, ...]`, for recordings and starts `[windows]`."""
        device = self.values.device
        start, length, first = (
            torch.from_numpy(np.ascontiguousarray(each)).to(device)[:, None]
            for each in (starts, self._lengths[recordings], self._firsts[recordings])
        )
        offsets = torch.arange(count, device=device)
        values = self.values[(offsets + (first + start)).clamp_(0, self.silence)]
        outside = (offsets < -start) | (offsets >= length - start)
        return values.masked_fill_(outside[(...,) + (None,) * (values.ndim - 2)], 0)

    def rows(self, recordings: Whole, starts: NDArray[np.number], count: int, steps: NDArray[np.floating]) -> Tensor:
        """Which of `values` make windows of `count`, int64 `[*shape, count]` for arrays of one shape.

        Args:
            recordings: their numbers; -1 for a window of nothing.
            starts: where the windows begin, in values of their recording.
            steps: values from one of a window to the next: 1.1 is a tenth faster. The nearest value is taken.
        """
        device = self.values.device

        def column(array: NDArray[np.number], kind: type[np.number]) -> Tensor:
            return torch.from_numpy(np.ascontiguousarray(array, kind)).to(device)[..., None]

        lengths = np.where(recordings < 0, 0, self._lengths[recordings])
        offsets = torch.arange(count, dtype=torch.float64, device=device) * column(steps, np.float64)
        places = (offsets + column(starts, np.float64)).round_().long()
        inside = (places >= 0) & (places < column(lengths, np.int64))
        return torch.where(inside, places + column(self._firsts[recordings], np.int64), self.silence)
