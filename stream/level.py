"""How loud a stream is: RMS and peak in dB relative to full scale, over tenths of a second."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .messages import FULL_SCALE

FLOOR_DB = -120.0
CLIPPED = 0.9999
"""Magnitudes from here on, full scale being 1, count as clipped."""


class Loudness(NamedTuple):
    """Of the samples since the last one. A sine at full scale has an RMS of -3.01 dB, a square wave of 0 dB."""

    samples: int
    rms_db: float
    peak_db: float
    clipped: int  # values at full scale, of all channels


class LevelMeter:
    """Gathers samples until there are enough for one reading.

    Args:
        samples: how many make a reading; it spans whole blocks, so it may be of more.
        dtype: of the blocks, which says what full scale is.

    >>> LevelMeter(4, "int16").add(np.int16([[16384], [-16384], [16384], [-16384]]))
    Loudness(samples=4, rms_db=-6.02, peak_db=-6.02, clipped=0)
    """

    def __init__(self, samples: int, dtype: str) -> None:
        self._enough = samples
        self._scale = np.float32(1 / FULL_SCALE[dtype])
        self._count, self._energy, self._peak, self._clipped = 0, 0.0, 0.0, 0

    def add(self, block: NDArray[Any]) -> Loudness | None:
        """Takes a block `[samples, channels]`; a reading when there is enough. NaN counts as silence."""
        if not block.size:
            return None
        values = block.astype(np.float32).reshape(-1)
        values *= self._scale
        energy = float(np.dot(values, values))
        if not np.isfinite(energy):
            values = np.nan_to_num(values, copy=False, nan=0.0, posinf=1.0, neginf=-1.0)
            energy = float(np.dot(values, values))
        peak = max(float(values.max()), -float(values.min()))
        if peak >= CLIPPED:
            self._clipped += int(np.count_nonzero(np.abs(values) >= CLIPPED))
        self._energy += energy / block.shape[1]
        self._peak = max(self._peak, peak)
        self._count += len(block)
        if self._count < self._enough:
            return None
        reading = Loudness(self._count, _db(self._energy / self._count), _db(self._peak**2), self._clipped)
        self._count, self._energy, self._peak, self._clipped = 0, 0.0, 0.0, 0
        return reading


def _db(power: float) -> float:
    return round(10 * float(np.log10(power)), 2) if power > 10 ** (FLOOR_DB / 10) else FLOOR_DB
