"""Sounds, references and cuts for the tests of what has one value or a few a frame."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import librosa
import numpy as np
import soundfile
from numpy.typing import NDArray

from earwitness.stream.features.frontend import FrontEnd, FrontEndSpec

Samples = NDArray[np.float32]
KINDS = ("noise", "clipped", "sweep", "speech", "impulse", "silence", "denormal", "faint", "constant")
SIZES = (1, 7, 160, 161, 2053, 100_000)


def sound(kind: str, sr: int = 16000, seconds: float = 1.0) -> Samples:
    """What a front end may meet."""
    rng = np.random.default_rng(3)
    t = np.arange(round(seconds * sr)) / sr
    if kind == "noise":
        made = 0.1 * rng.standard_normal(len(t))
    elif kind == "clipped":
        made = np.clip(1.5 * np.sin(2 * np.pi * 313 * t) + 0.3 * rng.standard_normal(len(t)), -1.0, 1.0)
    elif kind == "sweep":
        made = 0.5 * np.sin(2 * np.pi * (50 + sr / 8 * t) * t) + 1e-3 * rng.standard_normal(len(t))
    elif kind == "speech":  # a buzz that comes and goes four times a second, with breath between
        buzz = sum(np.sin(2 * np.pi * 120 * k * t) / k for k in range(1, 25))
        made = 0.2 * buzz * np.maximum(0.0, np.sin(2 * np.pi * 4 * t)) + 2e-3 * rng.standard_normal(len(t))
    elif kind == "impulse":
        made = np.eye(1, len(t), len(t) // 2)[0]
    else:
        made = np.full(len(t), {"silence": 0.0, "denormal": 1e-42, "faint": 1e-18, "constant": 0.25}[kind])
    return np.asarray(made, np.float32)


def recordings(data_root: Path) -> dict[str, tuple[Samples, int]]:
    """A dog, rain and a spoken digit: samples and rate."""
    table = (data_root / "esc10" / "meta" / "esc50.csv").read_text().splitlines()[1:]
    named = {row.split(",")[3]: row.split(",")[0] for row in reversed(table)}
    paths = {name: data_root / "esc10" / "audio" / named[name] for name in ("dog", "rain")}
    paths["digit"] = min((data_root / "fsdd" / "recordings").glob("7_*.wav"))
    return {name: soundfile.read(path, dtype="float32") for name, path in paths.items()}


def magnitudes(spec: FrontEndSpec, samples: Samples) -> NDArray[np.float64]:
    """librosa's magnitudes in double precision, `[bins, frames]`."""
    return np.abs(
        librosa.stft(
            samples.astype(np.float64), n_fft=spec.n_fft, hop_length=spec.hop_length, win_length=spec.win_length,
            window=spec.window, center=spec.center, pad_mode=spec.pad_mode, dtype=np.complex128,
        )
    )  # fmt: skip


def stepwise(spec: FrontEndSpec, samples: Samples, sizes: list[int]) -> Samples:
    """The frames of one stream in blocks of `sizes`, taken in turn, beside others that come and go."""
    front_end, parts, start, turn = FrontEnd(spec), [], 0, 0
    others: dict[str, Any] = {}
    while start < len(samples):
        size = sizes[turn % len(sizes)]
        others = {str(n): samples[n : n + size + n] for n in range(turn % 4)}
        parts.append(front_end.push({**others, "s": samples[start : start + size]})["s"].values)
        start, turn = start + size, turn + 1
    return np.concatenate([*parts, front_end.flush("s").values])
