"""A clip's sound as a file: FLAC at the source's rate, depth and channels, made in memory.

In memory, because then its size is known before the disk is touched, and because a full disk is met by our own write,
not inside the codec. FLAC as the encoder writes it (the streamable subset, RFC 9639, section 7) holds up to 8 channels
and rates up to 65,535 Hz, or to 655,350 Hz in steps of 10; anything else becomes a WAV file.
"""

from __future__ import annotations

import io
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import soundfile

FLAC_MOST_CHANNELS = 8

_FULL_SCALE_24 = float(1 << 23)
_CHUNK = 1 << 16  # frames converted at a time: bounds the memory


class Encoded(NamedTuple):
    """A whole sound file, and what was done to the samples to get it."""

    data: bytes
    suffix: str  # ".flac" or ".wav"
    encoding: str  # "FLAC PCM_16", "FLAC PCM_24", "WAV PCM_16", "WAV PCM_24"
    notes: tuple[str, ...]  # what was lost, in words


def encode_sound(samples: npt.NDArray[Any], rate: int) -> Encoded:
    """Encodes `[samples, channels]` of int16, int32 or float32.

    int16 is kept bit for bit as 16 bits. int32 keeps its upper 24 bits, all that converters deliver. float32 (full
    scale 1.0) is rounded to 24 bits; what lies beyond full scale is limited to it, NaN becomes 0, and both are counted.
    """
    channels = samples.shape[1]
    fits = channels <= FLAC_MOST_CHANNELS and (rate < 65_536 or (rate <= 655_350 and rate % 10 == 0))
    container, depth = "FLAC" if fits else "WAV", "PCM_16" if samples.dtype == np.int16 else "PCM_24"
    notes = [] if fits else [f"WAV, since FLAC does not hold {channels} channels at {rate} Hz"]
    limited = invalid = cut = 0
    file = io.BytesIO()
    with soundfile.SoundFile(file, "w", rate, channels, depth, format=container) as sound:
        for start in range(0, len(samples), _CHUNK):
            chunk = samples[start : start + _CHUNK]
            if chunk.dtype == np.float32:
                chunk, beyond, nans = _to_24_bits(chunk)
                limited, invalid = limited + beyond, invalid + nans
            elif chunk.dtype == np.int32:
                cut += int(np.count_nonzero(chunk & 0xFF))
            sound.write(np.ascontiguousarray(chunk))
    if limited:
        notes.append(f"{limited} samples beyond full scale were limited to it")
    if invalid:
        notes.append(f"{invalid} samples that were no numbers became 0")
    if cut:
        notes.append("32-bit samples were cut to 24 bits")
    return Encoded(file.getvalue(), f".{container.lower()}", f"{container} {depth}", tuple(notes))


def _to_24_bits(chunk: npt.NDArray[np.float32]) -> tuple[npt.NDArray[np.int32], int, int]:
    """float32 as int32 whose upper 24 bits hold the value; how many were limited; how many were NaN."""
    nan = np.isnan(chunk)
    nans = int(np.count_nonzero(nan))
    scaled = np.rint(np.where(nan, np.float32(0), chunk) * np.float32(_FULL_SCALE_24))
    lowest, highest = np.float32(-_FULL_SCALE_24), np.float32(_FULL_SCALE_24 - 1)
    beyond = int(np.count_nonzero((scaled < lowest) | (scaled > highest)))
    whole = np.clip(scaled, lowest, highest).astype(np.int32)
    return np.left_shift(whole, 8, out=whole), beyond, nans
