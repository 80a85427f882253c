"""Steps of loudness: found where they are, not found where there are none."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from earwitness.stream.edges import Loudness, clear_edge, level_steps
from earwitness.stream.features.frontend import FrontEndSpec, compute

SPEC = FrontEndSpec()


def heard(levels: NDArray[np.float64], first_frame: int = 0) -> Loudness:
    loudness = Loudness(SPEC)
    loudness.add(first_frame, np.repeat(levels[:, None], SPEC.dims, axis=1).astype(np.float32))
    return loudness


def profile(*parts: tuple[int, float]) -> NDArray[np.float64]:
    """Frames at a level each, with a little ripple: `(frames, dB)`."""
    levels = np.concatenate([np.full(frames, level) for frames, level in parts])
    return levels + 0.5 * np.sin(1.7 * np.arange(len(levels)))


def test_a_rise_is_found_at_its_frame() -> None:
    assert heard(profile((60, -70), (40, -30))).onset_in(10, 100) == 60


def test_of_several_rises_the_earliest_clear_one_counts_and_small_ones_do_not() -> None:
    barks = heard(profile((20, -70), (10, -64), (30, -70), (10, -32), (20, -70), (10, -30)))
    assert barks.onset_in(5, 100) == 60


def test_a_fall_is_found_at_its_frame_and_the_latest_clear_one_counts() -> None:
    loudness = heard(profile((20, -70), (10, -30), (20, -70), (10, -32), (40, -70)))
    assert loudness.offset_in(20, 100, onset=19) == 60


def test_steady_sound_has_neither() -> None:
    rng = np.random.default_rng(5)
    frames = compute(SPEC, 0.1 * rng.standard_normal(160_000).astype(np.float32))
    loudness = Loudness(SPEC)
    loudness.add(0, frames)
    for start in range(100, 800, 100):
        assert loudness.onset_in(start, start + 100) is None
        assert loudness.offset_in(start, start + 100, onset=0) is None


def test_hiss_that_follows_digital_silence_is_no_onset() -> None:
    assert heard(profile((30, -100), (30, -75), (40, -30))).onset_in(10, 100) == 60


def test_at_the_very_beginning_loud_counts_as_a_rise_when_it_gets_quieter_later() -> None:
    assert heard(profile((30, -30), (70, -70))).onset_in(0, 100) == 0
    assert heard(profile((30, -30), (30, -70), (40, -32))).onset_in(0, 100) == 0
    assert heard(profile((100, -30))).onset_in(0, 100) is None


def test_a_click_sets_in_and_breaks_off() -> None:
    loudness = heard(profile((50, -70), (1, -20), (49, -70)))
    onset = loudness.onset_in(10, 100)
    assert onset is not None
    assert 46 <= onset <= 50
    offset = loudness.offset_in(onset + 1, 100, onset)
    assert offset is not None
    assert 51 <= offset <= 52


def test_nothing_heard_has_no_edges() -> None:
    assert Loudness(SPEC).onset_in(0, 100) is None
    assert heard(profile((3, -30))).onset_in(0, 100) is None
    assert clear_edge(np.empty(0), 5) is None
    assert len(level_steps(np.empty(0), 0, 5)) == 0


def test_frames_out_of_order_are_a_bug_of_the_caller() -> None:
    loudness = heard(profile((10, -30)), first_frame=7)
    with pytest.raises(ValueError, match="frame 17 is next, not 18"):
        loudness.add(18, np.zeros((1, SPEC.dims), np.float32))


@settings(deadline=None)
@given(cuts=st.lists(st.integers(0, 40), max_size=20), first=st.integers(0, 500), forget=st.integers(0, 100))
def test_portions_and_forgetting_change_nothing(cuts: list[int], first: int, forget: int) -> None:
    levels = profile((60, -70), (30, -30), (60, -60), (50, -20))
    frames = np.repeat(levels[:, None], SPEC.dims, axis=1).astype(np.float32)
    whole, parts = Loudness(SPEC), Loudness(SPEC)
    whole.add(first, frames)
    for begin, end in zip([0, *sorted(cuts)], [*sorted(cuts), len(frames)], strict=True):
        parts.add(first + begin, frames[begin:end])
        parts.forget(first + forget if begin > forget + 20 else 0)
    parts.forget(first + forget)
    for start in range(forget, len(frames), 7):
        span = (first + start, first + min(len(frames), start + 96))
        assert parts.onset_in(*span) == whole.onset_in(*span)
        onset = max(first + start - 3, first + forget)
        assert parts.offset_in(*span, onset) == whole.offset_in(*span, onset)


@pytest.mark.parametrize(
    "spec",
    [
        FrontEndSpec(),
        FrontEndSpec(log="ln", log_offset=1e-10),
        FrontEndSpec(power=1.0, amin=1e-6),
        FrontEndSpec(feature="waveform"),
    ],
    ids=["db", "ln", "magnitude", "waveform"],
)
def test_every_front_end_hears_the_same_onset(spec: FrontEndSpec) -> None:
    rng = np.random.default_rng(6)
    sound = 1e-3 * rng.standard_normal(32_000).astype(np.float32)
    sound[16_000:24_000] += 0.3 * rng.standard_normal(8000).astype(np.float32)
    loudness = Loudness(spec)
    frames = compute(spec, sound)
    third = len(frames) // 3
    loudness.add(0, frames[:third])
    loudness.add(third, frames[third:])
    onset = loudness.onset_in(8000 // spec.hop_length, 28_000 // spec.hop_length)
    assert onset is not None
    assert abs(onset * spec.hop_length + spec.n_fft // 2 - 16_000) < 320
    offset = loudness.offset_in(20_000 // spec.hop_length, 31_000 // spec.hop_length, onset)
    assert offset is not None
    assert abs(offset * spec.hop_length + spec.n_fft // 2 - 24_000) < 480


def test_of_several_features_the_log_mels_tell_the_loudness() -> None:
    rng = np.random.default_rng(3)
    signal = np.concatenate([rng.normal(0, scale, 16_000) for scale in (1e-4, 0.1, 1e-4)]).astype(np.float32)
    alone, among = FrontEndSpec(), FrontEndSpec(feature=("log_mel_delta", "log_mel", "mel"))
    found = []
    for spec in (alone, among):
        loudness = Loudness(spec)
        loudness.add(0, compute(spec, signal))
        found.append((loudness.onset_in(50, 150), loudness.offset_in(150, 250, onset=100)))
    assert found[0] == found[1]
    assert None not in found[0]


def test_features_that_tell_no_loudness_have_no_edges() -> None:
    spec = FrontEndSpec(feature=("mel", "stft_magnitude"))
    loudness = Loudness(spec)
    loudness.add(7, np.ones((300, spec.dims), np.float32))
    loudness.forget(200)
    assert loudness.onset_in(210, 300) is None
    assert loudness.offset_in(210, 300, onset=100) is None
    assert loudness.end == 307
