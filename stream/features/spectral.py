"""Descriptors of the spectrum of a frame: where its energy lies and how it is shaped.

All are of the frame's spectrum under the window (`stft`): X[k] of bin k at f[k] Hz, K bins. S[k] stands for
`|X[k]| ** descriptor_power`: magnitude (1, librosa's default) or power (2). A spectrum whose sum of S[k] is below the
smallest normal number of single precision counts as empty.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ..errors import EarwitnessError
from .feature import Batch, Descriptor, Feature, bin_frequencies
from .spec import check_amin, check_range
from .sums import products, sums, weighted

if TYPE_CHECKING:
    from .spec import FrontEndSpec

Samples = NDArray[np.float32]


class _Weighted(Descriptor):
    """What weighs bins by S[k]."""

    @classmethod
    def check(cls, spec: FrontEndSpec) -> None:
        if spec.descriptor_power not in (1, 2):
            fit = 1 if spec.descriptor_power < 1.5 else 2
            raise EarwitnessError(
                f"front end: descriptor_power is {spec.descriptor_power:g}; valid: 1 (magnitude) or 2 (power), "
                f"nearest {fit}"
            )


class SpectralCentroid(_Weighted):
    """Mean frequency, `sum(f[k] S[k]) / sum(S[k])`, `[1]`, Hz, 0..sr / 2; 0 of an empty spectrum.

    `librosa.feature.spectral_centroid`. The brighter a sound, the higher.
    """

    unit = "Hz"

    def compute(self, batch: Batch) -> Samples:
        return batch.once(_centroids)[:, None]


class SpectralBandwidth(_Weighted):
    """Spread around the centroid c, `(sum(S[k] |f[k] - c|^p) / sum(S[k]))^(1/p)`, `[1]`, Hz; 0 of an empty spectrum.

    `librosa.feature.spectral_bandwidth` with p = `bandwidth_p`; 2 is a standard deviation.
    """

    unit = "Hz"

    @classmethod
    def check(cls, spec: FrontEndSpec) -> None:
        super().check(spec)
        check_range("bandwidth_p", spec.bandwidth_p, 0.1, 8)

    def __init__(self, spec: FrontEndSpec) -> None:
        super().__init__(spec)
        # In units of half the sample rate: powers of Hz would leave single precision.
        self._nyquist = np.float32(spec.sr / 2)
        self._places = bin_frequencies(spec) / self._nyquist

    def compute(self, batch: Batch) -> Samples:
        order = self.spec.bandwidth_p
        distance = self._places - (batch.once(_centroids) / self._nyquist)[:, None]
        if order == 2.0:
            np.square(distance, out=distance)
        else:
            np.abs(distance, out=distance)
            if order != 1.0:
                np.power(distance, np.float32(order), out=distance)
        moments = _ratio(products(distance, _weights(batch)), batch.once(_totals))
        if order == 2.0:
            moments = np.sqrt(moments)
        elif order != 1.0:
            moments = np.power(moments, np.float32(1.0 / order))
        return (moments * self._nyquist)[:, None]


class SpectralRolloff(_Weighted):
    """The lowest f[k] up to which S sums to `roll_percent` of its total, `[1]`, Hz, 0..sr / 2; 0 of an empty spectrum.

    `librosa.feature.spectral_rolloff`. Where hiss lies on top of a voice it rises far before the centroid does.
    """

    unit = "Hz"

    @classmethod
    def check(cls, spec: FrontEndSpec) -> None:
        super().check(spec)
        if not 0 < spec.roll_percent < 1:
            raise EarwitnessError(
                f"front end: roll_percent is {spec.roll_percent:g}; valid: above 0 and below 1, usually 0.85"
            )

    def __init__(self, spec: FrontEndSpec) -> None:
        super().__init__(spec)
        self._frequencies = bin_frequencies(spec)
        self._width = round(len(self._frequencies) ** 0.5)

    def compute(self, batch: Batch) -> Samples:
        # Sums of about sqrt(K) bins first, then bin by bin in the part where the threshold is passed: cumulative sums
        # over all bins take twice as long, and round more.
        weights, width, bins = _weights(batch), self._width, len(self._frequencies)
        whole = bins // width * width
        upto = np.empty((batch.rows, bins // width + 1), np.float32)
        np.einsum("ijk->ij", weights[:, :whole].reshape(batch.rows, -1, width), out=upto[:, :-1], optimize=False)
        upto[:, -1] = sums(weights[:, whole:])
        np.cumsum(upto, axis=1, out=upto)
        thresholds = np.float32(self.spec.roll_percent) * upto[:, -1]
        part = (upto >= thresholds[:, None]).argmax(axis=1)
        rows = np.arange(batch.rows)
        first = part * width
        # Behind the spectrum's end, in the last part, stand other rows' bins: they are never the answer.
        within = weights.ravel().take((rows * bins + first)[:, None] + np.arange(width), mode="clip")
        within[:, 0] += np.where(part, upto[rows, part - 1], np.float32(0))
        passed = np.cumsum(within, axis=1) >= thresholds[:, None]
        passed[:, -1] = True  # the part's sum is rounded otherwise than its bins' one after another
        places = np.minimum(first + passed.argmax(axis=1), bins - 1)
        return np.asarray(self._frequencies[places])[:, None]


class SpectralFlatness(Descriptor):
    """Geometric by arithmetic mean of `max(|X[k]|^2, amin)`, `[1]`, 0..1: noise is near 1 (0.56), a tone near 0.

    `librosa.feature.spectral_flatness` (Wiener entropy). Silence is flat: 1.
    """

    unit = "ratio"

    @classmethod
    def check(cls, spec: FrontEndSpec) -> None:
        check_amin(spec)

    def compute(self, batch: Batch) -> Samples:
        amin, powers, logs = np.float32(self.spec.amin), batch.power, batch.once(_log_power)
        bins = powers.shape[1]
        if powers.min() < amin:
            below = powers < amin
            powers, logs = np.where(below, amin, powers), np.where(below, np.log(amin), logs)
        # numpy's own, pairwise sum: what it rounds less is seen behind the exponential.
        means = np.add.reduce(logs, axis=1).astype(np.float64) / bins
        flatness = np.exp(means) / (sums(powers).astype(np.float64) / bins)
        return np.asarray(np.minimum(flatness, 1.0), np.float32)[:, None]


class SpectralFlux(Descriptor):
    """How much the magnitudes have changed since the frame before, `[1]`, at least 0; 0 of a stream's first frame.

    `sqrt(sum((|X[k]| - |X'[k]|)^2)) / K` (Lerch, An Introduction to Audio Content Analysis, 2012, eq. 3.23), in the
    unit of `stft_magnitude`. Onsets stand out.
    """

    unit = "magnitude"

    def __init__(self, spec: FrontEndSpec) -> None:
        super().__init__(spec)
        self.initial = {"magnitude": np.zeros(1 + spec.n_fft // 2, np.float32)}

    def compute(self, batch: Batch) -> Samples:
        magnitude = batch.magnitude
        change = np.empty_like(magnitude)
        np.subtract(magnitude[1:], magnitude[:-1], out=change[1:])  # from stream to stream too, in one loop
        firsts, lasts = magnitude[:: batch.count], magnitude[batch.count - 1 :: batch.count]
        before = self.carried["magnitude"]
        change[:: batch.count] = 0 if batch.opening else firsts - before[batch.slots]
        before[batch.slots] = lasts
        return np.asarray(np.sqrt(products(change, change)) / np.float32(change.shape[1]), np.float32)[:, None]


class SpectralEntropy(_Weighted):
    """Entropy of the spectrum taken as shares, `-sum(p[k] ln p[k]) / ln K` with `p = S / sum(S)`, `[1]`, 0..1.

    1 of a flat spectrum, 0 of a single bin and of an empty spectrum (Misra et al., Spectral entropy based feature for
    robust ASR, ICASSP 2004; divided by its largest value, ln K).
    """

    unit = "ratio"

    def compute(self, batch: Batch) -> Samples:
        weights, totals = _weights(batch), batch.once(_totals)
        logs = products(weights, batch.once(_log_power)) * np.float32(self.spec.descriptor_power / 2)
        entropy = np.log(np.maximum(totals, TINY)) - _ratio(logs, totals)
        entropy *= np.float32(1 / np.log(weights.shape[1]))
        entropy[totals < TINY] = 0
        return np.clip(entropy, np.float32(0), np.float32(1), out=entropy)[:, None]


class DominantFrequency(Descriptor):
    """The frequency of the strongest bin, of equals the lowest, `[1]`, Hz, 0..sr / 2; 0 of silence.

    A microphone's offset is a strong 0 Hz: `remove_dc` takes it away.
    """

    unit = "Hz"

    def __init__(self, spec: FrontEndSpec) -> None:
        super().__init__(spec)
        self._frequencies = bin_frequencies(spec)

    def compute(self, batch: Batch) -> Samples:
        return np.asarray(self._frequencies[batch.power.argmax(axis=1)])[:, None]


FEATURES: dict[str, type[Feature]] = {
    "spectral_centroid": SpectralCentroid,
    "spectral_bandwidth": SpectralBandwidth,
    "spectral_rolloff": SpectralRolloff,
    "spectral_flatness": SpectralFlatness,
    "spectral_flux": SpectralFlux,
    "spectral_entropy": SpectralEntropy,
    "dominant_frequency": DominantFrequency,
}

TINY = np.finfo(np.float32).tiny


def _weights(batch: Batch) -> Samples:
    """S[k], `[rows, bins]`."""
    return batch.spectrum(batch.spec.descriptor_power)


def _totals(batch: Batch) -> Samples:
    """The sum of S[k], `[rows]`."""
    return sums(_weights(batch))


def _centroids(batch: Batch) -> Samples:
    return _ratio(weighted(_weights(batch), bin_frequencies(batch.spec)), batch.once(_totals))


def _log_power(batch: Batch) -> Samples:
    """ln |X[k]|^2, finite, `[rows, bins]`."""
    powers = batch.power
    return np.log(powers if powers.min() >= TINY else np.maximum(powers, TINY))


def _ratio(values: Samples, totals: Samples) -> Samples:
    """`values / totals`, 0 where the spectrum is empty."""
    return np.divide(values, totals, out=np.zeros_like(values), where=totals >= TINY)
