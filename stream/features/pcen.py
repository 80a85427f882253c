"""Per-channel energy normalisation: a mel spectrum that steady noise and loudness have been taken out of."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ..errors import EarwitnessError
from .feature import Batch, Feature
from .mel import Mel
from .spec import check_range

if TYPE_CHECKING:
    from .spec import FrontEndSpec

Samples = NDArray[np.float32]


class Pcen(Mel):
    """`mel` over its own recent past, then compressed, `[n_mels]`, at least 0, without a unit: `librosa.pcen`.

    `(mel / (eps + m) ** gain + bias) ** power - bias ** power`, where m is each band's smoothed past,
    `m[f] = (1 - b) * m[f - 1] + b * mel[f]` with `b = (sqrt(1 + 4 T²) - 1) / (2 T²)`, T being `pcen_time_constant` in
    frames. With power 0 it is `ln(1 + mel / (eps + m) ** gain)`. As in librosa m is 1 before the first frame: a quiet
    stream needs some time constants until m has come down to it. m is carried in double precision. Source: Wang et al.
    2017, doi:10.1109/ICASSP.2017.7953152; Lostanlen et al. 2019, doi:10.1109/LSP.2018.2878620.

    Samples are full scale 1 here. Where librosa's manual scales them by 2 ** 31, divide `pcen_eps` by that instead.
    """

    def __init__(self, spec: FrontEndSpec) -> None:
        super().__init__(spec)
        self.initial = {"smoothed": np.ones(spec.n_mels)}
        self._share = smoothing_share(spec)

    @classmethod
    def check(cls, spec: FrontEndSpec) -> None:
        Mel.check(spec)
        check_range("pcen_gain", spec.pcen_gain, 0, 1)
        check_range("pcen_power", spec.pcen_power, 0, 1)
        check_range("pcen_bias", spec.pcen_bias, 0, 1e6)
        check_range("pcen_eps", spec.pcen_eps, 1e-30, 1e6)
        if spec.pcen_time_constant <= 0:
            raise EarwitnessError(
                f"front end: pcen_time_constant is {spec.pcen_time_constant:g} s; it must be above 0, usually 0.4"
            )

    def compute(self, batch: Batch) -> Samples:
        spec = self.spec
        level = (self._smoothed(batch) + spec.pcen_eps).astype(np.float32).reshape(batch.rows, -1)
        np.log(level, out=level)
        level *= np.float32(-spec.pcen_gain)
        normalised = np.exp(level, out=level)
        normalised *= batch.mel
        return _compressed(normalised, spec.pcen_bias, spec.pcen_power)

    def _smoothed(self, batch: Batch) -> NDArray[np.float64]:
        """Each band's smoothed past, this frame included, `[streams, frames, n_mels]`."""
        mels = batch.mel.reshape(len(batch.slots), batch.count, -1)
        smoothed = np.multiply(mels, self._share, dtype=np.float64)
        smoothed += _TINY
        past = self.carried["smoothed"][batch.slots]
        decay = 1.0 - self._share
        for frame in range(batch.count):
            past *= decay
            past += smoothed[:, frame]
            smoothed[:, frame] = past
        self.carried["smoothed"][batch.slots] = past
        return smoothed


FEATURES: dict[str, type[Feature]] = {"pcen": Pcen}


def smoothing_share(spec: FrontEndSpec) -> float:
    """How much of each new frame enters the smoothed past, above 0 and below 1."""
    frames = spec.pcen_time_constant * spec.sr / spec.hop_length
    # (sqrt(1 + 4 T²) - 1) / (2 T²), without the difference of nearly equal numbers that it is for small T
    return float(2.0 / (np.sqrt(1.0 + 4.0 * frames * frames) + 1.0))


# Digital silence would let the past fall to denormal numbers, which are slow. Far below any `pcen_eps`.
_TINY = 1e-40


def _compressed(values: Samples, bias: float, power: float) -> Samples:
    """`(values + bias) ** power - bias ** power` in place, without cancellation where values are small."""
    if power == 0:
        return np.log1p(values, out=values)
    if bias == 0:
        return np.power(values, np.float32(power), out=values)
    if power == 0.5:  # the usual one: a - b = (a² - b²) / (a + b), much faster than what follows
        roots = np.sqrt(values + np.float32(bias))
        roots += np.float32(np.sqrt(bias))
        values /= roots
        return values
    values /= np.float32(bias)
    np.log1p(values, out=values)
    values *= np.float32(power)
    np.expm1(values, out=values)
    values *= np.float32(bias**power)
    return values
