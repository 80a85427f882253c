"""The short-time Fourier transform, complex and as magnitude, power and decibels."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from .feature import Batch, Feature, bin_frequencies
from .logarithm import decibels

if TYPE_CHECKING:
    from .spec import FrontEndSpec

Samples = NDArray[np.float32]


class _Bins(Feature):
    @classmethod
    def labels(cls, spec: FrontEndSpec) -> tuple[str, ...]:
        return tuple(f"{hz:g} Hz" for hz in bin_frequencies(spec))


class Stft(Feature):
    """Complex spectrum, `librosa.stft`: real and imaginary part of each bin in turn, `[2 * (1 + n_fft // 2)]`.

    Of a sine of amplitude A in the middle of a bin the magnitude there is A / 2 times the window's sum.
    `view(complex64)` of contiguous values gives the bins.
    """

    @classmethod
    def labels(cls, spec: FrontEndSpec) -> tuple[str, ...]:
        return tuple(f"{hz:g} Hz {part}" for hz in bin_frequencies(spec) for part in ("re", "im"))

    def compute(self, batch: Batch) -> Samples:
        return batch.stft.view(np.float32)


class StftMagnitude(_Bins):
    """Magnitudes of `stft`, at least 0, `[1 + n_fft // 2]`."""

    def compute(self, batch: Batch) -> Samples:
        return batch.magnitude


class StftPower(_Bins):
    """Squared magnitudes of `stft`, at least 0, `[1 + n_fft // 2]`."""

    def compute(self, batch: Batch) -> Samples:
        return batch.power


class StftDb(_Bins):
    """`10 * log10(max(power, amin))` of each bin, `[1 + n_fft // 2]`: `librosa.power_to_db` with ref 1, no top_db."""

    def compute(self, batch: Batch) -> Samples:
        return decibels(batch.power, self.spec.amin)


FEATURES: dict[str, type[Feature]] = {
    "stft": Stft,
    "stft_magnitude": StftMagnitude,
    "stft_power": StftPower,
    "stft_db": StftDb,
}
