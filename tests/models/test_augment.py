from __future__ import annotations

import msgspec
import numpy as np
import pytest

from earwitness.models.augment import Augmentation, WindowMaker, level_db
from earwitness.models.data.background import Background
from earwitness.models.data.recordings import Recording, of_backgrounds, sounding_starts
from earwitness.stream.features.frontend import FrontEndSpec

SPEC, FRAMES = FrontEndSpec(), 32
PLAIN = Augmentation(
    gain_db=(0, 0), background_gain_db=(0, 0), mixup=0, noise=0, tilt_db=0, ripple_db=0, band_limit=0, mute=0, mask=0
)  # fmt: skip


def click(label: str, band: int) -> Recording:
    """A recording of 200 frames that sounds in the frames 100 to 120, in one band."""
    powers = np.full((200, 64), 1e-10, np.float32)
    powers[100:120, band] = 1.0
    starts, weights = sounding_starts(powers, FRAMES)
    return Recording(label, "event", powers, starts, np.cumsum(weights) / weights.sum())


def maker(settings: Augmentation) -> WindowMaker:
    noise = np.random.default_rng(0).normal(0, 0.1, 32000).astype(np.float32)
    backgrounds = of_backgrounds([Background("noise", "white", noise)], "background", SPEC, FRAMES)
    return WindowMaker([click("a", 10), click("b", 40)], backgrounds, ["a", "b", "background"], SPEC, FRAMES, settings)


def test_a_batch_is_that_of_its_seed() -> None:
    first, again, other = (maker(Augmentation()).draw(20, seed) for seed in ((1, 2), (1, 2), (1, 3)))
    np.testing.assert_array_equal(first[0], again[0])
    np.testing.assert_array_equal(first[1], again[1])
    assert not np.array_equal(first[0], other[0])


def test_windows_are_finite_and_targets_are_shares() -> None:
    windows, targets = maker(Augmentation()).draw(200, (0,))
    assert windows.shape == (200, FRAMES, 64)
    assert windows.dtype == targets.dtype == np.float32
    assert np.isfinite(windows).all()
    assert windows.min() >= -100.001
    np.testing.assert_allclose(targets.sum(axis=1), 1, atol=1e-6)
    assert (targets[:, -1] == 1).sum() == 40  # the share of backgrounds


def test_without_augmentation_a_window_is_a_piece_of_its_recording() -> None:
    windows, targets = maker(PLAIN).draw(100, (0,))
    for window, target in zip(windows, targets, strict=True):
        if target[-1] == 0:
            assert window.max() == pytest.approx(0, abs=1e-3)
            assert window.max(axis=0).argmax() == (10, 40)[int(target.argmax())]


def test_no_window_of_a_class_is_silent_and_some_are_cut_at_the_edge() -> None:
    windows, targets = maker(PLAIN).draw(300, (0,))
    sounding = (windows[targets[:, -1] == 0].max(axis=2) > -20).sum(axis=1)
    assert sounding.min() >= 10
    assert sounding.max() == 20
    assert (sounding < 20).any()


def test_a_clip_with_less_sound_than_a_window_wants_is_used_all_the_same() -> None:
    powers = np.full((100, 64), 1e-10, np.float32)
    powers[[10, 90]] = 1.0
    starts, weights = sounding_starts(powers, FRAMES)
    assert set(starts[weights > 0]) == set(range(-16, 11)) | set(range(59, 84))


def test_mixing_two_classes_shares_the_label() -> None:
    _, targets = maker(msgspec.structs.replace(PLAIN, mixup=1.0)).draw(200, (0,))
    mixed = targets[(targets[:, 0] > 0) & (targets[:, 1] > 0)]
    assert len(mixed) > 50
    assert mixed[:, 0].std() > 0.1


def test_a_background_lies_as_far_below_as_asked() -> None:
    windows, targets = maker(msgspec.structs.replace(PLAIN, noise=1.0, noise_below_db=(20, 20))).draw(50, (0,))
    powers = 10 ** (windows[targets[:, 0] == 1] / 10)
    powers[:, :, 10] = 0  # what is left is the background, summed over its 63 bands
    np.testing.assert_allclose(level_db(powers), -20, atol=1.0)


def test_backgrounds_are_muted_in_part_and_events_are_not() -> None:
    windows, targets = maker(msgspec.structs.replace(PLAIN, mute=1.0, background_share=0.5)).draw(100, (0,))
    silent = (windows.max(axis=2) < -99).mean(axis=1)
    assert (silent[targets[:, -1] == 1] > 0).mean() > 0.8
    assert 0.2 < silent[targets[:, -1] == 1].mean() < 0.7
    plain, _ = maker(msgspec.structs.replace(PLAIN, background_share=0.5)).draw(100, (0,))
    np.testing.assert_array_equal(windows[targets[:, -1] == 0], plain[targets[:, -1] == 0])


def test_gain_raises_the_level() -> None:
    quiet, _ = maker(PLAIN).draw(50, (0,))
    loud, targets = maker(msgspec.structs.replace(PLAIN, gain_db=(6, 6))).draw(50, (0,))
    events = targets[:, -1] == 0
    assert loud[events].max() - quiet[events].max() == pytest.approx(6, abs=1e-3)


def test_a_front_end_without_powers_cannot_be_mixed() -> None:
    spec = FrontEndSpec(power=1.0)
    with pytest.raises(ValueError, match="power 2"):
        WindowMaker([], [], ["a", "background"], spec, FRAMES, PLAIN)
