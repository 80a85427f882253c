"""Changes of samples, row by row in one call: filters, speeds, and what cheap microphones and telephones do.

What torchaudio has is taken from there. Its `pitch_shift` and `speed` are not: they resample by whole sample rates,
16000 to 16951 for a semitone, with a filter of a gigabyte. Its `add_noise` measures a sound with the silence around it.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..torchaudio_cpu import import_torchaudio

MARGIN = 256  # samples at either end of a row that is resampled, which its sudden ends spoil
TELEPHONE_HZ = (300.0, 3400.0)  # ITU-T G.712
TELEPHONE_SR = 8000
TELEPHONE_SLOPE_DB = 48.0  # an octave beyond the band
VOCODER_S = 0.032  # the window under which a stretch keeps the pitch
HTK = (2595.0, 700.0)  # of the mel scale


def band_places(taps: int, sr: int, fmin: float, fmax: float) -> NDArray[np.float64]:
    """Where the bins of `taps` points lie in a band, 0 its bottom and 1 its top, evenly by mel: `[taps // 2 + 1]`."""
    factor, corner = HTK
    low, high = (factor * np.log10(1 + edge / corner) for edge in (fmin, fmax))
    mel = factor * np.log10(1 + np.fft.rfftfreq(taps, 1 / sr) / corner)
    return np.asarray((mel - low) / (high - low))


def filters_of(response_db: Tensor) -> Tensor:
    """Filters with these magnitudes that begin at once, as those of microphones do: minimum phase, by the cepstrum
    (A. V. Oppenheim and R. W. Schafer, "Discrete-Time Signal Processing", chapter 13).

    Shape: `[rows, taps // 2 + 1]` -> `[rows, taps]`.
    """
    neper = response_db.double() * (np.log(10) / 20)
    cepstrum = torch.fft.irfft(neper)
    taps = cepstrum.shape[1]
    cepstrum[:, 1 : taps // 2] *= 2
    cepstrum[:, taps // 2 + 1 :] = 0
    filters: Tensor = torch.fft.irfft(torch.exp(torch.fft.rfft(cepstrum)))
    return filters.float()


def filtered(samples: Tensor, filters: Tensor) -> Tensor:
    """Each row by its filter, as long as before: `[rows, samples]`, `[rows, taps]` -> `[rows, samples]`."""
    count, taps = samples.shape[1], filters.shape[1]
    fast = fast_length(count + taps - 1)  # several times faster than a length with large prime factors
    whole = _functional().fftconvolve(samples, torch.nn.functional.pad(filters, (0, fast - count - taps + 1)))
    return whole[:, :count]  # type: ignore[no-any-return]


def fast_length(length: int) -> int:
    """The least length, not below this, that is a power of 2, or 3, 5 or 15 times one.

    >>> fast_length(17023)
    20480
    """
    return min(odd << max(0, math.ceil(math.log2(length / odd))) for odd in (1, 3, 5, 15))


def played(samples: Tensor, count: int) -> Tensor:
    """As many samples played in the time of `count`, pitch and all.

    By cutting or filling up the spectrum, exact for what repeats; the ends are spoilt for some hundred samples.

    Shape: `[rows, samples]` -> `[rows, count]`.
    """
    length = samples.shape[1]
    if length == count:
        return samples
    spectrum = torch.fft.rfft(samples)[:, : count // 2 + 1]
    out: Tensor = torch.fft.irfft(spectrum, n=count) * (count / length)
    return out


def stretched(samples: Tensor, rate: float, sr: int) -> Tensor:
    """Faster by `rate` at the same pitch, by torchaudio's phase vocoder.

    Shape: `[rows, samples]` -> `[rows, round(samples / rate)]`.
    """
    n_fft = 2 ** round(np.log2(VOCODER_S * sr))
    hop, window = n_fft // 4, torch.hann_window(n_fft, device=samples.device)
    spectra = torch.stft(samples, n_fft, hop, window=window, return_complex=True, pad_mode="constant")
    advance = torch.linspace(0, np.pi * hop, n_fft // 2 + 1, device=samples.device)[:, None]
    faster = _functional().phase_vocoder(spectra, rate, advance)
    return torch.istft(faster, n_fft, hop, window=window, length=round(samples.shape[1] / rate))


def overdriven(samples: Tensor, above_db: Tensor) -> Tensor:
    """Clipped where a row is within `above_db` `[rows]` of its own peak: `[rows, samples]` -> the same."""
    limit = (samples.abs().amax(1) * 10 ** (-above_db / 20))[:, None]
    return samples.clamp(-limit, limit)


def companded(samples: Tensor, bits: Tensor) -> Tensor:
    """Samples in `bits` whole bits `[rows]`, spread by the mu-law, full scale 1: `[rows, samples]` -> the same.

    There are a few numbers of bits, and a call of torchaudio's for each.
    """
    functional, out = _functional(), samples.clone()
    for each in torch.unique(bits).tolist():
        rows, levels = bits == each, 2 ** int(each)
        codes = functional.mu_law_encoding(samples[rows].clamp(-1, 1), levels)
        out[rows] = functional.mu_law_decoding(codes, levels)
    return out


def telephoned(samples: Tensor, sr: int) -> Tensor:
    """As the telephone network carries it: 300 to 3400 Hz, 8,000 samples a second in 8 bits of mu-law (ITU-T G.711).

    Shape: `[rows, samples]` -> `[rows, samples]`.
    """
    functional = _functional()
    taps = 2 ** int(np.log2(sr / 16))
    octaves = np.log2(np.maximum(np.fft.rfftfreq(taps, 1 / sr), 1.0)[:, None] / TELEPHONE_HZ)
    loss = TELEPHONE_SLOPE_DB * np.maximum(np.maximum(-octaves[:, 0], octaves[:, 1]), 0)
    response = torch.from_numpy(-np.minimum(loss, 80.0)).to(samples.device)
    narrow = filtered(samples, filters_of(response[None]))
    slow = functional.resample(narrow, sr, TELEPHONE_SR)
    heard = companded(slow, torch.full((len(slow),), 8, device=slow.device))
    return functional.resample(heard, TELEPHONE_SR, sr)[:, : samples.shape[1]]  # type: ignore[no-any-return]


def _functional() -> Any:
    import_torchaudio()
    import torchaudio.functional

    return torchaudio.functional
