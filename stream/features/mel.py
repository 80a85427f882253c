"""The mel scale, the filters as librosa and Kaldi make them, and the spectra over them."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ..errors import EarwitnessError
from .feature import Batch, Feature
from .spec import check_amin
from .weighing import Weights

if TYPE_CHECKING:
    from .spec import FrontEndSpec

Samples = NDArray[np.float32]


class Mel(Feature):
    """Mel spectrum, `[n_mels]`, at least 0: `librosa.feature.melspectrogram`.

    `filters @ |stft| ** power`, with triangular filters evenly spaced on the mel scale (`mel_filters`).
    """

    @classmethod
    def check(cls, spec: FrontEndSpec) -> None:
        _check_mel(spec)

    @classmethod
    def labels(cls, spec: FrontEndSpec) -> tuple[str, ...]:
        return tuple(f"{hz:.0f} Hz" for hz in mel_centres(spec))

    def compute(self, batch: Batch) -> Samples:
        return batch.mel


class LogMel(Mel):
    """`mel` on a logarithmic scale, `[n_mels]`: dB (`librosa.power_to_db`, ref 1, no top_db) or natural logarithm."""

    @classmethod
    def check(cls, spec: FrontEndSpec) -> None:
        _check_mel(spec)
        _check_log(spec)

    def compute(self, batch: Batch) -> Samples:
        return batch.log_mel


FEATURES: dict[str, type[Feature]] = {"mel": Mel, "log_mel": LogMel}


def mel_weights(spec: FrontEndSpec) -> Weights:
    """The filters of a spec, made once."""
    return _mel_weights(
        spec.sr, spec.n_fft, spec.n_mels, spec.fmin, spec.fmax, spec.htk, spec.norm or "none", spec.mel_slopes
    )


@lru_cache(maxsize=64)
def _mel_weights(
    sr: int, n_fft: int, n_mels: int, fmin: float, fmax: float, htk: bool, norm: str, slopes: str
) -> Weights:
    return Weights(
        mel_filters(sr=sr, n_fft=n_fft, n_mels=n_mels, fmin=fmin, fmax=fmax, htk=htk, norm=norm, slopes=slopes)
    )


def mel_filters(
    *,
    sr: int,
    n_fft: int,
    n_mels: int,
    fmin: float,
    fmax: float,
    htk: bool = False,
    norm: str = "none",
    slopes: str = "hz",
) -> Samples:
    """The filter bank of `librosa.filters.mel`, float32 `[n_mels, 1 + n_fft // 2]`.

    Band m is a triangle that rises from mel frequency m to m + 1 and falls to m + 2, of the `n_mels + 2` frequencies
    that divide `fmin`..`fmax` (Hz) evenly in mel. Its sides are straight over Hz, or over mel with `slopes` "mel", as
    Kaldi has them (feat/mel-computations.cc). `norm` "slaney" scales each to an area of 1 over Hz, "none" leaves a peak
    of 1. A band between two bins is all zeros: `FrontEndSpec` refuses that.
    """
    edges_mel = np.linspace(hz_to_mel(fmin, htk), hz_to_mel(fmax, htk), n_mels + 2)
    edges = mel_to_hz(edges_mel, htk)
    bins = np.arange(1 + n_fft // 2) * (sr / n_fft)
    if slopes == "mel":
        corners, places = edges_mel, np.array([hz_to_mel(hz, htk) for hz in bins])
    else:
        corners, places = edges, bins
    rising = (places[None, :] - corners[:-2, None]) / np.diff(corners)[:-1, None]
    falling = (corners[2:, None] - places[None, :]) / np.diff(corners)[1:, None]
    filters = np.maximum(0.0, np.minimum(rising, falling))
    if norm == "slaney":
        filters *= 2.0 / (edges[2:] - edges[:-2])[:, None]
    return np.asarray(filters, np.float32)


def mel_centres(spec: FrontEndSpec) -> NDArray[np.float64]:
    """The frequency of each band's peak, Hz, `[n_mels]`."""
    low, high = hz_to_mel(spec.fmin, spec.htk), hz_to_mel(spec.fmax, spec.htk)
    return mel_to_hz(np.linspace(low, high, spec.n_mels + 2)[1:-1], spec.htk)


# Slaney's Auditory Toolbox (1998): linear up to 1 kHz at 200/3 Hz a mel, then logarithmic, 27 mels for a factor of 6.4.
_HZ_PER_MEL = 200.0 / 3.0
_KNEE_HZ = 1000.0
_KNEE_MEL = 15.0
_LOG_STEP = np.log(6.4) / 27.0


def hz_to_mel(hz: float, htk: bool = False) -> float:
    """A frequency in Hz on the mel scale.

    >>> hz_to_mel(1000.0), round(hz_to_mel(1000.0, htk=True), 3)
    (15.0, 999.986)
    """
    if htk:
        return float(2595.0 * np.log10(1.0 + hz / 700.0))
    return float(_KNEE_MEL + np.log(hz / _KNEE_HZ) / _LOG_STEP) if hz >= _KNEE_HZ else hz / _HZ_PER_MEL


def mel_to_hz(mel: NDArray[np.float64], htk: bool = False) -> NDArray[np.float64]:
    """The inverse of `hz_to_mel`, elementwise."""
    if htk:
        return np.asarray(700.0 * (10.0 ** (mel / 2595.0) - 1.0))
    return np.where(mel >= _KNEE_MEL, _KNEE_HZ * np.exp(_LOG_STEP * (mel - _KNEE_MEL)), mel * _HZ_PER_MEL)


def _check_mel(spec: FrontEndSpec) -> None:
    if spec.fmax > spec.sr / 2:
        raise EarwitnessError(
            f"front end: fmax is {spec.fmax:g} Hz, above half the sample rate of {spec.sr} Hz; at most {spec.sr / 2:g}"
        )
    if not 0 <= spec.fmin < spec.fmax:
        raise EarwitnessError(f"front end: fmin is {spec.fmin:g} Hz; valid: from 0 to below fmax, {spec.fmax:g}")
    if spec.power <= 0:
        raise EarwitnessError(f"front end: power is {spec.power:g}; valid: above 0, usually 2 (power) or 1 (magnitude)")
    if spec.n_mels < 1:
        raise EarwitnessError(f"front end: n_mels is {spec.n_mels}; it must be at least 1, usually 64")
    empty = _empty_bands(spec, spec.n_mels)
    if empty:
        fit = next((n for n in range(spec.n_mels - 1, 0, -1) if not _empty_bands(spec, n)), 0)
        remedy = f"at most {fit} bands" if fit else "a larger n_fft"
        raise EarwitnessError(
            f"front end: n_mels is {spec.n_mels}, but band {empty[0]} has no bin of n_fft {spec.n_fft} "
            f"between {spec.fmin:g} and {spec.fmax:g} Hz; take {remedy}"
        )


def _check_log(spec: FrontEndSpec) -> None:
    if spec.log_offset and (spec.log == "db" or spec.amin != 1e-10 or spec.log_offset < 1e-30):
        raise EarwitnessError(
            "front end: log_offset must be 0 or above and goes with log 'ln' alone, in place of an amin"
        )
    check_amin(spec)


def _empty_bands(spec: FrontEndSpec, n_mels: int) -> list[int]:
    filters = mel_filters(
        sr=spec.sr,
        n_fft=spec.n_fft,
        n_mels=n_mels,
        fmin=spec.fmin,
        fmax=spec.fmax,
        htk=spec.htk,
        slopes=spec.mel_slopes,
    )
    return [int(band) for band in np.flatnonzero(~filters.any(axis=1))]
