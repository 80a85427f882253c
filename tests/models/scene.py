"""A data root in miniature: three kinds of tones laid out as ESC-50, two rooms, three speakers."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import soundfile

SR = 16000
CLASSES = {"low": (290.0, 330.0), "middle": (1100.0, 1250.0), "high": (3700.0, 4200.0)}


def tone(rng: np.random.Generator, label: str, seconds: float = 2.0) -> np.ndarray:
    """A beeping tone of a random pitch in the class's range, over faint noise, with silence behind it."""
    time = np.arange(int(seconds * SR)) / SR
    beeps = np.sin(2 * np.pi * rng.uniform(*CLASSES[label]) * time) * (np.sin(2 * np.pi * 3 * time) > 0)
    sound = 0.3 * beeps + 0.001 * rng.standard_normal(len(time))
    sound[int(0.8 * len(time)) :] = 0
    return sound.astype(np.float32)


def write_data(root: Path, clips_per_fold: int = 2) -> Path:
    """Fill `root` and return it."""
    rng = np.random.default_rng(5)
    audio, meta = root / "tones" / "audio", root / "tones" / "meta"
    for folder in (audio, meta, root / "backgrounds", root / "fsdd" / "recordings"):
        folder.mkdir(parents=True)
    rows, credits = [], ["Licensing of the clips:"]
    for fold in (1, 2, 3, 4):
        for target, label in enumerate(CLASSES):
            for number in range(clips_per_fold):
                source = f"{fold}{target}{number}"
                name = f"{fold}-{source}-A-{target}.wav"
                soundfile.write(audio / name, tone(rng, label), SR)
                licence = "CC-BY-NC" if (fold, number) == (1, 0) else "CC0"
                rows.append([name, fold, target, label, "False", source, "A", licence])
                credits.append(f"- [{fold}-{source}-A.ogg]: by nobody [{licence}]")
    with (meta / "esc50.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["filename", "fold", "target", "category", "esc10", "src_file", "take", "licence"])
        writer.writerows(rows)
    (root / "tones" / "LICENSE-clips.txt").write_text("\n".join(credits))
    for room in ("exercise_bike", "running_tap"):
        soundfile.write(root / "backgrounds" / f"{room}.flac", 0.02 * rng.standard_normal(6 * SR), SR)
    for speaker in ("george", "nicolas", "theo"):
        for digit in range(4):
            word = 0.2 * rng.standard_normal(4000) * np.hanning(4000)
            soundfile.write(root / "fsdd" / "recordings" / f"{digit}_{speaker}_0.wav", word, 8000)
    return root
