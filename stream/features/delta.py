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


@dataclass
class DeltaState:
    """Frames of one stream that wait for their neighbours, or that later frames still need.

    Attributes:
        frames: values without deltas, float32 `[frames, dims]`.
        first_frame: number of the first of them.
        next_frame: number of the next frame to let out.
    """

    frames: Samples
    first_frame: int
    next_frame: int


class Deltas:
    """Lets frames out with their deltas, `width // 2` frames late, each stream by itself.

    Args:
        width: frames that a delta is fitted to, odd.
        parts: for each output its columns among the values that come in, and the order of its delta: 0, 1 or 2.
    """

    def __init__(self, width: int, parts: list[tuple[slice, int]]) -> None:
        self._width, self._parts = width, parts

    def push(self, stream: str, first_frame: int, values: Samples) -> tuple[int, Samples]:
        """Takes frames `[frames, values]`, numbered from `first_frame` on; returns those that are ready."""
        raise NotImplementedError

    def flush(self, stream: str, first_frame: int, values: Samples) -> tuple[int, Samples]:
        """Takes the segment's last frames and returns all that are left."""
        raise NotImplementedError

    def reset(self, stream: str) -> None:
        """Forgets a stream."""
        raise NotImplementedError

    def state(self, stream: str) -> DeltaState | None:
        """A copy of what is kept of a stream."""
        raise NotImplementedError

    def restore(self, stream: str, state: DeltaState) -> None:
        """Goes on from `state`."""
        raise NotImplementedError

    def bytes_per_stream(self, values: int) -> int:
        """The most that is kept for each stream, in bytes."""
        raise NotImplementedError
