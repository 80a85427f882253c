"""A signal cut into blocks."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from earwitness.stream.features.frontend import FrontEnd, FrontEndSpec

Samples = NDArray[np.float32]


def stepwise(spec: FrontEndSpec, samples: Samples, sizes: list[int]) -> Samples:
    """The frames of one stream in blocks of `sizes`, taken in turn; checks the numbering on the way."""
    front_end, parts, start, turn, frames = FrontEnd(spec), [], 0, 0, 0
    while start < len(samples):
        size = sizes[turn % len(sizes)]
        got = front_end.push({"s": samples[start : start + size]})["s"]
        assert got.first_frame == frames
        frames += len(got.values)
        parts.append(got.values)
        start, turn = start + size, turn + 1
    last = front_end.flush("s")
    assert last.first_frame == frames
    return np.concatenate([*parts, last.values])
