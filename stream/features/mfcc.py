"""Mel-frequency cepstral coefficients: the shape of the mel spectrum in a few numbers."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ..errors import EarwitnessError
from .feature import Batch, Feature
from .mel import LogMel
from .spec import check_range
from .weighing import Weights

if TYPE_CHECKING:
    from .spec import FrontEndSpec

Samples = NDArray[np.float32]


class Mfcc(Feature):
    """Cepstral coefficients of `log_mel`, `[n_mfcc]`, in its unit (dB or nepers), of either sign.

    `c[k] = s[k] * sum_m log_mel[m] * cos(pi * k * (m + 1/2) / n_mels)` with `s[0] = sqrt(1 / n_mels)` and
    `s[k] = sqrt(2 / n_mels)`: the orthonormal DCT-II. With a `lifter` L coefficient k is then multiplied by
    `1 + L/2 * sin(pi * (k + 1) / L)`. The same as `librosa.feature.mfcc(S=log_mel, n_mfcc=…, lifter=…)`; that
    function's own decibels are cut off 80 dB below the loudest frame, which no stream can know. Source: Davis and
    Mermelstein 1980, doi:10.1109/TASSP.1980.1163420.
    """

    def __init__(self, spec: FrontEndSpec) -> None:
        super().__init__(spec)
        self._cosines = cosine_weights(spec.n_mels, spec.n_mfcc)
        self._lifter = lifter_weights(spec.n_mfcc, spec.lifter) if spec.lifter else None

    @classmethod
    def check(cls, spec: FrontEndSpec) -> None:
        LogMel.check(spec)
        check_range("n_mfcc", spec.n_mfcc, 1, spec.n_mels, "n_mels")
        if spec.lifter < 0:
            raise EarwitnessError(f"front end: lifter is {spec.lifter:g}; it must be at least 0, nearest 0 (none)")

    @classmethod
    def labels(cls, spec: FrontEndSpec) -> tuple[str, ...]:
        return tuple(f"c{k}" for k in range(spec.n_mfcc))

    def compute(self, batch: Batch) -> Samples:
        coefficients = self._cosines.apply(batch.log_mel)
        if self._lifter is not None:
            coefficients *= self._lifter
        return coefficients


FEATURES: dict[str, type[Feature]] = {"mfcc": Mfcc}


@lru_cache(maxsize=64)
def cosine_weights(n_mels: int, n_mfcc: int) -> Weights:
    """The first rows of the orthonormal DCT-II of `n_mels` values."""
    k, m = np.arange(n_mfcc)[:, None], np.arange(n_mels)[None, :]
    cosines = np.sqrt(2.0 / n_mels) * np.cos(np.pi * k * (m + 0.5) / n_mels)
    cosines[0] = np.sqrt(1.0 / n_mels)
    return Weights(cosines)


def lifter_weights(n_mfcc: int, lifter: float) -> Samples:
    # Not made part of the cosines: it can be 0 for a coefficient, and `Weights` wants none of its rows empty.
    return np.asarray(1.0 + lifter / 2.0 * np.sin(np.pi * np.arange(1, 1 + n_mfcc) / lifter), np.float32)
