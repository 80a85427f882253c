"""What a microphone hears when nothing happens: silence, synthesised noise and hum, speech, real rooms.

Each recording has a kind, so that a report can say on which kind a network raises false alarms. Of the real ones, one
part is trained on, one is kept to choose thresholds by, and one room and one speaker are kept for the final report.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from .esc import read_audio
from .root import data_folder

Use = Literal["training", "choice", "test"]

TEST_ROOM, TEST_SPEAKER = "exercise_bike", "theo"
CHOICE_SPEAKER = "nicolas"
CHOICE_PART = 0.25  # the end of each other room
SPEEDS = (0.8, 1.0, 1.25)  # training recordings are played at these too: other voices, other machines


@dataclass(frozen=True)
class Background:
    """A recording of which no part is an event."""

    kind: str  # "silence", "noise", "hum", "air", "rumble", "speech", "room"
    name: str
    samples: np.ndarray  # float32 [samples], mono


def coloured_noise(rng: np.random.Generator, samples: int, slope: float) -> np.ndarray:
    """Gaussian noise of RMS 1 whose power falls by `slope` dB an octave: 0 white, 3 pink, 6 brown."""
    spectrum = np.fft.rfft(rng.standard_normal(samples))
    octave = np.log2(np.maximum(np.arange(len(spectrum)), 1.0))
    noise = np.fft.irfft(spectrum * 10 ** (-slope * octave / 20), samples)
    return np.asarray(noise / max(float(np.sqrt(np.mean(noise**2))), 1e-12), dtype=np.float32)


def hum(rng: np.random.Generator, samples: int, sr: int) -> np.ndarray:
    """Mains hum of RMS 1: 50 or 60 Hz and harmonics that fall off by a random law."""
    time = np.arange(samples) / sr
    mains, decay = rng.choice([50.0, 60.0]), rng.uniform(0.3, 2.0)
    tone = np.zeros(samples)
    for harmonic in range(1, int(rng.integers(2, 30))):
        phase = rng.uniform(0, 2 * np.pi)
        tone += rng.uniform(0.1, 1) * harmonic**-decay * np.sin(2 * np.pi * mains * harmonic * time + phase)
    return np.asarray(tone / np.sqrt(np.mean(tone**2)), dtype=np.float32)


def synthesised(seed: int, sr: int, count: int = 160, seconds: float = 4.0) -> Iterator[Background]:
    """Silence, noises, hums and rooms that swell slowly; the same for the same seed. Levels are set in training."""
    rng = np.random.default_rng(seed)
    samples = int(seconds * sr)
    yield Background("silence", "digital", np.zeros(samples, np.float32))
    yield Background("silence", "dither", (rng.integers(-1, 2, samples) / 32768).astype(np.float32))
    for index in range(count):
        slope = rng.uniform(-1, 8)
        floor = coloured_noise(rng, samples, slope)
        match index % 4:
            case 0:
                yield Background("noise", f"slope {slope:.1f}", 0.05 * floor)
            case 1:
                tone = hum(rng, samples, sr)
                yield Background("hum", f"{index}", 0.05 * (tone + 10 ** (rng.uniform(-30, 0) / 20) * floor))
            case 2:  # an empty room: low rumble under a flatter hiss
                rumble = coloured_noise(rng, samples, rng.uniform(6, 14))
                yield Background("air", f"{index}", 0.05 * (rumble + 10 ** (rng.uniform(-35, -5) / 20) * floor))
            case _:  # wind in the far distance, traffic: noise that swells and ebbs within seconds
                swell = np.interp(np.linspace(0, 8, samples), np.arange(9), rng.uniform(-9, 9, 9))
                yield Background("rumble", f"{index}", (0.05 * floor * 10 ** (swell / 20)).astype(np.float32))


def rooms(root: Path, sr: int, use: Use) -> Iterator[Background]:
    """The real backgrounds under `root/backgrounds`, or the parts of them for one use."""
    for path in sorted(data_folder(root, "backgrounds").glob("*.flac")):
        if (path.stem == TEST_ROOM) == (use == "test"):
            samples = read_audio(path, sr)
            cut = round(len(samples) * (1 - CHOICE_PART))
            part = {"training": slice(cut), "choice": slice(cut, None), "test": slice(None)}[use]
            yield from _at_speeds("room", path.stem, samples[part], use)


def speech(root: Path, sr: int, use: Use, seed: int = 0) -> Iterator[Background]:
    """Spoken digits, joined with short pauses to one recording a speaker, of the speakers for one use.

    The originals have a rate of 8 kHz. So that the missing band above 4 kHz does not become the mark of speech, faint
    noise is laid under them.
    """
    rng = np.random.default_rng(seed)
    folder = data_folder(root, "fsdd") / "recordings"
    for speaker in sorted({path.stem.split("_")[1] for path in folder.glob("*.wav")}):
        uses: dict[str, Use] = {TEST_SPEAKER: "test", CHOICE_SPEAKER: "choice"}
        if uses.get(speaker, "training") != use:
            continue
        parts: list[np.ndarray] = []
        for path in sorted(folder.glob(f"*_{speaker}_*.wav"))[::3]:
            word = read_audio(path, sr)
            parts += [word / max(float(np.abs(word).max()), 1e-4) * 0.3, np.zeros(int(rng.uniform(0, 0.4) * sr))]
        joined = np.concatenate(parts)
        floor = coloured_noise(rng, len(joined), 0.0) * 10 ** (-55 / 20)
        yield from _at_speeds("speech", speaker, (joined + floor).astype(np.float32), use)


def real(root: Path, sr: int, use: Use) -> list[Background]:
    """Rooms and speech for one use."""
    return [*rooms(root, sr, use), *speech(root, sr, use)]


def _at_speeds(kind: str, name: str, samples: np.ndarray, use: Use) -> Iterator[Background]:
    """The recording; for training also slower and faster, pitch and all."""
    for speed in SPEEDS if use == "training" else (1.0,):
        places = np.arange(0, len(samples) - 1, speed)
        played = samples if speed == 1.0 else np.interp(places, np.arange(len(samples)), samples)
        yield Background(kind, name, np.asarray(played, dtype=np.float32))
