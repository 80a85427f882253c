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
    """Lets frames out with their deltas, `width // 2` frames late. Written for each stream by itself."""

    def __init__(self, width: int, parts: list[tuple[slice, int]]) -> None:
        raise NotImplementedError
