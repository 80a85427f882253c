from __future__ import annotations

from pathlib import Path

from earwitness.models.data.clip import BACKGROUND, Clip
from earwitness.models.data.splits import label_problems, split_by_recording, without_shared_recordings


def test_a_recording_is_never_split_and_every_class_is_kept() -> None:
    clips = [
        Clip(Path(f"{label}{fold}{source}{take}"), label, fold, f"{label}{source}" if source else "shared", "")
        for label in "abc"
        for fold in (1, 2, 3)
        for source in range(4)
        for take in range(2)
    ]
    training, validation = split_by_recording(clips, fold=3, part=0.25, seed=0)
    assert len(training) + len(validation) == len(clips)
    assert not {clip.recording for clip in training} & {clip.recording for clip in validation}
    assert {clip.label for clip in validation} == set("abc")
    assert {clip.label for clip in training} == set("abc")
    assert (training, validation) == split_by_recording(clips, fold=3, part=0.25, seed=0)


def test_recordings_that_are_judged_by_are_dropped_from_training() -> None:
    training = [Clip(Path(name), "dog", 1, name) for name in "abc"]
    judged = [Clip(Path(name), "dog", 2, name) for name in "cd"]
    kept, dropped = without_shared_recordings(training, judged)
    assert [clip.recording for clip in kept] == ["a", "b"]
    assert [clip.recording for clip in dropped] == ["c"]


def test_a_label_that_is_only_judged_or_only_trained_on_is_told() -> None:
    training = [Clip(Path(label), label, 1, label) for label in ("dog", "cat")]
    judged = [Clip(Path(label), label, 2, label) for label in ("dog", "cow", BACKGROUND)]
    lines = label_problems(training, judged)
    assert lines == [
        "label 'cow' is judged and never trained on: it counts as wrong",
        "label 'cat' is trained on and never judged",
    ]
