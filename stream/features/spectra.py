"""Windowed spectra of many frames: framing, window and FFT in one step.

The compiled kernel (`_kernel.c`) takes 0.35 us for a frame of n_fft 512 where numpy takes 2.2 and scipy's FFT with the
rest in numpy 1.2, on one core with AVX-512. Where it could not be built (no C compiler at hand) or has no FFT of that
length (odd, or with prime factors above 13), numpy does the same, to about 1e-7 of a frame's amplitude.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from .kernel import COMPILED, kernel
from .weighing import Weights
from .windows import analysis_window

if TYPE_CHECKING:
    from .spec import FrontEndSpec

Samples = NDArray[np.float32]

LARGEST_FACTOR = 13  # that the kernel's FFT has


class Spectra:
    """Spectra of frames under the window of a spec, which is zero-padded to `n_fft`.

    Both methods take `samples`, float32 and contiguous, and where in it each stream begins, `[streams]`; they compute
    for each stream the `count` frames that begin `first`, `first + hop_length`, … samples behind its start.
    """

    def __init__(self, spec: FrontEndSpec) -> None:
        self._n_fft, self._bins, self._hop = spec.n_fft, 1 + spec.n_fft // 2, spec.hop_length
        self._length = spec.frame_length
        self._remove_dc, self._preemphasis = spec.remove_dc, np.float32(spec.preemphasis)
        self._window = np.zeros(spec.frame_length, np.float32)
        self._at = spec.window_offset
        self._window[self._at : self._at + spec.win_length] = analysis_window(spec.window, spec.win_length)
        # A power spectrum does not change when the frame is shifted: zeros before the window are not computed.
        self._inner = np.ascontiguousarray(self._window[self._at : self._at + spec.win_length])
        self._compiled = COMPILED and has_fft(spec.n_fft)
        self._roots = _roots(spec.n_fft), _roots(spec.n_fft // 2)

    def stft(self, samples: Samples, starts: NDArray[np.intp], first: int, count: int) -> NDArray[np.complex64]:
        """Complex spectra, complex64 `[streams * count, 1 + n_fft // 2]`."""
        if self._remove_dc or self._preemphasis:
            samples = self._conditioned(samples, starts, first, count)
            starts, first, count = np.arange(len(samples)) * self._length, 0, 1
        if self._compiled:
            spectra = np.empty((len(starts) * count, self._bins), np.complex64)
            kernel.spectra(samples, starts, first, self._hop, count, self._window, *self._roots, spectra)
            return spectra
        frames = self._frames(samples, starts, first, count)
        padded = np.zeros((len(frames), self._n_fft), np.float32)
        np.multiply(frames, self._window, out=padded[:, : self._length])
        spectra = np.fft.rfft(padded).astype(np.complex64, copy=False)
        return spectra

    def power(self, samples: Samples, starts: NDArray[np.intp], first: int, count: int) -> Samples:
        """Squared magnitudes of `stft`, float32 `[streams * count, 1 + n_fft // 2]`."""
        if not self._compiled or self._remove_dc or self._preemphasis:
            return squared(self.stft(samples, starts, first, count))
        powers = np.empty((len(starts) * count, self._bins), np.float32)
        kernel.spectra(samples, starts, first + self._at, self._hop, count, self._inner, *self._roots, powers)
        return powers

    def weighted(self, samples: Samples, starts: NDArray[np.intp], first: int, count: int, weights: Weights) -> Samples:
        """`weights.apply(power(...))`, the same bits without the powers between; float32 `[streams * count, sums]`."""
        if not self._compiled or self._remove_dc or self._preemphasis:
            return weights.apply(self.power(samples, starts, first, count))
        sums = np.empty((len(starts) * count, len(weights.matrix)), np.float32)
        kernel.spectra(
            samples, starts, first + self._at, self._hop, count, self._inner, *self._roots, sums, *weights.banded
        )
        return sums

    def _frames(self, samples: Samples, starts: NDArray[np.intp], first: int, count: int) -> Samples:
        """The frames' samples, `[rows, frame_length]`."""
        reach = first + (count - 1) * self._hop + self._length
        frames = frames_of(gather(samples, starts, reach), first, self._hop, count, self._length)
        return frames.reshape(-1, self._length)  # copies: frames overlap

    def _conditioned(self, samples: Samples, starts: NDArray[np.intp], first: int, count: int) -> Samples:
        """Frames `[rows, frame_length]` without their mean and with pre-emphasis, each by itself, as in Kaldi."""
        frames = self._frames(samples, starts, first, count)
        if self._remove_dc:
            frames = frames - frames.mean(axis=-1, keepdims=True)
        if self._preemphasis:
            before = np.concatenate((frames[:, :1], frames[:, :-1]), axis=1)
            frames = frames - self._preemphasis * before
        return frames


def has_fft(n_fft: int) -> bool:
    """Whether the kernel has an FFT of that length: an even one without large prime factors."""
    if n_fft < 2 or n_fft % 2:
        return False
    for factor in range(2, LARGEST_FACTOR + 1):
        while n_fft % factor == 0:
            n_fft //= factor
    return n_fft == 1


def squared(spectra: NDArray[np.complex64]) -> Samples:
    """Squared magnitudes, float32 of the same shape."""
    parts = spectra.view(np.float32)
    squares = parts * parts
    return squares[..., 0::2] + squares[..., 1::2]


def gather(samples: Samples, starts: NDArray[np.intp], length: int) -> Samples:
    """So many samples from each start on, `[starts, length]`; of a single one a view."""
    if len(starts) == 1:
        start = starts.item(0)
        return samples.reshape(-1)[None, start : start + length]
    gathered: Samples
    if COMPILED:
        gathered = np.empty((len(starts), length), np.float32)
        kernel.gather(samples, starts, gathered)
    else:
        gathered = samples.reshape(-1)[starts[:, None] + np.arange(length)]
    return gathered


def frames_of(samples: Samples, first: int, hop: int, count: int, length: int) -> Samples:
    """The frames `samples[s, first + f * hop :][:length]`, a read-only view `[streams, count, length]`."""
    stream_step, step = samples.strides
    shape, strides = (len(samples), count, length), (stream_step, hop * step, step)
    if not samples.flags.c_contiguous or first + (count - 1) * hop + length > samples.shape[1]:
        return np.lib.stride_tricks.as_strided(samples[:, first:], shape, strides, writeable=False)
    frames = np.ndarray(shape, np.float32, samples, first * step, strides)  # the same, in a tenth of the time
    frames.flags.writeable = False
    return frames


def _roots(n: int) -> Samples:
    """`exp(-2 pi i k / n)` for k < n, real and imaginary parts in turn."""
    angles = 2.0 * np.pi * np.arange(n) / n
    return np.stack((np.cos(angles), -np.sin(angles)), axis=1).astype(np.float32).reshape(-1)
