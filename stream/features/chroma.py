"""Energy of the pitch classes: which notes sound, whatever their octave."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ..errors import EarwitnessError
from .feature import Batch, Feature
from .spec import check_range
from .weighing import Weights

if TYPE_CHECKING:
    from .spec import FrontEndSpec

Samples = NDArray[np.float32]


class Chroma(Feature):
    """Share of each pitch class, `[n_chroma]`, 0..1, the strongest 1: `librosa.feature.chroma_stft(norm=inf)`.

    `c = filters @ |stft| ** power`, then `c / max(c)`; a frame whose maximum is below the smallest normal number stays
    as it is (silence: zeros). The filters are `chroma_filters`. librosa estimates the tuning from the whole file; here
    it is `tuning`, since a stream has no whole. Source: D. Ellis, Chroma feature analysis and synthesis, 2007,
    https://www.ee.columbia.edu/~dpwe/resources/matlab/chroma-ansyn/
    """

    def __init__(self, spec: FrontEndSpec) -> None:
        super().__init__(spec)
        self._filters = _weights(spec.sr, spec.n_fft, spec.n_chroma, spec.tuning)

    @classmethod
    def check(cls, spec: FrontEndSpec) -> None:
        if spec.n_chroma < 1:
            raise EarwitnessError(f"front end: n_chroma is {spec.n_chroma}; it must be at least 1, usually 12")
        check_range("tuning", spec.tuning, -spec.n_chroma, spec.n_chroma, "an octave")
        if spec.power <= 0:
            raise EarwitnessError(
                f"front end: power is {spec.power:g}; valid: above 0, usually 2 (power) or 1 (magnitude)"
            )

    @classmethod
    def labels(cls, spec: FrontEndSpec) -> tuple[str, ...]:
        if spec.n_chroma == len(_NOTES):
            return _NOTES
        return tuple(f"pitch class {number}" for number in range(spec.n_chroma))

    def compute(self, batch: Batch) -> Samples:
        energies = self._filters.apply(batch.spectrum(self.spec.power))
        strongest = energies.max(axis=1, keepdims=True)
        strongest[strongest < np.finfo(np.float32).tiny] = 1.0
        energies /= strongest
        return energies


_NOTES = ("C", "C#", "D", "D#", "E", "F", "F#", "G", "G#", "A", "A#", "B")

FEATURES: dict[str, type[Feature]] = {"chroma": Chroma}


@lru_cache(maxsize=64)
def _weights(sr: int, n_fft: int, n_chroma: int, tuning: float) -> Weights:
    return Weights(chroma_filters(sr=sr, n_fft=n_fft, n_chroma=n_chroma, tuning=tuning))


def chroma_filters(*, sr: int, n_fft: int, n_chroma: int = 12, tuning: float = 0.0) -> Samples:
    """The filters of `librosa.filters.chroma` at its defaults, float32 `[n_chroma, 1 + n_fft // 2]`.

    Each bin of the FFT is spread over the pitch classes by a Gaussian whose width is the bin's in semitones, at least
    one (so low bins, an octave wide and more, say little), with a Euclidean norm of 1 over the classes. Bins far from
    the middle of the keyboard (5 octaves above A0, 880 Hz) weigh less, by a Gaussian of 2 octaves. Class 0 is C.
    """
    hz = np.arange(1, n_fft) * (sr / n_fft)
    a0 = 440.0 * 2.0 ** (tuning / n_chroma) / 16.0
    octaves = np.log2(hz / a0)
    octaves = np.concatenate((octaves[:1] - 1.5, octaves))  # bin 0 has no pitch: it is put below bin 1, and spread wide
    places = n_chroma * octaves
    widths = np.concatenate((np.maximum(np.diff(places), 1.0), [1.0]))
    half = np.round(n_chroma / 2.0)
    away = places[None, :] - np.arange(n_chroma)[:, None]
    away = np.remainder(away + half + 10 * n_chroma, n_chroma) - half  # to the nearest octave of the class
    filters = np.exp(-0.5 * (2.0 * away / widths) ** 2)
    filters /= np.sqrt(np.sum(np.square(filters), axis=0))
    filters *= np.exp(-0.5 * ((octaves - 5.0) / 2.0) ** 2)
    filters = np.roll(filters, -3 * (n_chroma // 12), axis=0)  # from A to C
    return np.ascontiguousarray(filters[:, : 1 + n_fft // 2], np.float32)
