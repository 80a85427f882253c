"""Splits that never part a recording."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from ...stream.errors import EarwitnessError
from .clip import BACKGROUND, Clip


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


def without_shared_recordings(training: Iterable[Clip], judged: Iterable[Clip]) -> tuple[list[Clip], list[Clip]]:
    """What may be trained on when `judged` is judged by, and what has to be dropped for it.

    ESC-50 and UrbanSound8K both cut clips from recordings of freesound.org, 35 of them the same, and four recordings
    stand in two folds of ESC-50. `recording` is the number there in both, so that this finds them.
    """
    heard = {clip.recording for clip in judged}
    clips = list(training)
    return [clip for clip in clips if clip.recording not in heard], [clip for clip in clips if clip.recording in heard]


def class_problems(training: Sequence[Clip], judged: Sequence[Clip]) -> list[str]:
    """What a person should know of the classes before training, a line each.

    Raises:
        EarwitnessError: there is nothing to tell apart: one class, and no background.
    """
    known, asked = ({label for clip in clips for label in clip.labels} for clips in (training, judged))
    if len(known) < 2:
        only = f"one class only, {min(known)!r}" if known else "no clip"
        raise EarwitnessError(f"{only} to train on: add a second class, or a folder {BACKGROUND!r} of what it is not")
    never = sorted(asked - known - {BACKGROUND})
    unasked = sorted(known - asked - {BACKGROUND}) if judged else []
    lines = [f"label {label!r} is judged and never trained on: it counts as wrong" for label in never]
    return lines + [f"label {label!r} is trained on and never judged" for label in unasked]
