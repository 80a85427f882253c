"""From scores to events: what begins, what ends, what is one, and that portions do not matter."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from earwitness.stream.detect import Decision, Detector, End, Start, check_thresholds
from earwitness.stream.detect_settings import DetectSettings, detect_settings
from earwitness.stream.errors import EarwitnessError
from earwitness.stream.features.frontend import FrontEndSpec, compute

SPEC = FrontEndSpec()
WINDOW, HOP = 96, 25  # frames of 10 ms
LABELS = ["dog", "rain", "background"]
THRESHOLDS = {"dog": 0.5, "rain": 0.6}
PLAIN = DetectSettings(smooth_windows=1, release=0.6, min_duration_s=0.0, merge_gap_s=0.0)

Scores = NDArray[np.float64]


def detector(options: DetectSettings = PLAIN, **more: Any) -> Detector:
    more = {"rate": 16_000} | more
    return Detector(LABELS, "background", THRESHOLDS, options, SPEC, window_frames=WINDOW, hop_frames=HOP, **more)


def scores_of(dog: list[float], rain: list[float] | None = None) -> Scores:
    rain = rain or [0.0] * len(dog)
    return np.array([[d, r, 1.0 - max(d, r)] for d, r in zip(dog, rain, strict=True)])


def frames_of(levels: NDArray[np.float64]) -> NDArray[np.float32]:
    return np.repeat(levels[:, None], SPEC.dims, axis=1).astype(np.float32)


def decide(
    scores: Scores, options: DetectSettings = PLAIN, levels: NDArray[np.float64] | None = None, **more: Any
) -> list[Decision]:
    """All decisions on a segment, each window pushed as soon as its frames are heard."""
    hears = detector(options, **more)
    levels = np.full(HOP * len(scores) + WINDOW, -50.0) if levels is None else levels
    hears.hear(0, frames_of(levels))
    return [*hears.push(0, scores), *hears.flush()]


def kinds(decisions: list[Decision]) -> list[tuple[str, str, int]]:
    return [(type(each).__name__, each.label, each.window) for each in decisions]


# ---- whether ---------------------------------------------------------------------------------------------------------


def test_an_event_begins_at_its_threshold_and_ends_below_the_release() -> None:
    dog = [0.0, 0.49, 0.5, 0.4, 0.3, 0.29, 0.0]
    assert kinds(decide(scores_of(dog))) == [("Start", "dog", 2), ("End", "dog", 5)]


def test_without_a_loudness_times_are_those_of_windows() -> None:
    spec = FrontEndSpec(feature=("mel", "stft_magnitude"))
    hears = Detector(LABELS, "background", THRESHOLDS, PLAIN, spec, window_frames=WINDOW, hop_frames=HOP, rate=16_000)
    hears.hear(0, np.ones((HOP * 5 + WINDOW, spec.dims), np.float32))
    start, end = [*hears.push(0, scores_of([0.0, 0.0, 0.9, 0.0, 0.0])), *hears.flush()]
    middle = (2 * HOP + WINDOW // 2) * spec.hop_length + spec.n_fft // 2
    assert (start.onset_sample, end.offset_sample) == (middle, middle + spec.hop_length)


def test_each_label_has_its_own_threshold() -> None:
    decisions = decide(scores_of([0.0, 0.55, 0.0], [0.0, 0.55, 0.0]))
    assert {each.label for each in decisions} == {"dog"}


def test_the_background_is_never_an_event() -> None:
    assert decide(np.array([[0.0, 0.0, 1.0]] * 5)) == []


def test_a_start_says_the_deciding_score_and_an_end_the_best() -> None:
    start, end = decide(scores_of([0.0, 0.7, 0.9, 0.2]))
    assert (start.score, end.score) == (0.7, 0.9)


def test_smoothing_takes_the_mean_of_the_windows_that_there_are() -> None:
    smooth = DetectSettings(smooth_windows=3, merge_gap_s=0.0)
    assert kinds(decide(scores_of([0.0, 0.0, 0.9, 0.0, 0.0]), smooth)) == []
    assert kinds(decide(scores_of([0.0, 0.0, 0.9, 0.6, 0.0, 0.0, 0.0]), smooth))[0] == ("Start", "dog", 3)
    assert kinds(decide(scores_of([0.6, 0.0, 0.0, 0.0]), smooth))[0] == ("Start", "dog", 0)


def test_an_event_shorter_than_the_minimum_never_was() -> None:
    half = DetectSettings(smooth_windows=1, min_duration_s=0.5, merge_gap_s=0.0)  # two hops
    assert decide(scores_of([0.0, 0.9, 0.9, 0.0, 0.0]), half) == []
    assert kinds(decide(scores_of([0.0, 0.9, 0.9, 0.9, 0.0]), half)) == [("Start", "dog", 3), ("End", "dog", 4)]
    assert decide(scores_of([0.0, 0.9, 0.9]), half) == [], "nor one that the segment's end cut short"


def test_a_late_start_tells_the_early_onset() -> None:
    levels = np.where(np.arange(400) < 80, -70.0, -30.0)
    dog = [0.0, 0.9, 0.9, 0.9, 0.9, 0.9]
    late = DetectSettings(smooth_windows=1, min_duration_s=1.0)
    assert decide(scores_of(dog), late, levels)[0].onset_sample == decide(scores_of(dog), PLAIN, levels)[0].onset_sample


def test_a_short_pause_is_none_and_a_long_one_divides() -> None:
    bark, pause = [0.9] * 2, [0.0] * 5
    levels = np.full(600, -70.0)
    levels[100:130] = -30.0  # heard in windows 1..5
    levels[250:280] = -30.0
    dog = [0.0, 0.0, *bark, *pause, *bark, *pause, 0.0]
    merged = decide(scores_of(dog), DetectSettings(smooth_windows=1, merge_gap_s=1.5), levels)
    assert [type(each) for each in merged] == [Start, End]
    divided = decide(scores_of(dog), DetectSettings(smooth_windows=1, merge_gap_s=1.0), levels)
    assert [type(each) for each in divided] == [Start, End, Start, End]
    assert isinstance(divided[1], End)
    assert isinstance(merged[1], End)
    assert merged[0] == divided[0]
    assert merged[1].offset_sample > divided[2].onset_sample > divided[1].offset_sample


def test_rain_that_does_not_stop_is_one_event_that_is_told_at_once() -> None:
    hour = scores_of([0.0] * 14_400, [0.9] * 14_400)
    hears, told = detector(), []
    for first in range(0, 14_400, 400):
        hears.hear(first * HOP, frames_of(np.full(400 * HOP, -40.0)))
        told += hears.push(first, hour[first : first + 400])
        assert kinds(told) == [("Start", "rain", 0)]
        assert len(hears._scores) < 10
        assert len(hears._loudness._values) <= 400 * HOP + 1000
    assert kinds(hears.flush()) == [("End", "rain", 14_399)]


def test_two_labels_at_once_are_two_events() -> None:
    decisions = decide(scores_of([0.0, 0.9, 0.9, 0.0], [0.0, 0.0, 0.8, 0.8]))
    assert kinds(decisions) == [("Start", "dog", 1), ("Start", "rain", 2), ("End", "dog", 3), ("End", "rain", 3)]


def test_the_end_of_a_segment_ends_what_is_going_on() -> None:
    decisions = decide(scores_of([0.0, 0.9]), levels=np.full(HOP + WINDOW, -40.0))
    assert [type(each) for each in decisions] == [Start, End]
    assert isinstance(decisions[1], End)
    length = (HOP + WINDOW - 1) * 160 + 512
    assert length - 400 < decisions[1].offset_sample <= length


def test_scores_a_hair_below_a_threshold_count_as_reaching_it() -> None:
    """The last bits of a score depend on the size of the batch that a model ran on."""
    for noise in (-3e-8, 0.0, 3e-8):
        exact = decide(scores_of([0.0, 0.5 + noise, 0.5 + noise, 0.3 + noise, 0.0]))
        assert kinds(exact) == [("Start", "dog", 1), ("End", "dog", 4)]
        averaged = decide(scores_of([0.0, 0.7 + noise, 0.3 - noise]), DetectSettings(smooth_windows=2))
        assert kinds(averaged)[0] == ("Start", "dog", 2)
        sure = Detector(["dog"], "", {"dog": 1.0}, PLAIN, SPEC, window_frames=WINDOW, hop_frames=HOP, rate=16_000)
        assert len(sure.push(0, np.array([[1.0 - abs(noise)]], np.float32))) == 1


# ---- when ------------------------------------------------------------------------------------------------------------


def scene(seed: int, attack_s: float) -> tuple[NDArray[np.float32], Scores, int, int]:
    """Noise with a louder sound in it, scores as a fair model gives them, onset and offset in samples at 16 kHz."""
    rng = np.random.default_rng(seed)
    onset = int(rng.integers(24_000, 64_000))
    offset = onset + int(rng.integers(3200, 48_000))
    sound = 10 ** rng.uniform(-4, -2) * rng.standard_normal(144_000)
    envelope = np.minimum(1.0, np.arange(offset - onset) / (attack_s * 16_000 + 1e-9))
    sound[onset:offset] += envelope * rng.uniform(0.05, 0.3) * rng.standard_normal(offset - onset)
    frames = compute(SPEC, sound.astype(np.float32))
    windows = (len(frames) - WINDOW) // HOP + 1
    starts = np.arange(windows) * HOP * 160
    share = np.clip(np.minimum(starts + WINDOW * 160, offset) - np.maximum(starts, onset), 0, None) / (WINDOW * 160)
    dog = np.clip(4.0 * share + rng.normal(0, 0.05, windows), 0, 1) * 0.95  # 0.95 from a quarter of a window on
    return frames, scores_of(dog.tolist()), onset, offset


@pytest.mark.parametrize(("attack_s", "worst_s"), [(0.0, 0.05), (0.05, 0.1), (0.2, 0.2)])
def test_onset_and_offset_are_finer_than_windows(attack_s: float, worst_s: float) -> None:
    onset_errors, offset_errors = [], []
    for seed in range(40):
        frames, scores, onset, offset = scene(seed, attack_s)
        hears = detector(DetectSettings())
        hears.hear(0, frames)
        decisions = [*hears.push(0, scores), *hears.flush()]
        assert [type(each) for each in decisions] == [Start, End]
        end = decisions[1]
        assert isinstance(end, End)
        onset_errors.append(abs(end.onset_sample - onset) / 16_000)
        offset_errors.append(abs(end.offset_sample - offset) / 16_000)
    assert np.median(onset_errors) < worst_s / 2
    assert max(onset_errors) < worst_s
    assert np.median(offset_errors) < 0.05
    assert max(offset_errors) < 0.3


def remembering(frames: int, onset: int, offset: int) -> Scores:
    """Scores of hops of 100 ms as a model gives them that believes and forgets slowly; onset and offset in frames."""
    believes, dog = 0.0, []
    for end in range(10, frames + 1, 10):
        believes += 0.3 * (1 - believes) if onset < end - 5 < offset else -0.1 * believes
        dog.append(0.95 * believes)
    return scores_of(dog)


def test_a_model_that_remembers_has_the_onset_and_offset_of_what_it_heard_before() -> None:
    onset_errors, offset_errors = [], []
    for seed in range(40):
        frames, _, onset, offset = scene(seed, 0.0)
        hears = Detector(
            LABELS, "background", THRESHOLDS, DetectSettings(smooth_windows=3, context_s=2.5), SPEC,
            window_frames=10, hop_frames=10, rate=16_000,
        )  # fmt: skip
        hears.hear(0, frames)
        decisions = [*hears.push(0, remembering(len(frames), onset // 160, offset // 160)), *hears.flush()]
        if decisions:  # what is over before it is believed is none
            start, end = decisions
            assert isinstance(start, Start)
            assert isinstance(end, End)
            onset_errors.append(abs(end.onset_sample - onset) / 16_000)
            offset_errors.append(abs(end.offset_sample - offset) / 16_000)
    assert len(onset_errors) > 30
    assert max(onset_errors) < 0.05
    assert np.median(offset_errors) < 0.05
    assert max(offset_errors) < 0.3


def test_without_a_clear_rise_the_onset_of_what_is_remembered_is_the_middle_of_the_context() -> None:
    hears = Detector(
        LABELS, "background", THRESHOLDS, DetectSettings(smooth_windows=1, context_s=1.0), SPEC,
        window_frames=10, hop_frames=10, rate=16_000,
    )  # fmt: skip
    hears.hear(0, frames_of(np.full(600, -50.0)))
    (start,) = hears.push(0, scores_of([0.0] * 30 + [0.9]))
    assert start.onset_sample == (310 - 50) * 160 + 256


def test_samples_are_the_sources_own() -> None:
    levels = np.where(np.arange(400) < 100, -70.0, -30.0)
    dog = scores_of([0.0, 0.9, 0.9, 0.0])
    here = decide(dog, levels=levels)[0].onset_sample
    assert here == 100 * 160 + 256
    there = decide(dog, levels=levels, rate=44_100, segment_sample=1_000_000)[0].onset_sample
    assert there == 1_000_000 + here * 44_100 // 16_000


def test_without_a_clear_rise_the_onset_is_the_middle_of_the_first_window() -> None:
    assert decide(scores_of([0.0, 0.0, 0.9, 0.0]))[0].onset_sample == (2 * HOP + WINDOW // 2) * 160 + 256
    assert decide(scores_of([0.9, 0.9, 0.0]))[0].onset_sample == 0, "the segment began with it"


def test_an_onset_in_earlier_windows_of_the_run_is_found() -> None:
    """Rain that the model believes only slowly: the rise lies before the window that reached the threshold."""
    levels = np.where(np.arange(600) < 60, -70.0, -45.0)
    rain = [0.0, 0.4, 0.5, 0.55, 0.7, 0.9]
    decisions = decide(scores_of([0.0] * 6, rain), levels=levels)
    assert kinds(decisions)[0] == ("Start", "rain", 4)
    assert decisions[0].onset_sample == 60 * 160 + 256


def test_an_onset_under_another_name_is_found_when_nothing_rises_later() -> None:
    """Half a second of rain was taken for a dog; the rain began with the rise all the same."""
    levels = np.where(np.arange(600) < 130, -70.0, -45.0)
    dog = [0.0, 0.0, 0.6, 0.6, 0.9, 0.9, 0.0, 0.0, 0.0]
    rain = [0.0, 0.0, 0.0, 0.0, 0.1, 0.1, 0.9, 0.9, 0.9]
    starts = [each for each in decide(scores_of(dog, rain), levels=levels) if isinstance(each, Start)]
    assert [(each.label, each.onset_sample) for each in starts] == [
        ("dog", 130 * 160 + 256),
        ("rain", 130 * 160 + 256),
    ]


# ---- portions --------------------------------------------------------------------------------------------------------


@settings(deadline=None, max_examples=80)
@given(data=st.data())
def test_portions_do_not_change_decisions(data: st.DataObject) -> None:
    count = data.draw(st.integers(1, 40))
    rng = np.random.default_rng(data.draw(st.integers(0, 1000)))
    scores = np.clip(np.repeat(rng.random((count // 3 + 1, 3)), 3, axis=0)[:count] * 1.2 - 0.1, 0, 1)
    levels = np.repeat(rng.uniform(-80, -20, count * HOP // 17 + 10), 17)[: (count - 1) * HOP + WINDOW]
    levels = levels + rng.normal(0, 0.5, len(levels))
    frames = frames_of(levels)
    options = DetectSettings(
        smooth_windows=data.draw(st.integers(1, 4)),
        release=data.draw(st.sampled_from([0.3, 0.6, 1.0])),
        min_duration_s=data.draw(st.sampled_from([0.0, 0.25, 0.6])),
        merge_gap_s=data.draw(st.sampled_from([0.0, 0.5, 2.0])),
        context_s=data.draw(st.sampled_from([0.0, 2.0])),
    )
    whole = decide(scores, options, levels)
    hears, parts, told, window = detector(options), [], 0, 0
    while window < count:
        ready = data.draw(st.integers(window + 1, count))
        needed = (ready - 1) * HOP + WINDOW
        upto = data.draw(st.integers(needed, max(needed, min(len(frames), needed + 60))))
        while told < min(upto, len(frames)):
            step = data.draw(st.integers(1, 200))
            hears.hear(told, frames[told : min(upto, told + step)])
            told = min(upto, told + step)
        parts += hears.push(window, scores[window:ready])
        window = ready
    hears.hear(told, frames[told:])
    parts += hears.flush()
    assert parts == whole


@settings(deadline=None, max_examples=80)
@given(seed=st.integers(0, 10_000), smooth=st.integers(1, 3), merge=st.sampled_from([0.0, 0.5, 3.0]))
def test_starts_and_ends_pair_up_in_order_and_never_overlap(seed: int, smooth: int, merge: float) -> None:
    rng = np.random.default_rng(seed)
    scores = np.clip(np.repeat(rng.random((20, 3)), rng.integers(1, 5, 20), axis=0), 0, 1)
    levels = np.repeat(rng.uniform(-80, -20, len(scores)), HOP)
    decisions = decide(scores, DetectSettings(smooth_windows=smooth, merge_gap_s=merge), levels)
    going: dict[str, Start] = {}
    over: dict[str, int] = {}
    for each in decisions:
        assert 0 <= each.window < len(scores)
        if isinstance(each, Start):
            assert each.label not in going
            assert each.onset_sample >= over.get(each.label, 0)
            going[each.label] = each
        else:
            start = going.pop(each.label)
            assert each.onset_sample == start.onset_sample < each.offset_sample
            assert each.score >= start.score
            over[each.label] = each.offset_sample
    assert not going
    assert [each.window for each in decisions] == sorted(each.window for each in decisions)


# ---- what is refused -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"smooth_windows": 0}, "smooth_windows is 0; valid: 1"),
        ({"release": 0.0}, "release is 0.0; valid: above 0"),
        ({"release": 1.5}, "release is 1.5; valid: above 0, at most 1"),
        ({"context_s": 61.0}, "context_s is 61.0; valid: 0"),
        ({"min_duration_s": -1.0}, "min_duration_s is -1.0; valid: 0 to 3600"),
        ({"merge_gap_s": float("nan")}, "merge_gap_s is nan; valid: 0 to 3600"),
        ({"smoth_windows": 2}, "unknown key 'smoth_windows'; did you mean 'smooth_windows'?"),
        ({"release": "high"}, "Expected `float`, got `str` - at `$.release`"),
    ],
)
def test_impossible_settings_are_refused_in_one_line(options: dict[str, Any], says: str) -> None:
    with pytest.raises(EarwitnessError) as refused:
        detect_settings(options)
    assert says in str(refused.value)
    assert "\n" not in str(refused.value)


def test_later_layers_of_settings_win() -> None:
    made = detect_settings({"release": 0.4, "smooth_windows": 3}, {"smooth_windows": 1})
    assert made == DetectSettings(release=0.4, smooth_windows=1)
    assert detect_settings({"smooth_windows": 3.0, "release": 1}) == DetectSettings(smooth_windows=3, release=1.0)
    with pytest.raises(EarwitnessError, match="smooth_windows"):
        detect_settings({"smooth_windows": 2.5})


@pytest.mark.parametrize(
    ("thresholds", "says"),
    [
        ({"dgo": 0.5}, "'dgo', which the model does not know; did you mean 'dog'?"),
        ({"dog": 0.5, "rain": 0.5, "background": 0.5}, "is the background and never an event"),
        ({"dog": 1.5, "rain": 0.5}, "'dog' is 1.5; valid: above 0, at most 1"),
        ({"dog": 0.5}, "'rain' has no threshold"),
    ],
)
def test_thresholds_that_do_not_fit_the_model_are_refused(thresholds: dict[str, float], says: str) -> None:
    with pytest.raises(EarwitnessError, match=says.replace("?", r"\?")):
        check_thresholds(LABELS, "background", thresholds)


def test_windows_out_of_order_and_foreign_scores_are_bugs_of_the_caller() -> None:
    hears = detector()
    hears.push(7, scores_of([0.0]))
    with pytest.raises(ValueError, match="window 8 is next, not 9"):
        hears.push(9, scores_of([0.0]))
    with pytest.raises(ValueError, match=r"scores are \[windows, 3\], not \[1, 2\]"):
        hears.push(8, np.zeros((1, 2)))
    for wrong in (np.nan, 1.5, -0.5):
        with pytest.raises(ValueError, match="from 0 to 1"):
            hears.push(8, np.full((1, 3), wrong))
