"""Splits that never part a recording."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

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


def without_shared_recordings(clips: Iterable[Clip], others: Iterable[Clip]) -> tuple[list[Clip], list[Clip]]:
    """The clips of whose recordings nothing is among the others, and the rest, which must be dropped.

    Who trains on some and is judged by others drops them on one side. ESC-50 and UrbanSound8K both cut clips from
    recordings of freesound.org, 35 of them the same, and four recordings stand in two folds of ESC-50. `recording` is
    the number there in both, so that this finds them.
    """
    heard = {clip.recording for clip in others}
    both: tuple[list[Clip], list[Clip]] = ([], [])
    for clip in clips:
        both[clip.recording in heard].append(clip)
    return both


def label_problems(training: Iterable[Clip], judged: Iterable[Clip]) -> list[str]:
    """A line about each label that is judged and was never trained on, or the other way round."""
    known, asked = ({label for clip in clips for label in clip.labels} - {BACKGROUND} for clips in (training, judged))
    lines = [f"label {label!r} is judged and never trained on: it counts as wrong" for label in sorted(asked - known)]
    unasked = sorted(known - asked) if asked else []
    return lines + [f"label {label!r} is trained on and never judged" for label in unasked]
