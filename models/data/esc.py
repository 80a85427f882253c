"""ESC-50 and its subset ESC-10 (K. J. Piczak, 2015, https://doi.org/10.1145/2733373.2806390).

A folder holds `meta/esc50.csv`, `audio/` and, for the credits, `LICENSE-clips.txt`. Clips cut from one recording share
a fold in the original; four recordings of ESC-50 stand in two folds, so splits here go by recording, not by clip.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ...stream.errors import EarwitnessError

FREE_LICENCES = ("CC0", "CC-BY")


@dataclass(frozen=True)
class Clip:
    """One labelled file of a data set."""

    path: Path
    label: str
    fold: int
    recording: str  # clips with the same one were cut from the same recording
    licence: str  # "" where the data set does not say it clip by clip


def read_clips(
    folder: Path, folds: Collection[int] | None = None, licences: Collection[str] | None = None
) -> list[Clip]:
    """The clips of the named folds and licences (all when None), in the order of the table.

    Raises:
        EarwitnessError: the table is missing or is none, or nothing is left.
    """
    table = folder / "meta" / "esc50.csv"
    try:
        with table.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        clips = [
            Clip(
                folder / "audio" / row["filename"], row["category"], int(row["fold"]), row["src_file"],
                row.get("licence") or "",
            )
            for row in rows
        ]  # fmt: skip
    except OSError as error:
        raise EarwitnessError(f"cannot read {table}: {error.strerror}") from error
    except (KeyError, ValueError) as error:
        raise EarwitnessError(f"{table} is not the table of ESC-50: {error!r}") from error
    chosen = [
        clip
        for clip in clips
        if (folds is None or clip.fold in folds) and (licences is None or clip.licence in licences)
    ]
    if not chosen:
        raise EarwitnessError(f"{table} has no clip of folds {folds} under the licences {licences}")
    return chosen


def split_by_recording(clips: Sequence[Clip], fold: int, part: float, seed: int) -> tuple[list[Clip], list[Clip]]:
    """Training and validation clips: of every class, about `part` of the recordings of `fold`, and one
    at least, go to validation.

    A recording never stands on both sides, whatever folds and classes its clips are in.
    """
    rng = np.random.default_rng(seed)
    held: set[str] = set()
    for label in sorted({clip.label for clip in clips}):
        count = sum(clip.label == label and clip.fold == fold for clip in clips)
        recordings = sorted({clip.recording for clip in clips if clip.label == label and clip.fold == fold})
        taken = sum(clip.recording in held and clip.label == label and clip.fold == fold for clip in clips)
        for index in rng.permutation(len(recordings)):
            if taken >= max(1, round(part * count)):
                break
            held.add(recordings[index])
            taken += sum(
                clip.recording == recordings[index] and clip.label == label and clip.fold == fold for clip in clips
            )
    training = [clip for clip in clips if clip.recording not in held]
    return training, [clip for clip in clips if clip.recording in held]


def read_audio(path: Path, sr: int) -> np.ndarray:
    """A file's sound as mono float32 in [-1, 1) at `sr` Hz, shape [samples].

    Raises:
        EarwitnessError: the file cannot be read.
    """
    import soundfile  # here, so that reading the table needs no audio library

    from ...stream.resample import resample

    try:
        samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
    except (OSError, soundfile.LibsndfileError) as error:
        raise EarwitnessError(f"cannot read {path}: {error}") from error
    mono = samples.mean(axis=1)
    return resample(np.asarray(mono, np.float32), rate, sr)


def credits_of(folder: Path, clips: Iterable[Clip]) -> list[str]:
    """One line a clip (file, title, address, author, licence), from the data set's `LICENSE-clips.txt`."""
    text = (folder / "LICENSE-clips.txt").read_text(encoding="utf-8", errors="replace")
    names = {clip.path.stem.rsplit("-", 1)[0] for clip in clips}  # the text leaves out the class number
    return [
        line.removeprefix("- ")
        for line in map(str.strip, text.splitlines())
        if (found := re.match(r"- \[(\d-\d+-[A-Z])\.ogg\]", line)) and found.group(1) in names
    ]
