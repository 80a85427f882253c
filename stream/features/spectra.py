"""Windowed spectra of many frames: framing, window and FFT in one step."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from .windows import analysis_window

if TYPE_CHECKING:
    from .spec import FrontEndSpec

Samples = NDArray[np.float32]


class Spectra:
    """FFTs of frames under the window of a spec, which is zero-padded to `n_fft`."""

    def __init__(self, spec: FrontEndSpec) -> None:
        self.n_fft = spec.n_fft
        self.bins = 1 + spec.n_fft // 2
        self._at = spec.window_offset
        self._length = spec.frame_length
        self._remove_dc, self._preemphasis = spec.remove_dc, np.float32(spec.preemphasis)
        window = np.zeros(spec.frame_length, np.float32)
        window[self._at : self._at + spec.win_length] = analysis_window(spec.window, spec.win_length)
        self._window = window

    def stft(self, frames: Samples) -> NDArray[np.complex64]:
        """Complex spectra of `frames` `[streams, frames, frame_length]`, complex64 `[streams * frames, bins]`."""
        rows = frames.shape[0] * frames.shape[1]
        padded = np.zeros((rows, self.n_fft), np.float32)
        under = padded[:, : self._length].reshape(frames.shape)
        np.multiply(self._conditioned(frames), self._window, out=under)
        return np.fft.rfft(padded).astype(np.complex64)

    def power(self, frames: Samples) -> Samples:
        """Squared magnitudes of `stft`, float32 `[rows, bins]`."""
        spectra = self.stft(frames)
        return np.square(spectra.real) + np.square(spectra.imag)

    def _conditioned(self, frames: Samples) -> Samples:
        """Frames without their mean and with pre-emphasis, as Kaldi does it to each frame by itself."""
        if self._remove_dc:
            frames = frames - frames.mean(axis=-1, keepdims=True)
        if self._preemphasis:
            before = np.concatenate((frames[..., :1], frames[..., :-1]), axis=-1)
            frames = frames - self._preemphasis * before
        return frames
