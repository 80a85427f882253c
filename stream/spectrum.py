"""What a screen shows of a stream's spectrum: the level of a few bands, over a tenth of a second at a time.

It is read off the log-mels that a model is given anyway, undone of whatever scale and filter gain they have: 0 dB is a
sine at full scale, so that two front ends show one sound alike. A front end without log-mels shows nothing.
"""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .features.frontend import FrontEndSpec
from .features.mel import hz_to_mel, mel_to_hz, mel_weights
from .features.windows import analysis_window

MOST_BANDS = 32
READING_S = 0.1
FLOOR_DB = -110.0  # of the value 0
STEP_DB = 0.5  # from value to value


class SpectrumMeter:
    """Gathers the frames of one stream until there are enough for one reading.

    A band's level is that of its mean power; where several mel bands share one, that of the loudest of them.

    Args:
        bands: made once for all streams of a front end.
    """

    def __init__(self, bands: Bands) -> None:
        self._bands = bands
        self._power: NDArray[np.float32] | None = None  # summed over the frames
        self._frames = 0

    def add(self, frames: NDArray[np.float32]) -> bool:
        """Takes frames `[frames, dims]`. Whether there are enough for a reading, or more."""
        if len(frames):
            power = self._bands.power(frames).sum(axis=0)
            self._power = power if self._power is None else self._power + power
            self._frames += len(frames)
        return self._frames >= self._bands.enough

    def read(self) -> NDArray[np.uint8]:
        """The levels `[bands]` of what was added since the last reading: value v is `FLOOR_DB + v * STEP_DB`."""
        assert self._power is not None
        levels = self._bands.levels(self._power / self._frames)
        self.forget()
        return levels

    def forget(self) -> None:
        """Begins a new reading."""
        self._power, self._frames = None, 0


class Bands:
    """How the log-mels of a front end become levels.

    Attributes:
        bands_hz: where each band begins and ends, whole Hz; the lowest first.
        enough: frames of a reading.
    """

    def __init__(self, spec: FrontEndSpec) -> None:
        self._columns = spec.columns["log_mel"]
        self._neper = np.float32(np.log(10.0) / 10.0 if spec.log == "db" else 1.0)  # of the mels' logarithm
        self._offset, self._exponent = np.float32(spec.log_offset), 2.0 / spec.power
        bands = min(MOST_BANDS, spec.n_mels)
        self._starts = np.arange(bands) * spec.n_mels // bands
        filters = mel_weights(spec).matrix
        # The spectrum of a sine of amplitude 1 is half of the window's, moved to its bin: here the peak of each filter.
        sine = np.abs(np.fft.fft(analysis_window(spec.window, spec.win_length), spec.n_fft)) / 2.0
        moved = np.arange(filters.shape[1]) - np.argmax(filters, axis=1)[:, None]
        self._unit = (1.0 / np.sum(filters * sine[moved] ** spec.power, axis=1)).astype(np.float32)
        mels = np.linspace(hz_to_mel(spec.fmin, spec.htk), hz_to_mel(spec.fmax, spec.htk), spec.n_mels + 2)
        # Neighbouring filters overlap by half: each counts from the middle of its rise to the middle of its fall.
        middles = mel_to_hz((mels[:-1] + mels[1:]) / 2.0, spec.htk)
        edges = [round(float(hz)) for hz in middles[[*self._starts, -1]]]
        self.bands_hz = tuple(itertools.pairwise(edges))
        self.enough = max(1, round(READING_S * spec.sr / spec.hop_length))

    def power(self, frames: NDArray[np.float32]) -> NDArray[np.float32]:
        """Power of the mel bands `[frames, n_mels]`, 1 for a sine at full scale in the middle of one."""
        mels = frames[:, self._columns] * self._neper
        np.exp(mels, out=mels)
        if self._offset:
            mels = np.maximum(mels - self._offset, np.float32(0))
        mels *= self._unit
        return mels if self._exponent == 1.0 else mels**self._exponent

    def levels(self, power: NDArray[np.floating[Any]]) -> NDArray[np.uint8]:
        """A spectrum of such powers as a reading."""
        loudest = np.maximum.reduceat(power, self._starts)
        steps = (10.0 * np.log10(np.maximum(loudest, 1e-20)) - FLOOR_DB) / STEP_DB
        return np.clip(np.rint(steps), 0, 255).astype(np.uint8)
