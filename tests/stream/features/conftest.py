"""Sounds that a front end may meet, and a stream cut into blocks."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import numpy as np
import pytest
from numpy.typing import NDArray

from earwitness.stream.features.frontend import FrontEndSpec

from .stepwise import stepwise as stepwise_frames

Samples = NDArray[np.float32]


@pytest.fixture(scope="session")
def sound() -> Callable[[str, int], Samples]:
    """Two seconds by name and sample rate: noise, sweep, speech, silence, impulse, clipped, denormal or constant."""
    return _sound


@pytest.fixture(scope="session")
def stepwise() -> Callable[[FrontEndSpec, Samples, list[int]], Samples]:
    """All frames of a signal pushed in blocks of these sizes, over and over; checks that frames are numbered so."""
    return stepwise_frames


@lru_cache(maxsize=64)
def _sound(kind: str, sr: int) -> Samples:
    rng, seconds = np.random.default_rng(7), np.arange(2 * sr) / sr
    noise = rng.standard_normal(len(seconds))
    made = {
        "noise": lambda: 0.1 * noise,
        "sweep": lambda: 0.5 * np.sin(2 * np.pi * (50.0 + sr / 8 * seconds) * seconds) + 1e-3 * noise,
        "speech": lambda: _voice(seconds) + 1e-4 * noise,
        "silence": lambda: np.zeros(len(seconds)),
        "impulse": lambda: np.eye(1, len(seconds), 9000)[0],
        "clipped": lambda: np.clip(3.0 * noise, -1.0, 1.0),
        "denormal": lambda: np.full(len(seconds), 1e-42),
        "constant": lambda: np.full(len(seconds), 0.25),
    }
    samples = made[kind]().astype(np.float32)
    samples.setflags(write=False)
    return samples


def _voice(seconds: NDArray[np.float64]) -> NDArray[np.float64]:
    """Syllables: harmonics of a gliding voice under moving formants, with pauses."""
    pitch = 120.0 + 30.0 * np.sin(2 * np.pi * 0.7 * seconds)
    phase = 2 * np.pi * np.cumsum(pitch) * (seconds[1] - seconds[0])
    first, second = (
        500.0 + 250.0 * np.sin(2 * np.pi * 1.1 * seconds),
        1500.0 + 600.0 * np.sin(2 * np.pi * 0.9 * seconds),
    )
    voice = np.zeros_like(seconds)
    for harmonic in range(1, 30):
        hz = harmonic * pitch
        voice += (np.exp(-(((hz - first) / 150) ** 2)) + 0.4 * np.exp(-(((hz - second) / 200) ** 2))) * np.sin(
            harmonic * phase
        )
    return np.asarray(0.2 * voice * np.maximum(0.0, np.sin(2 * np.pi * 2.0 * seconds)))
