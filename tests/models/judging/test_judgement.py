"""Figures of hearings that can be reckoned by hand, and how they are told."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest

pytest.importorskip("sklearn", reason="figures are counted by scikit-learn (extra train)")

from earwitness.models.judging.judgement import NOTHING, Judgement, examples_of, judge
from earwitness.models.judging.judgement_text import report

from ..hearers import clip, hearing

LABELS = ["cat", "dog", "owl"]
FOUR = hearing(
    LABELS,
    (clip(1, "cat", recording="a"), [[0.9, 0.1, 0.0], [0.3, 0.6, 0.1]], ["cat"]),
    (clip(2, "cat", recording="a"), [[0.2, 0.7, 0.1]], ["dog", "cat"]),
    (clip(3, "dog"), [[0.1, 0.8, 0.1], [0.1, 0.1, 0.8], [0.0, 0.5, 0.5]], []),
    (clip(4, "dog"), [], []),
)


def test_clips_are_named_by_the_mean_of_their_windows() -> None:
    judgement = judge(FOUR)
    assert (judgement.clips, judgement.windows, judgement.recordings) == (4, 6, 3)
    assert judgement.accuracy == 0.5  # 1 and, with a mean of 0.47 over 0.47, 3: the first of equals; 2 and 4 are not
    assert judgement.window_accuracy == pytest.approx(3 / 6)
    assert judgement.top5 == 0.75  # the clip without a window has no best labels
    assert (judgement.heard, judgement.misheard) == (0.5, 0.25)


def test_the_classes_tell_who_was_taken_for_whom() -> None:
    judgement = judge(FOUR)
    assert list(judgement.classes) == ["cat", "dog"]  # no owl was there to hear
    cat, dog = judgement.classes["cat"], judgement.classes["dog"]
    assert (cat.clips, cat.correct, cat.heard, cat.taken_for) == (2, 1, 2, {"dog": 1})
    assert dog.taken_for == {NOTHING: 1}
    assert (cat.figures.precision, cat.figures.recall) == (1.0, 0.5)
    assert dog.figures.f1 == pytest.approx(0.5)
    assert judgement.macro_f1 == pytest.approx((2 / 3 + 1 / 2) / 2)


def test_the_confusion_matrix_counts_every_clip_once() -> None:
    confusion = judge(FOUR).confusion
    assert confusion is not None
    assert confusion.labels == ["cat", "dog"]
    assert confusion.named == ["cat", "dog", NOTHING]
    assert confusion.counts == [[1, 1, 0], [0, 1, 1]]


def test_single_windows_can_be_judged_as_clips_are() -> None:
    judgement = judge(FOUR, "window")
    assert judgement.accuracy == judgement.window_accuracy == 0.5
    assert sum(result.clips for result in judgement.classes.values()) == 6
    assert judgement.intervals["accuracy"] == judgement.intervals["accuracy_by_recording"]


def test_intervals_lie_around_their_figures() -> None:
    judgement = judge(FOUR)
    for name, (low, high) in judgement.intervals.items():
        value = getattr(judgement, name.removesuffix("_by_recording"))
        assert 0 <= low <= value <= high <= 1, name


def test_several_labels_are_judged_by_their_thresholds() -> None:
    both = hearing(
        LABELS,
        (clip(1, "cat", "dog"), [[0.9, 0.6, 0.2]], ["cat"]),
        (clip(2, "owl"), [[0.6, 0.1, 0.7]], ["owl"]),
        (clip(3, "dog"), [[0.1, 0.3, 0.2]], ["cat"]),
        exclusive=False,
    )
    judgement = judge(both)
    assert judgement.multi_label
    assert judgement.confusion is None
    assert judgement.accuracy == 1.0  # the best label is always one of the right ones
    cat, dog = judgement.classes["cat"].figures, judgement.classes["dog"].figures
    assert (cat.precision, cat.recall) == (0.5, 1.0)
    assert (dog.precision, dog.recall) == (1.0, 0.5)
    assert judgement.mean_average_precision == 1.0
    assert judgement.misheard == pytest.approx(1 / 3)
    assert "mAP" in report(judgement)


def test_one_that_is_too_sure_is_found_out_and_cooled() -> None:
    heard = []
    for number in range(200):
        right = number % 10 < 7
        heard.append((clip(number, "cat" if right else "dog"), [[0.97, 0.03]], []))
    calibration = judge(hearing(["cat", "dog"], *heard)).calibration["clip"]
    assert calibration.error == pytest.approx(0.97 - 0.7, abs=1e-6)
    assert calibration.error_scaled < 0.06
    assert calibration.temperature > 2
    assert "5 parts of the recordings" in calibration.fitted


def test_temperatures_are_fitted_on_the_other_folds_where_there_are_several() -> None:
    heard = [
        (clip(number, "cat" if number % 4 else "dog", fold=1 + number % 2), [[0.9, 0.1]], []) for number in range(40)
    ]
    assert "each fold by" in judge(hearing(["cat", "dog"], *heard)).calibration["clip"].fitted


def test_confidence_is_what_the_background_leaves_and_windows_of_background_do_not_count() -> None:
    heard = [
        (clip(number, "cat"), [[0.36, 0.04], [0.01, 0.02], [0.72, 0.08]], []) for number in range(20)
    ]  # what is missing to 1 went to the background
    calibration = judge(hearing(["cat", "dog"], *heard)).calibration
    counted = [each for each in calibration["window"].bins if each.examples]
    assert [each.examples for each in counted] == [20]  # the third of each alone: 0.36 is less than the 0.6 beside it
    assert counted[0].confidence == pytest.approx(0.9)


def test_of_background_no_event_is_expected() -> None:
    quiet = hearing(
        ["cat", "background"],
        (clip(1, "cat"), [[0.9, 0.1]], ["cat"]),
        (clip(2, "background"), [[0.1, 0.9]], []),
        (clip(3, "background"), [[0.2, 0.8]], ["cat"]),
    )
    judgement = judge(quiet)
    assert (judgement.accuracy, judgement.heard) == (1.0, 1.0)
    assert judgement.misheard == pytest.approx(1 / 3)


def test_a_single_clip_is_judged_too() -> None:
    judgement = judge(hearing(LABELS, (clip(1, "cat"), [[0.9, 0.1, 0.0]], ["cat"])))
    assert judgement.accuracy == 1.0
    assert "clip" not in judgement.calibration


def test_clips_without_any_window_have_no_windows_to_judge() -> None:
    nothing = hearing(LABELS, (clip(1, "cat"), [], []), (clip(2, "dog"), [], []))
    judgement = judge(nothing)
    assert (judgement.accuracy, judgement.window_accuracy, judgement.windows) == (0.0, 0.0, 0)
    assert len(examples_of(nothing, "window").best) == 0
    report(judgement)


def test_a_judgement_goes_through_json_unchanged() -> None:
    judgement = judge(FOUR)
    assert msgspec.json.decode(msgspec.json.encode(judgement), type=Judgement) == judgement


def test_the_report_tells_figures_intervals_classes_and_the_matrix() -> None:
    told = report(judge(FOUR)).splitlines()
    assert told[0] == "tiny@123456 on made, folds 1 (by hand)"
    assert any(line.startswith("  0.500  (0.150 to 0.850)  clips named right") for line in told)
    (row,) = [line for line in told if line.startswith("  cat ")]
    assert row.split()[1:3] == ["1/2", "2"]
    assert told[-1].split(maxsplit=1) == ["3", NOTHING]


def test_the_report_tells_what_was_left_out_and_why() -> None:
    odd = hearing(
        LABELS, (clip(1, "cat"), [[0.9, 0.1, 0.0]], []), skipped=3, unknown={"cow": "did you mean 'owl'?"},
        unreadable=["cannot read x.wav"], notes=["it was trained on this"],
    )  # fmt: skip
    told = report(judge(odd))
    for text in ("3 clips", "cow; did you mean 'owl'?", "not readable: cannot read x.wav", "note: it was trained"):
        assert text in told


def test_scores_of_a_label_map_with_ties_are_named_by_the_first() -> None:
    tied = hearing(LABELS, (clip(1, "owl"), [[0.0, 0.4, 0.4]], []))
    assert examples_of(tied, "clip").best.tolist() == [1]
    assert np.isfinite(judge(tied).macro_f1)
