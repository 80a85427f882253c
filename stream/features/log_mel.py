"""Log-mel spectra of many frames at once: the arithmetic alone, without memory from call to call.

Window, FFT, power, mel product, logarithm, in single precision throughout, into buffers that are made once. A batch is
`BATCH` frames, so that all intermediates of one (about 0.7 MB at n_fft 512) stay in the cache: with 1,000 frames at
once numpy's FFT alone takes three times as long per frame.

**A frame's values are the same bits wherever it stands in a batch**, whatever its size and the number of threads.
numpy's FFT goes row by row, elementwise operations round alike everywhere, and the mel product adds up each band by
itself (`mel_bands`), in a fixed order. As a matrix product it would take 0.3 us a frame instead of 0.8 in full batches,
and more in small ones, but BLAS sums in another order for other numbers of rows, on some CPUs (Haswell, Zen) even for
rows of one call: tried, it cost bits.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .mel import log_scale, mel_bands, mel_filters
from .spec import FrontEndSpec
from .windows import analysis_window

BATCH = 128

Samples = NDArray[np.float32]


class LogMel:
    """A batch of frames, filled with `put` and computed by `compute_into`.

    About 4,000 s of 16 kHz audio per CPU-second at n_fft 512, hop 160, 64 mels, half of the time in the FFT.
    """

    def __init__(self, spec: FrontEndSpec) -> None:
        self._spec = spec
        bins = 1 + spec.n_fft // 2
        before = (spec.n_fft - spec.win_length) // 2  # librosa.util.pad_center
        self._window = analysis_window(spec.window, spec.win_length)
        self._middle = slice(before, before + spec.win_length)
        filters = mel_filters(
            sr=spec.sr, n_fft=spec.n_fft, n_mels=spec.n_mels, fmin=spec.fmin, fmax=spec.fmax, htk=spec.htk,
            norm=spec.norm or "none",
        )  # fmt: skip
        self._bins, self._weights, self._starts = mel_bands(filters)
        self._frames = np.zeros((BATCH, spec.n_fft), np.float32)  # zeros outside the window, for good
        self._under_window = self._frames[:, self._middle]
        self._spectra = np.zeros((BATCH, bins), np.complex64)
        self._parts = self._spectra.view(np.float32)  # real and imaginary, alternating
        self._powers = np.zeros((BATCH, bins), np.float32)
        self._weighted = np.zeros((BATCH, len(self._bins)), np.float32)

    def put(self, frames: Samples, row: int) -> None:
        """Place `frames` `[count, n_fft]`, which may overlap in memory, at `row` of the batch."""
        np.multiply(frames[:, self._middle], self._window, out=self._under_window[row : row + len(frames)])

    def compute_into(self, out: Samples) -> None:
        """Compute the first `len(out)` frames of the batch into `out` `[count, n_mels]`, contiguous."""
        count = len(out)
        powers, parts, weighted = self._powers[:count], self._parts[:count], self._weighted[:count]
        np.fft.rfft(self._frames[:count], out=self._spectra[:count])  # type: ignore[arg-type]  # stub forgot complex64
        np.multiply(parts, parts, out=parts)
        np.add(parts[:, 0::2], parts[:, 1::2], out=powers)
        if self._spec.power == 1.0:
            np.sqrt(powers, out=powers)
        elif self._spec.power != 2.0:
            np.power(powers, self._spec.power / 2.0, out=powers)
        np.take(powers, self._bins, axis=1, out=weighted, mode="clip")  # the default mode would copy once more
        np.multiply(weighted, self._weights, out=weighted)
        np.add.reduceat(weighted, self._starts, axis=1, out=out)
        log_scale(out, self._spec.log, self._spec.amin, self._spec.log_offset, out=out)
