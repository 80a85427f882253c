"""What a microphone hears when nothing happens: silence, synthesised noise and hum, speech, real rooms.

Each recording has a kind, so that a report can say on which kind a network raises false alarms. Of the real ones, one
part is trained on, one is kept to choose thresholds by, and one room and one speaker are kept for the final report.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from ...stream.resample import resample
from .audio import read_audio
from .root import data_folder

Use = Literal["training", "choice", "test"]

SYNTHESISED = ("noise", "hum", "air", "rumble")
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
    spectrum = np.fft.rfft(rng.standard_normal(samples, dtype=np.float32))
    places = np.maximum(np.arange(len(spectrum), dtype=np.float32), 1)
    noise = np.fft.irfft(spectrum * places ** np.float32(-slope / (20 * math.log10(2))), samples)
    return np.asarray(noise / max(float(np.sqrt(np.mean(noise**2))), 1e-12), dtype=np.float32)


def hum(rng: np.random.Generator, samples: int, sr: int) -> np.ndarray:
    """Mains hum of RMS 1: 50 or 60 Hz and harmonics that fall off by a random law."""
    mains, decay = int(rng.choice([50, 60])), rng.uniform(0.3, 2.0)
    time = np.arange(sr // math.gcd(sr, mains)) / sr  # after so many samples it comes again, to the bit
    tone = np.zeros(len(time))
    for harmonic in range(1, int(rng.integers(2, 30))):
        phase = rng.uniform(0, 2 * np.pi)
        tone += rng.uniform(0.1, 1) * harmonic**-decay * np.sin(2 * np.pi * mains * harmonic * time + phase)
    return np.resize(tone / np.sqrt(np.mean(tone**2)), samples).astype(np.float32)


def synthesised(seed: int, sr: int, count: int = 160, seconds: float = 4.0) -> Iterator[Background]:
    """Silence, noises, hums and rooms that swell slowly; the same for the same seed. Levels are set in training.

    Two of three are made at a sound card's rate and resampled, as a microphone's sound is: the top of the band, where
    the resampler's filter ends, must not be what tells them from recordings.
    """
    rng = np.random.default_rng(seed)
    yield Background("silence", "digital", np.zeros(int(seconds * sr), np.float32))
    for rate in (sr, 48_000):
        dither = (rng.integers(-1, 2, int(seconds * rate)) / 32768).astype(np.float32)
        yield Background("silence", f"dither {rate}", resample(dither, rate, sr))
    for index in range(count):
        rate = (48_000, 44_100, sr)[index // len(SYNTHESISED) % 3]
        kind = SYNTHESISED[index % len(SYNTHESISED)]
        samples = _synthesise(kind, rng, int(seconds * rate), rate)
        yield Background(kind, f"{index}", resample((0.05 * samples).astype(np.float32), rate, sr))


def _synthesise(kind: str, rng: np.random.Generator, samples: int, sr: int) -> np.ndarray:
    floor = coloured_noise(rng, samples, rng.uniform(-1, 8))
    match kind:
        case "noise":
            return floor
        case "hum":
            return hum(rng, samples, sr) + 10 ** (rng.uniform(-30, 0) / 20) * floor
        case "air":  # an empty room: low rumble under a flatter hiss
            return coloured_noise(rng, samples, rng.uniform(6, 14)) + 10 ** (rng.uniform(-35, -5) / 20) * floor
        case _:  # "rumble": wind in the far distance, traffic: noise that swells and ebbs within seconds
            swell = np.interp(np.linspace(0, 8, samples), np.arange(9), rng.uniform(-9, 9, 9))
            return np.asarray(floor * 10 ** (swell / 20))


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
        floor = resample(coloured_noise(rng, 3 * len(joined), 0.0), 3 * sr, sr)[: len(joined)] * 10 ** (-55 / 20)
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
