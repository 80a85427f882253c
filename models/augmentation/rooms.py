"""Impulse responses of rooms that there are none of: direct sound, early reflections, decaying noise."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

REFLECTIONS = 8
EARLY_S = (0.002, 0.05)  # when they come: walls half a metre to eight metres away
LATE_S = 0.02  # from when on reflections are too many to tell apart
DECAY = 3 * np.log(10)  # nepers of amplitude in 60 dB
EARLY_SHARE = (0.1, 0.5)  # of the reflected power


def impulse_responses(
    rt60_s: NDArray[np.floating], direct_db: NDArray[np.floating], sr: int, rng: np.random.Generator
) -> NDArray[np.float32]:
    """Random rooms: Gaussian noise under an exponential (J. A. Moorer 1979, "About this reverberation business",
    https://doi.org/10.2307/3680280), and single reflections of either sign before it.

    Args:
        rt60_s: `[rooms]`, in how many seconds the reflected sound falls by 60 dB.
        direct_db: `[rooms]`, the power of the direct sound over that of all reflections.
        sr: sample rate, Hz.

    Returns:
        float32 `[rooms, samples]`, as long as the longest of `rt60_s`, of power 1; first comes the direct sound.
    """
    count, samples = len(rt60_s), int(np.ceil(max(rt60_s, default=0.0) * sr)) + 1
    time = np.arange(samples, dtype=np.float32) / sr
    fall = np.exp(-DECAY * time / rt60_s[:, None].astype(np.float32))
    late = rng.standard_normal((count, samples), dtype=np.float32) * fall
    late *= np.clip((time - EARLY_S[0]) / (LATE_S - EARLY_S[0]), 0, 1)
    early = np.zeros_like(late)
    last = np.minimum(EARLY_S[1], rt60_s[:, None] / 2)
    places = (rng.uniform(EARLY_S[0], last, (count, REFLECTIONS)) * sr).astype(int)
    places = np.minimum(places, samples - 1)
    rows = np.arange(count)[:, None]
    signs = rng.choice(np.array([-1.0, 1.0], np.float32), (count, REFLECTIONS))
    early[rows, places] = signs * rng.uniform(0.3, 1, (count, REFLECTIONS)) * fall[rows, places]
    share = rng.uniform(*EARLY_SHARE, (count, 1))
    reflected = early * np.sqrt(share / _power(early)) + late * np.sqrt((1 - share) / _power(late))
    reflected /= np.sqrt(_power(reflected)) * 10 ** (direct_db[:, None] / 20)
    reflected[:, 0] = 1.0
    return np.asarray(reflected / np.sqrt(_power(reflected)), np.float32)


def _power(rows: NDArray[np.floating]) -> NDArray[np.floating]:
    return np.asarray(np.maximum(np.square(rows).sum(axis=1, keepdims=True), 1e-20))
