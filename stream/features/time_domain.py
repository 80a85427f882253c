"""Loudness and shape of a frame from its samples alone.

All look at the `frame_length` samples of a frame as they came: no window, no `remove_dc`, no `preemphasis`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ..level import CLIPPED
from .feature import Batch, Descriptor, Feature
from .sums import products, sums

if TYPE_CHECKING:
    pass

Samples = NDArray[np.float32]


class AmplitudeEnvelope(Descriptor):
    """Largest magnitude in the frame, `max |x[n]|`, `[1]`, 0..1 at full scale."""

    unit = "full scale"

    def compute(self, batch: Batch) -> Samples:
        return np.abs(batch.once(peaks))[:, None]


class Peak(Descriptor):
    """The sample of largest magnitude with its sign, `[1]`, -1..1 at full scale; of equals the first.

    Beside the envelope it tells which way a click points and whether one side of a wave is larger.
    """

    unit = "full scale"

    def compute(self, batch: Batch) -> Samples:
        return batch.once(peaks)[:, None]


class Rms(Descriptor):
    """Root of the mean square, `sqrt(mean(x[n]^2))`, `[1]`, 0..1 at full scale: `librosa.feature.rms` of samples.

    A sine of amplitude A has A / sqrt(2). Below about 1e-19 squares vanish in single precision: 0.
    """

    unit = "full scale"

    def compute(self, batch: Batch) -> Samples:
        return np.sqrt(batch.once(mean_squares))[:, None]


class CrestFactor(Descriptor):
    """`max |x[n]| / rms`, `[1]`: 1 of a square wave, sqrt(2) of a sine, sqrt(N) of a single click in N samples.

    0, which no sound has, where the RMS is 0.
    """

    unit = "ratio"

    def compute(self, batch: Batch) -> Samples:
        squares = batch.once(mean_squares)
        crests = np.zeros_like(squares)
        np.divide(np.abs(batch.once(peaks)), np.sqrt(squares), out=crests, where=squares >= TINY)
        return crests[:, None]


class ZeroCrossingRate(Descriptor):
    """Sign changes from sample to sample, as a share of the frame's samples, `[1]`, 0..1: librosa's.

    `librosa.feature.zero_crossing_rate`: samples from -1e-10 up count as positive, the step into the frame does not
    count, the divisor is `frame_length`. (With `center` librosa takes `pad_mode` "edge" here.)
    """

    unit = "share of samples"

    def compute(self, batch: Batch) -> Samples:
        negative = (batch.frames < BELOW_ZERO).reshape(-1)
        changes = np.empty_like(negative)
        np.not_equal(negative[1:], negative[:-1], out=changes[1:])  # across rows too, in one loop
        rows = changes.reshape(batch.rows, -1)
        rows[:, 0] = False
        return _shares(rows)


class DcOffset(Descriptor):
    """Mean of the samples, `[1]`, -1..1 at full scale. Of a good microphone near 0 over many frames."""

    unit = "full scale"

    def compute(self, batch: Batch) -> Samples:
        return (sums(batch.frames) / np.float32(self.spec.frame_length))[:, None]


class Clipping(Descriptor):
    """Share of the samples at full scale, `|x[n]| >= 0.9999`, `[1]`, 0..1: the rule of the level meter."""

    unit = "share of samples"

    def compute(self, batch: Batch) -> Samples:
        if not (np.abs(batch.once(peaks)) >= _CLIPPED).any():
            return np.zeros((batch.rows, 1), np.float32)
        return _shares(np.abs(batch.frames) >= _CLIPPED)


FEATURES: dict[str, type[Feature]] = {
    "amplitude_envelope": AmplitudeEnvelope,
    "peak": Peak,
    "rms": Rms,
    "crest_factor": CrestFactor,
    "zero_crossing_rate": ZeroCrossingRate,
    "dc_offset": DcOffset,
    "clipping": Clipping,
}

TINY = np.finfo(np.float32).tiny
"""Energies below the smallest normal number count as none: what is divided by them would be noise of rounding."""

BELOW_ZERO = np.float32(-1e-10)  # librosa.zero_crossings' threshold
_CLIPPED = np.float32(CLIPPED)


def peaks(batch: Batch) -> Samples:
    """Each frame's sample of largest magnitude, with its sign, `[rows]`."""
    # argmax: numpy reduces short rows by it several times faster than by max.
    places = np.abs(batch.frames).argmax(axis=1)
    return np.asarray(batch.frames[np.arange(batch.rows), places])


def mean_squares(batch: Batch) -> Samples:
    """Mean of the squared samples of each frame, `[rows]`."""
    return products(batch.frames, batch.frames) / np.float32(batch.spec.frame_length)


def _shares(flags: NDArray[np.bool_]) -> Samples:
    """How many flags of each row are set, as a share, `[rows, 1]`."""
    bits = np.bitwise_count(np.packbits(flags, axis=1))  # half the time of count_nonzero
    counts = np.add.reduce(bits, axis=1, dtype=np.uint32)
    return np.asarray(counts.astype(np.float32) / np.float32(flags.shape[1]))[:, None]
