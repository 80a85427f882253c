"""How loud a stream is, ten times a second: RMS and peak, and the A-weighted levels that a sound level meter shows.

RMS and peak are in dB relative to full scale, the weighted levels in dB of sound pressure where the source is
calibrated. The weighting runs at the source's own rate (`features.weighting`); of several channels the mean power
counts.
"""

from __future__ import annotations

import math
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .features.weighting import FAST_S, HIGHEST_RATE, LOWEST_RATE, Weighting, forgetting
from .messages import FULL_SCALE

FLOOR_DB = -120.0
PERIOD_S = 60.0
SETTLING_S = 0.5  # until fast time weighting has come to what is heard; no part of a period
CLIPPED = 0.9999
"""Magnitudes from here on, full scale being 1, count as clipped."""

_STEPS_PER_S = 400  # so often is the maximum looked for: fast time weighting falls by 0.09 dB meanwhile
_STEPS = 20  # to a slot of 50 ms, of which a period is made
_CLASSES_PER_DB = 10  # of levels that are counted for percentiles
_CLASSES = 1_801  # up to 60 dB: float samples may exceed full scale

Samples = NDArray[np.float32]
Values = NDArray[np.float64]


class Weighted(NamedTuple):
    """Weighted levels of a reading and of a period up to it, in dB, named as in the message `Level`."""

    weighting: Literal["A", "Z"]
    calibrated: bool
    leq_db: float  # mean over the reading
    fast_db: float  # fast time weighting, at the reading's end
    period_s: float  # 0 until there is a period: then its levels are those of the reading
    period_leq_db: float
    fast_max_db: float
    l10_db: float  # that the fast level exceeded for 10 % of the period
    l50_db: float
    l90_db: float


class Loudness(NamedTuple):
    """Of the samples since the last one. A sine at full scale has an RMS of -3.01 dB, a square wave of 0 dB."""

    samples: int
    rms_db: float
    peak_db: float
    clipped: int  # values at full scale, of all channels
    weighted: Weighted | None = None


class LevelMeter:
    """Gathers samples until there are enough for one reading.

    Args:
        samples: how many make a reading; it spans whole blocks, so it may be of more.
        dtype: of the blocks, which says what full scale is.
        weighted: the meter of A-weighted levels, where they are wanted.

    >>> LevelMeter(4, "int16").add(np.int16([[16384], [-16384], [16384], [-16384]]))
    Loudness(samples=4, rms_db=-6.02, peak_db=-6.02, clipped=0, weighted=None)
    """

    def __init__(self, samples: int, dtype: str, weighted: WeightedMeter | None = None) -> None:
        self._enough, self._weighted = samples, weighted
        self._blocks: list[Samples] = []  # of the reading to come
        self._scale = np.float32(1 / FULL_SCALE[dtype])
        self._count, self._energy, self._peak, self._clipped = 0, 0.0, 0.0, 0

    def add(self, block: NDArray[Any]) -> Loudness | None:
        """Takes a block `[samples, channels]`; a reading when there is enough. NaN counts as silence."""
        if not block.size:
            return None
        values = block.astype(np.float32).reshape(-1)
        values *= self._scale
        with np.errstate(over="ignore"):
            energy = float(np.dot(values, values))
        if not np.isfinite(energy):
            values = np.clip(np.nan_to_num(values, copy=False, nan=0.0), -1.0, 1.0)
            energy = float(np.dot(values, values))
        peak = max(float(values.max()), -float(values.min()))
        if peak >= CLIPPED:
            self._clipped += int(np.count_nonzero(np.abs(values) >= CLIPPED))
        self._energy += energy / block.shape[1]
        self._peak = max(self._peak, peak)
        self._count += len(block)
        if self._weighted:
            self._blocks.append(values.reshape(block.shape))
        if self._count < self._enough:
            return None
        weighted = self._weighted.add(np.concatenate(self._blocks)) if self._weighted else None
        self._blocks.clear()
        reading = Loudness(self._count, _db(self._energy / self._count), _db(self._peak**2), self._clipped, weighted)
        self._count, self._energy, self._peak, self._clipped = 0, 0.0, 0.0, 0
        return reading


class WeightedMeter:
    """A-weighted levels, as they are now and over the last `period_s`; without weighting where the rate is too low.

    The fast level is taken every 50 ms for the percentiles, in classes of 0.1 dB, and every 2.5 ms for the maximum. The
    first half second is not counted: the meter comes up from silence then.

    Args:
        rate: sample rate, Hz.
        channels: of the samples.
        period_s: 1 to 3600.
        calibration_db: added to all levels; without one they are relative to full scale.
    """

    def __init__(
        self, rate: int, channels: int, period_s: float = PERIOD_S, calibration_db: float | None = None
    ) -> None:
        self._curve: Literal["A", "Z"] = "A" if LOWEST_RATE <= rate <= HIGHEST_RATE else "Z"
        self._weighting = Weighting(self._curve, rate)
        self._state = np.zeros((channels, self._weighting.size))
        self._calibrated, self._offset_db = calibration_db is not None, calibration_db or 0.0
        self._step = max(1, round(rate / _STEPS_PER_S))
        self._slot = self._step * _STEPS
        self._slot_s = self._slot / rate
        self._time_constant = rate * FAST_S
        self._by_step = forgetting(self._step, self._time_constant)
        self._weights = forgetting(self._slot, self._time_constant).weights
        self._fast = 0.0  # a mean square, of what makes whole slots
        self._left: Values = np.empty(0)
        self._settling = round(SETTLING_S / self._slot_s)  # slots to pass by
        self._period = _Period(max(1, round(period_s / self._slot_s)))

    def add(self, samples: Samples) -> Weighted:
        """The levels after `samples` `[samples, channels]`, 1 or more, full scale 1."""
        squares = self._weighting.apply(samples.T, self._state)
        squares *= squares
        mean = squares.mean(axis=0) if len(squares) > 1 else squares[0]
        leq_db = self._db(float(np.add.reduce(mean)) / len(mean))
        joined = np.concatenate((self._left, mean)) if len(self._left) else mean
        slots = len(joined) // self._slot
        whole, self._left = joined[: slots * self._slot], joined[slots * self._slot :].copy()
        if slots:
            self._take(whole, slots)
        left = len(self._left)
        fast = self._fast * math.exp(-left / self._time_constant)
        if left:
            fast += float((self._weights[-left:] * self._left).sum())
        fast_db, period = self._db(fast), self._period
        over_period = (0.0, leq_db, *[fast_db] * 4)
        if period.filled:
            exceeded = [round(level + self._offset_db, 1) for level in period.exceeded(0.1, 0.5, 0.9)]
            span_s = round(period.filled * self._slot_s, 3)
            over_period = (span_s, self._db(period.mean()), self._db(period.highest()), *exceeded)
        return Weighted(self._curve, self._calibrated, leq_db, fast_db, *over_period)

    def _take(self, squares: Values, slots: int) -> None:
        adds = (squares.reshape(-1, self._step) * self._by_step.weights).sum(axis=1).tolist()
        now, remains = self._fast, self._by_step.remains
        for place, add in enumerate(adds):
            adds[place] = now = now * remains + add
        self._fast = now
        means = (np.add.reduce(squares.reshape(slots, -1), axis=1) / self._slot).tolist()
        for slot, mean in enumerate(means):
            if self._settling:
                self._settling -= 1
                continue
            fast = adds[slot * _STEPS : (slot + 1) * _STEPS]
            self._period.add(mean, max(fast), fast[-1])

    def _db(self, mean_square: float) -> float:
        return round(_db(mean_square) + self._offset_db, 2)


class _Period:
    """The last `size` slots: their mean squares and maxima, and how often each class of the fast level was there."""

    def __init__(self, size: int) -> None:
        self.filled = 0
        self._next = 0
        self._means, self._highest = np.zeros(size, np.float32), np.zeros(size, np.float32)
        self._classes = np.zeros(size, np.int16)
        self._counts = np.zeros(_CLASSES, np.int32)

    def add(self, mean: float, highest: float, fast: float) -> None:
        """One slot; its fast level is what is counted."""
        place, size = self._next, len(self._means)
        if self.filled == size:
            self._counts[self._classes[place]] -= 1
        level = 10 * math.log10(fast) if fast > 0 else FLOOR_DB
        number = min(_CLASSES - 1, max(0, round((level - FLOOR_DB) * _CLASSES_PER_DB)))
        self._means[place], self._highest[place], self._classes[place] = mean, highest, number
        self._counts[number] += 1
        self._next = (place + 1) % size
        self.filled = max(self.filled, place + 1)

    def mean(self) -> float:
        return float(self._means[: self.filled].mean(dtype=np.float64))

    def highest(self) -> float:
        return float(self._highest[: self.filled].max())

    def exceeded(self, *shares: float) -> list[float]:
        """The levels in dB relative to full scale that are exceeded for these shares of the time."""
        ranks = (1 - np.array(shares)) * self.filled
        classes = np.searchsorted(np.cumsum(self._counts), ranks)
        return [FLOOR_DB + float(place) / _CLASSES_PER_DB for place in classes]


def _db(power: float) -> float:
    return round(10 * math.log10(power), 2) if power > 10 ** (FLOOR_DB / 10) else FLOOR_DB
