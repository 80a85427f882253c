"""What a push made ready: frames of many streams, computed together and taken out one by one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Samples = NDArray[np.float32]


class Frames(NamedTuple):
    """Consecutive frames of one stream.

    Attributes:
        first_frame: number of the first one, counted from the segment's beginning.
        values: float32 `[frames, dims]`, C-contiguous; the receiver's to keep (other streams may share the memory's
            owner, never the elements). Frames may be 0.
    """

    first_frame: int
    values: Samples


class Group(NamedTuple):
    """Streams that have as many frames.

    Attributes:
        streams: which they are, as indices among the names; None: all.
        values: float32 `[streams, frames, dims]`.
    """

    streams: NDArray[np.intp] | None
    values: Samples


class Ready(Mapping[str, Frames]):
    """The next frames of each stream, by name, in the order in which the blocks were given.

    Whoever wants the frames of all streams at once takes `groups`; views of each stream are made when one is asked for.

    Attributes:
        names: of the streams.
        first_frames: the number of each one's first frame here, `[streams]`.
        groups: the values; streams without a new frame are in none.
    """

    def __init__(
        self, names: list[str], first_frames: NDArray[np.int64], groups: list[Group], nothing: Samples
    ) -> None:
        self.names, self.first_frames, self.groups = names, first_frames, groups
        self._nothing = nothing
        self._by_name: dict[str, Frames] | None = None

    def __getitem__(self, name: str) -> Frames:
        if self._by_name is None:
            self._by_name = self._take_out()
        return self._by_name[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.names)

    def __len__(self) -> int:
        return len(self.names)

    def _take_out(self) -> dict[str, Frames]:
        values = [self._nothing] * len(self.names)
        for streams, together in self.groups:
            if streams is None:
                values = list(together)
            else:
                for index, frames in zip(streams.tolist(), together, strict=True):
                    values[index] = frames
        return dict(zip(self.names, map(_frames, zip(self.first_frames.tolist(), values, strict=True)), strict=True))


_frames = partial(tuple.__new__, Frames)  # in a third of the time: a thousand streams have a thousand of them
