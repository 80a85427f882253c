"""From one sample rate to another, in a stream, by soxr: the result is that of the whole signal at once.

Quality is soxr's "HQ", librosa's own default: flat within 0.02 dB up to 0.46 of the lower rate, 129 dB down and more
for what would alias. The lower qualities cut deeper into the top band and gain little:

    48 kHz to 16 kHz, blocks of 20 ms      LQ     MQ     HQ     VHQ      HQ as soxr sets it up by itself
    held back, mean                       2.7   10.5   10.7    21 ms    21.3 ms
    held back, at most                    4.0   16.0   15.3    34 ms    36.6 ms
    CPU per block of 20 ms                  6      6      6     7 us    6 us
    at 6.5 kHz / 7.4 kHz                -3 / -29   0 / -0.02 dB in all others
    aliases of 8.2 kHz                   -104   -107   -129   -158 dB

44.1 kHz to 16 kHz: 11.7 ms and 16.9 ms with HQ; from 96 kHz 20 and 30 ms; from 8 kHz 32 and 52 ms. Half of it is
the filter itself, half soxr's FFT blocks, which are four times longer than needed unless told otherwise (below).
"""

from __future__ import annotations

import os

import numpy as np
import soxr
from numpy.typing import NDArray

from .errors import EarwitnessError

# libsoxr reads these whenever a resampler is made: the base-2 logarithm of its FFT's length, as the filter's length
# allows. Its own choice saves no time on blocks and doubles the delay; values differ by 1e-7 of full scale. Set for the
# whole process, before there are threads, since training and live must agree. A value that is there already is kept.
os.environ.setdefault("SOXR_MIN_DFT_SIZE", "8")
os.environ.setdefault("SOXR_LARGE_DFT_SIZE", "8")

Samples = NDArray[np.float32]

QUALITY = "HQ"


class Resampler:
    """Resamples one stream, block by block. Equal rates pass through, the same arrays untouched.

    The blocks' sizes do not matter: what `push` and `flush` return, joined, is bit for bit `resample` of the joined
    input, `output_length(n, ...)` samples for n. Output sample n lies at the time of input sample
    `n * rate_in / rate_out` (the filter is symmetric, its delay is taken out).

    Args:
        rate_in: of what is pushed, Hz.
        rate_out: of what comes back, Hz.
        channels: 1 takes and gives `[samples]`, more take and give `[samples, channels]`.

    >>> resampler = Resampler(48000, 16000)
    >>> len(resampler.push(np.zeros(4800, np.float32))) + len(resampler.flush())
    1600
    """

    def __init__(self, rate_in: int, rate_out: int, channels: int = 1) -> None:
        for rate in (rate_in, rate_out):
            if rate < 1:
                raise EarwitnessError(f"a sample rate is at least 1 Hz, not {rate}")
        self.rate_in, self.rate_out = rate_in, rate_out
        self._shape = (0,) if channels == 1 else (0, channels)
        self._soxr: soxr.ResampleStream | None = None
        if rate_in != rate_out:
            self._soxr = soxr.ResampleStream(rate_in, rate_out, channels, dtype="float32", quality=QUALITY)
        self._pushed = self._given = 0

    def push(self, samples: Samples) -> Samples:
        """The output that a block of float32 samples makes ready, perhaps none."""
        if self._soxr is None or len(samples) == 0:
            return samples
        ready: Samples = self._soxr.resample_chunk(np.ascontiguousarray(samples))
        self._pushed += len(samples)
        self._given += len(ready)
        return ready

    def flush(self) -> Samples:
        """The rest of the output. The next block begins a new signal."""
        rest: Samples = np.empty(self._shape, np.float32)
        if self._soxr is not None and self._pushed:
            rest = self._soxr.resample_chunk(rest, last=True)
        self.reset()
        return rest

    def reset(self) -> None:
        """Forget what is held back. The next block begins a new signal."""
        if self._soxr is not None:
            self._soxr.clear()
        self._pushed = self._given = 0

    @property
    def held_s(self) -> float:
        """How many seconds of what was pushed have not come out yet."""
        return self._pushed / self.rate_in - self._given / self.rate_out


def resample(samples: Samples, rate_in: int, rate_out: int) -> Samples:
    """A whole signal `[samples]` or `[samples, channels]` at another rate, by the same rule as in a stream."""
    resampler = Resampler(rate_in, rate_out, 1 if samples.ndim == 1 else samples.shape[1])
    return np.concatenate((resampler.push(samples), resampler.flush()))


def output_length(samples: int, rate_in: int, rate_out: int) -> int:
    """How many samples come out for `samples` that go in: as long in time, to the nearest sample.

    >>> output_length(48001, 48000, 16000)
    16000
    """
    return (2 * samples * rate_out + rate_in) // (2 * rate_in)


def input_sample(output_sample: int, rate_in: int, rate_out: int) -> int:
    """The input sample at the time of an output sample, or the last one before it; whole numbers, exact for ever.

    >>> input_sample(16000, 44100, 16000), input_sample(1, 44100, 16000)
    (44100, 2)
    """
    return output_sample * rate_in // rate_out
