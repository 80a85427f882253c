"""The mel scale, the filters as librosa makes them, and the logarithm that follows."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray


@lru_cache(maxsize=64)
def mel_filters(
    *, sr: int, n_fft: int, n_mels: int, fmin: float, fmax: float, htk: bool = False, norm: str = "none"
) -> NDArray[np.float32]:
    """The filter bank of `librosa.filters.mel`, float32 `[n_mels, 1 + n_fft // 2]`, read-only (it is shared).

    Band m is a triangle that rises from mel frequency m to m + 1 and falls to m + 2, of the `n_mels + 2` frequencies
    that divide `fmin`..`fmax` (Hz) evenly in mel. `norm` "slaney" scales each to an area of 1 over Hz, "none" leaves
    a peak of 1. A band between two bins is all zeros: `FrontEndSpec` refuses that.
    """
    edges = mel_to_hz(np.linspace(hz_to_mel(fmin, htk), hz_to_mel(fmax, htk), n_mels + 2), htk)
    bins = np.arange(1 + n_fft // 2) * (sr / n_fft)
    rising = (bins[None, :] - edges[:-2, None]) / np.diff(edges)[:-1, None]
    falling = (edges[2:, None] - bins[None, :]) / np.diff(edges)[1:, None]
    filters = np.maximum(0.0, np.minimum(rising, falling))
    if norm == "slaney":
        filters *= 2.0 / (edges[2:] - edges[:-2])[:, None]
    single: NDArray[np.float32] = filters.astype(np.float32)
    single.setflags(write=False)
    return single


def mel_bands(
    filters: NDArray[np.float32],
) -> tuple[NDArray[np.intp], NDArray[np.float32], NDArray[np.intp]]:
    """The filters without their zeros (31 of 32 weights at n_fft 512): bins and weights, band after band, and where in
    these each band starts. `np.add.reduceat(powers[:, bins] * weights, starts, axis=1)` is `powers @ filters.T`.
    """
    bands, bins = np.nonzero(filters)
    starts = np.searchsorted(bands, np.arange(len(filters)))
    return bins.astype(np.intp), filters[bands, bins], starts.astype(np.intp)


def log_scale(mels: NDArray[np.float32], log: str, amin: float, log_offset: float, *, out: NDArray[np.float32]) -> None:
    """Mel powers on the logarithmic scale `FrontEndSpec.log` into `out`, which may be `mels`; both contiguous."""
    if log == "db":
        np.maximum(mels, amin, out=out)
        np.log10(out, out=out)
        np.multiply(out, 10.0, out=out)
    else:
        np.add(mels, log_offset, out=out)
        np.log(out, out=out)


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
