"""Octave bands of the spectrum: how peaked each is, and how much energy it holds."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ..errors import EarwitnessError
from .feature import Batch, Feature
from .logarithm import decibels
from .spec import check_amin, check_range

if TYPE_CHECKING:
    from .spec import FrontEndSpec

Samples = NDArray[np.float32]


class SpectralContrast(Feature):
    """Peaks above valleys in each band, `[contrast_bands + 1]`, dB, at least 0: tones are high, noise is low.

    Bands are 0..contrast_fmin, then octaves from there, the last one up to sr / 2. In each,
    `10 log10(max(peak, amin)) - 10 log10(max(valley, amin))` of the means of the strongest and of the weakest
    magnitudes, `contrast_quantile` of the band's bins each and at least one. `librosa.feature.spectral_contrast` with
    its bands and its decibels of magnitudes, but without `top_db`, which depends on the whole clip. Silence has 0.
    (Jiang et al., Music type classification by spectral contrast feature, ICME 2002.)
    """

    @classmethod
    def check(cls, spec: FrontEndSpec) -> None:
        check_amin(spec)
        _check_contrast(spec)

    @classmethod
    def labels(cls, spec: FrontEndSpec) -> tuple[str, ...]:
        edges = [*_contrast_edges(spec, spec.contrast_bands)[:-1], spec.sr / 2]
        return _ranges(edges)

    def __init__(self, spec: FrontEndSpec) -> None:
        super().__init__(spec)
        self._bands = contrast_bins(spec, spec.contrast_bands)

    def compute(self, batch: Batch) -> Samples:
        peaks = np.empty((len(self._bands), batch.rows), np.float32)
        valleys = np.empty_like(peaks)
        upright = np.ascontiguousarray(batch.magnitude.T)  # numpy finds extremes of short rows slowly, of columns fast
        for band, (begin, end, few) in enumerate(self._bands):
            if few == 1:
                np.minimum.reduce(upright[begin:end], axis=0, out=valleys[band])
                np.maximum.reduce(upright[begin:end], axis=0, out=peaks[band])
            else:
                ordered = np.sort(batch.magnitude[:, begin:end], axis=1)
                np.divide(np.add.reduce(ordered[:, :few], axis=1), np.float32(few), out=valleys[band])
                np.divide(np.add.reduce(ordered[:, -few:], axis=1), np.float32(few), out=peaks[band])
        contrast = decibels(peaks, self.spec.amin)
        contrast -= decibels(valleys, self.spec.amin)
        return np.ascontiguousarray(contrast.T)


class BandEnergy(Feature):
    """Sum of `|X[k]|^2` over the bins of each band, `[bands]`, at least 0, in the unit of `stft_power`.

    Bands are low <= f[k] < high between neighbouring `band_edges`, the last one with its upper edge; without edges,
    octaves around 1 kHz, `1000 * 10^(0.3 n)` Hz in the middle (IEC 61260-1), from 31.5 Hz up: those that end below
    sr / 2 and hold a bin each.
    """

    @classmethod
    def check(cls, spec: FrontEndSpec) -> None:
        _check_edges(spec)

    @classmethod
    def labels(cls, spec: FrontEndSpec) -> tuple[str, ...]:
        return _ranges(band_edges(spec))

    def __init__(self, spec: FrontEndSpec) -> None:
        super().__init__(spec)
        bounds = band_bounds(spec, band_edges(spec))
        self._begin, self._end = bounds[0], bounds[-1]
        self._starts = np.array(bounds[:-1], np.intp) - bounds[0]

    def compute(self, batch: Batch) -> Samples:
        return np.add.reduceat(batch.power[:, self._begin : self._end], self._starts, axis=1)


FEATURES: dict[str, type[Feature]] = {"spectral_contrast": SpectralContrast, "band_energy": BandEnergy}


def band_edges(spec: FrontEndSpec) -> list[float]:
    """The frequencies that part the bands of `band_energy`, Hz: those of the spec, or of octaves around 1 kHz.

    >>> from .spec import FrontEndSpec
    >>> [round(hz) for hz in band_edges(FrontEndSpec())]
    [22, 45, 89, 178, 355, 708, 1413, 2818, 5623]
    """
    if spec.band_edges:
        return [float(edge) for edge in spec.band_edges]
    edges = [1000.0 * 10.0 ** (0.3 * (octave - 0.5)) for octave in range(-5, 12)]
    edges = [edge for edge in edges if edge <= spec.sr / 2]
    while len(edges) > 1 and _empty_band(spec, edges) is not None:
        del edges[0]  # octaves widen upwards: the lowest one lacks a bin
    return edges


def _frequencies(spec: FrontEndSpec) -> NDArray[np.float64]:
    """The bins' frequencies as librosa rounds them: bands may end right on one."""
    return np.asarray(np.fft.rfftfreq(spec.n_fft, 1.0 / spec.sr), np.float64)


def _ranges(edges: list[float]) -> tuple[str, ...]:
    return tuple(f"{low:.0f}-{high:.0f} Hz" for low, high in pairwise(edges))


def band_bounds(spec: FrontEndSpec, edges: list[float]) -> list[int]:
    """The first bin of each band, and behind them the end of the last one."""
    frequencies = _frequencies(spec)
    starts = np.searchsorted(frequencies, edges[:-1], side="left").tolist()
    return [*starts, int(np.searchsorted(frequencies, edges[-1], side="right"))]


def _empty_band(spec: FrontEndSpec, edges: list[float]) -> int | None:
    """The first band without a bin."""
    bounds = band_bounds(spec, edges)
    return next((band for band in range(len(edges) - 1) if bounds[band] >= bounds[band + 1]), None)


def _check_edges(spec: FrontEndSpec) -> None:
    edges = spec.band_edges
    if not edges:
        if len(band_edges(spec)) < 2:
            raise EarwitnessError(
                f"front end: no octave around 1 kHz has a bin of n_fft {spec.n_fft} at {spec.sr} Hz; take a larger "
                "n_fft or give band_edges"
            )
        return
    if len(edges) < 2:
        raise EarwitnessError(f"front end: band_edges is {edges[0]:g} alone; it takes at least two frequencies in Hz")
    for edge in edges:
        if not math.isfinite(edge):
            raise EarwitnessError(f"front end: band_edges has {edge}; valid: frequencies from 0 to {spec.sr / 2:g} Hz")
        check_range("band_edges", edge, 0, spec.sr / 2, "half the sample rate")
    for low, high in pairwise(edges):
        if low >= high:
            raise EarwitnessError(f"front end: band_edges has {high:g} behind {low:g}; they must ascend")
    empty = _empty_band(spec, list(edges))
    if empty is not None:
        raise EarwitnessError(
            f"front end: band_edges {edges[empty]:g} to {edges[empty + 1]:g} Hz has no bin of n_fft {spec.n_fft}; "
            f"bins are {spec.sr / spec.n_fft:g} Hz apart, nearest n_fft {_enough(spec, edges)}"
        )


def _enough(spec: FrontEndSpec, edges: tuple[float, ...]) -> int:
    """The power of two whose bins are as close as the narrowest band is wide."""
    narrowest = min(high - low for low, high in pairwise(edges))
    return 1 << math.ceil(math.log2(spec.sr / narrowest))


def _contrast_edges(spec: FrontEndSpec, bands: int) -> list[float]:
    return [0.0, *(spec.contrast_fmin * 2.0**octave for octave in range(bands + 1))]


def contrast_bins(spec: FrontEndSpec, bands: int) -> list[tuple[int, int, int]]:
    """First bin, end, and how many are averaged, of each band, as librosa takes them; () of bands that lack a bin.

    librosa counts bins on both edges, adds the bin below, counts, and drops the highest one again; the last band goes
    on to the end.
    """
    frequencies, edges, bins = _frequencies(spec), _contrast_edges(spec, bands), []
    for band, (low, high) in enumerate(pairwise(edges)):
        begin = int(np.searchsorted(frequencies, low, side="left"))
        end = int(np.searchsorted(frequencies, high, side="right"))
        if begin >= end:
            return []
        begin -= band > 0
        if band == bands:
            end = len(frequencies)
        few = max(1, round(spec.contrast_quantile * (end - begin)))
        end -= band < bands
        if begin >= end:
            return []
        bins.append((begin, end, min(few, end - begin)))
    return bins


def _check_contrast(spec: FrontEndSpec) -> None:
    if not 0 < spec.contrast_quantile < 1:
        raise EarwitnessError(
            f"front end: contrast_quantile is {spec.contrast_quantile:g}; valid: above 0 and below 1, usually 0.02"
        )
    if spec.contrast_bands < 1:
        raise EarwitnessError(f"front end: contrast_bands is {spec.contrast_bands}; it must be at least 1, usually 6")
    spacing = spec.sr / spec.n_fft
    check_range("contrast_fmin", spec.contrast_fmin, spacing, spec.sr / 4, "bins of n_fft, a quarter of sr")
    if not _bands_fit(spec, spec.contrast_bands):
        fit = next((n for n in range(min(spec.contrast_bands, 64) - 1, 0, -1) if _bands_fit(spec, n)), 0)
        remedy = f"nearest {fit}" if fit else "take a larger n_fft"
        raise EarwitnessError(
            f"front end: contrast_bands is {spec.contrast_bands}, but so many octaves from contrast_fmin, "
            f"{spec.contrast_fmin:g} Hz, do not begin below half the sample rate, {spec.sr / 2:g} Hz; {remedy}"
        )


def _bands_fit(spec: FrontEndSpec, bands: int) -> bool:
    if bands > 64 or spec.contrast_fmin * 2.0 ** (bands - 1) >= spec.sr / 2:
        return False
    return bool(contrast_bins(spec, bands))
