from __future__ import annotations

from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs torch (extra train)")

from earwitness.models.augmentation.audio_batches import AudioMaker, window_samples  # noqa: E402
from earwitness.models.augmentation.mixtures import Mixtures  # noqa: E402
from earwitness.models.augmentation.settings import PLAIN, Augmentation  # noqa: E402
from earwitness.models.data.recordings import Recording  # noqa: E402
from earwitness.stream.features.frontend import FrontEndSpec, compute  # noqa: E402

SR, LABELS = 16000, ["a", "b", "background"]
WAVE, FRAMES = FrontEndSpec(feature="waveform"), 8000


def recording(label: str, samples: np.ndarray, start: int = SR, kind: str = "event") -> Recording:
    """Cut at one place alone."""
    return Recording(label, kind, samples.astype(np.float32), np.array([start]), np.ones(1))


def tone(frequency: float, seconds: float = 4.0) -> np.ndarray:
    return np.asarray(0.1 * np.sin(2 * np.pi * frequency * np.arange(int(seconds * SR)) / SR))


def noise(seed: int = 0, seconds: float = 4.0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 0.05, int(seconds * SR))


EVENTS = [recording("a", tone(440)), recording("b", tone(1000))]
QUIET = [recording("background", noise(), kind="noise")]


def maker(settings: Augmentation, spec: FrontEndSpec = WAVE, frames: int = FRAMES, **more: Any) -> AudioMaker:
    mixtures = Mixtures(more.get("events", EVENTS), more.get("quiet", QUIET), LABELS, settings)
    return AudioMaker(mixtures, spec, frames)


def drawn(settings: Augmentation, size: int = 24, **more: Any) -> tuple[Any, Any]:
    windows, targets = maker(settings, **more).draw(size, (3,))
    return windows.numpy(), targets.numpy()


EVERYTHING = Augmentation(
    mixup=0.2, room=0.4, telephone=0.3, overdrive=0.3, compand=0.3, speed=0.3, stretch=0.3, pitch=0.3
)


def test_a_batch_is_that_of_its_seed_whatever_was_drawn_before() -> None:
    one = maker(EVERYTHING)
    first, changed, again = (one.draw(12, seed) for seed in ((1, 2), (1, 3), (1, 2)))
    elsewhere = maker(EVERYTHING).draw(12, (1, 2))
    for same in (again, elsewhere):
        assert torch.equal(first[0], same[0])
        assert torch.equal(first[1], same[1])
    assert not torch.equal(first[0], changed[0])
    assert torch.isfinite(first[0]).all()
    assert first[0].shape == (12, FRAMES, 1)
    np.testing.assert_allclose(first[1].sum(1), 1, atol=1e-6)


def test_plain_windows_are_pieces_of_their_recordings() -> None:
    windows, targets = drawn(PLAIN)
    for window, target in zip(windows, targets, strict=True):
        expected = EVENTS[int(target.argmax())].values[SR : SR + FRAMES]
        np.testing.assert_array_equal(window[:, 0], expected)


@pytest.mark.parametrize(
    "spec",
    [
        FrontEndSpec(),
        FrontEndSpec(center=True, pad_mode="reflect"),
        FrontEndSpec(feature=("mfcc", "mfcc_delta", "rms")),
        FrontEndSpec(feature="pcen"),
    ],
    ids=["log_mel", "centred", "deltas", "pcen"],
)
def test_windows_are_those_that_the_front_end_gives_live(spec: FrontEndSpec) -> None:
    sound = noise(1, 8.0) * np.repeat([0.5, 1, 0.1, 0.2, 0.5, 0.1, 0.5, 0.02], SR)
    windows, _ = drawn(PLAIN, 2, spec=spec, frames=40, events=[recording("a", sound, 6 * SR)])
    live = compute(spec, sound.astype(np.float32))[6 * SR // 160 :][:40]
    np.testing.assert_allclose(windows[0], live, atol=2e-3, rtol=0.02 if "pcen" in spec.features else 0)


def test_beyond_the_recording_there_is_silence() -> None:
    short = recording("a", np.ones(1000), -500)
    windows, _ = drawn(PLAIN, 2, events=[short, recording("b", np.ones(1000), 600)])
    for window in windows:
        assert (window[:, 0] != 0).sum() in (1000, 400)
    assert {int(np.flatnonzero(w[:, 0])[0]) for w in windows} <= {0, 500}


def test_gain_is_exact() -> None:
    plain, _ = drawn(PLAIN)
    louder, _ = drawn(PLAIN.replace(gain_db=(6.0, 6.0)))
    np.testing.assert_allclose(louder, plain * 10 ** (6 / 20), rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("snr", [-10.0, 0.0, 20.0])
def test_a_background_lies_as_far_below_as_asked(snr: float) -> None:
    plain, _ = drawn(PLAIN)
    noisy, _ = drawn(PLAIN.replace(noise=1.0, snr_db=(snr, snr)))
    ratio = 10 * np.log10(np.square(plain).mean(axis=1) / np.square(noisy - plain).mean(axis=1))
    np.testing.assert_allclose(ratio, snr, atol=0.1)


def test_the_silence_around_a_sound_does_not_count_for_its_level() -> None:
    burst = np.zeros(4 * SR)
    burst[SR : SR + 800] = tone(440)[:800]
    noisy, _ = drawn(PLAIN.replace(noise=1.0, snr_db=(0.0, 0.0)), 2, events=[recording("a", burst)])
    assert np.square(noisy[:, 2000:]).mean() == pytest.approx(0.1**2 / 2, rel=0.1)


def test_two_classes_are_mixed_at_one_level_in_the_shares_of_the_target() -> None:
    events = [recording("a", tone(440)), recording("b", 0.01 * tone(1000))]
    windows, targets = drawn(PLAIN.replace(between_class=1.0), events=events)
    spectra = np.abs(np.fft.rfft(windows[:, :, 0] * np.hanning(FRAMES), axis=1))[:, [220, 500]]
    ratio = spectra / np.linalg.norm(spectra, axis=1, keepdims=True)
    shares = targets[:, :2] / np.linalg.norm(targets[:, :2], axis=1, keepdims=True)
    np.testing.assert_allclose(ratio, shares, atol=0.01)


def pitches(windows: Any) -> Any:
    heard = np.abs(np.fft.rfft(windows[:, :, 0] * np.hanning(FRAMES), n=8 * FRAMES, axis=1))
    return heard.argmax(axis=1) * SR / (8 * FRAMES)


def test_a_change_of_speed_or_pitch_moves_a_tone_by_the_ratio_and_a_stretch_does_not() -> None:
    events = [recording("a", tone(440))]
    semitone = 2 ** (1 / 12)
    for settings, ratio in (
        (PLAIN.replace(speed=1.0, speed_range=(1.25, 1.25)), 1.25),
        (PLAIN.replace(pitch=1.0, pitch_semitones=(-3, -3)), semitone**-3),
        (PLAIN.replace(stretch=1.0, stretch_range=(1.3, 1.3)), 1),
    ):
        heard = pitches(drawn(settings, 2, events=events)[0])
        np.testing.assert_allclose(heard, 440 * ratio, rtol=5e-3)


def test_speed_and_stretch_change_the_length_and_a_pitch_does_not() -> None:
    burst = np.zeros(4 * SR)
    burst[SR + 2000 : SR + 6000] = tone(880)[:4000]
    for settings, length in (
        (PLAIN, 4000),
        (PLAIN.replace(speed=1.0, speed_range=(1.25, 1.25)), 3200),
        (PLAIN.replace(stretch=1.0, stretch_range=(0.8, 0.8)), 5000),
        (PLAIN.replace(pitch=1.0, pitch_semitones=(4, 4)), 4000),
    ):
        window = drawn(settings, 1, events=[recording("a", burst)])[0][0, :, 0]
        loud = np.flatnonzero(np.abs(window) > 0.05)
        assert loud[-1] - loud[0] == pytest.approx(length, abs=350)
        assert (loud[-1] + loud[0]) / 2 == pytest.approx(FRAMES / 2, abs=250)  # the middle stays in the middle


def test_speeds_are_drawn_for_each_batch_and_only_as_often_as_asked() -> None:
    heard = pitches(drawn(PLAIN.replace(speed=0.5), 80, events=[recording("a", tone(440))])[0])
    assert 0.3 < (np.abs(heard - 440) > 1).mean() < 0.7
    assert len(np.unique(np.round(heard))) == 5


def test_a_room_is_heard_after_the_sound_and_keeps_its_level() -> None:
    burst = np.zeros(4 * SR)
    burst[SR : SR + 1600] = noise()[:1600]
    events = [recording("a", burst)]
    dry, _ = drawn(PLAIN, 8, events=events)
    settings = PLAIN.replace(room=1.0, rt60_s=(0.4, 0.4), direct_db=(0.0, 0.0))
    wet, _ = drawn(settings, 8, events=events)
    assert (dry[:, 2000:] == 0).all()
    tail = 10 * np.log10(np.square(wet[:, 2000:3000]).mean(axis=(1, 2)) / np.square(wet[:, :1600]).mean(axis=(1, 2)))
    assert (tail > -20).all()
    total = 10 * np.log10(np.square(wet).sum(axis=(1, 2)) / np.square(dry).sum(axis=(1, 2)))
    np.testing.assert_allclose(total, 0, atol=2.0)


def test_a_room_is_heard_in_a_window_that_begins_when_the_sound_is_over() -> None:
    burst = np.zeros(4 * SR)
    burst[SR - 1600 : SR] = noise()[:1600]
    events = [recording("a", burst)]
    dry, _ = drawn(PLAIN, 8, events=events)
    assert (dry == 0).all()
    wet, _ = drawn(PLAIN.replace(room=1.0, rt60_s=(0.4, 0.4), direct_db=(0.0, 0.0)), 8, events=events)
    levels = 10 * np.log10(np.square(wet[:, :800]).mean(axis=(1, 2)) / 0.05**2)
    assert ((levels > -20) & (levels < -2)).all()


@pytest.mark.parametrize("name", ["telephone", "overdrive", "compand", "band_limit", "mask"])
def test_what_is_off_changes_nothing_and_what_is_on_changes_as_many_as_asked(name: str) -> None:
    plain, _ = drawn(PLAIN, 200, frames=800)
    some, _ = drawn(PLAIN.replace(**{name: 0.3, "mask_time_share": 0.5}), 200, frames=800)
    changed = np.abs(some - plain).max(axis=(1, 2)) > 1e-5
    if name == "band_limit":  # a missing top is not heard in every tone
        assert 0.05 < changed.mean() < 0.35
    else:
        assert changed.mean() == pytest.approx(0.3, abs=0.1)


def test_backgrounds_are_muted_in_part() -> None:
    windows, targets = drawn(PLAIN.replace(background_share=0.5, mute=1.0), 60)
    silent = (windows[:, :, 0] == 0).mean(axis=1)
    assert silent[targets[:, -1] == 0].max() < 0.01
    assert (silent[targets[:, -1] == 1] > 0.02).mean() > 0.8


def test_the_fewest_samples_for_so_many_frames() -> None:
    for spec in (WAVE, FrontEndSpec(), FrontEndSpec(center=True), FrontEndSpec(pad_window="end")):
        for frames in (1, 7):
            samples = window_samples(spec, frames)
            assert spec.frames_of(samples) == frames
            assert samples == 1 or spec.frames_of(samples - 1) < frames
