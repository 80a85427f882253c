"""What is no sound becomes silence before any feature sees it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Samples = NDArray[np.float32]

LOUDEST = 1e9
"""Samples beyond this (full scale is 1) are not sound but a broken source; their powers would overflow."""


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
