from __future__ import annotations

from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs torch (extra train)")

from earwitness.models.augmentation.mixtures import Mixtures, level_db  # noqa: E402
from earwitness.models.augmentation.power_batches import PowerMaker  # noqa: E402
from earwitness.models.augmentation.settings import PLAIN, Augmentation  # noqa: E402
from earwitness.models.data.background import Background  # noqa: E402
from earwitness.models.data.recordings import Keeping, Recording, of_backgrounds, sounding_starts  # noqa: E402
from earwitness.stream.errors import EarwitnessError  # noqa: E402
from earwitness.stream.features.frontend import FrontEndSpec  # noqa: E402

SPEC, FRAMES, LABELS = FrontEndSpec(), 32, ["a", "b", "background"]
EVENTS = PLAIN.replace(background_share=0.2)


def click(label: str, band: int, **more: Any) -> Recording:
    """A recording of 200 frames that sounds in the frames 100 to 120, in one band."""
    powers = np.full((200, 64), 1e-10, np.float32)
    powers[100:120, band] = 1.0
    return Recording(label, "event", powers, *sounding_starts(powers, FRAMES), **more)


def backgrounds() -> list[Recording]:
    noise = np.random.default_rng(0).normal(0, 0.1, 32000).astype(np.float32)
    return of_backgrounds([Background("noise", "white", noise)], Keeping(SPEC, FRAMES))


def maker(settings: Augmentation, events: list[Recording] | None = None, spec: FrontEndSpec = SPEC) -> PowerMaker:
    mixtures = Mixtures(events or [click("a", 10), click("b", 40)], backgrounds(), LABELS, settings)
    return PowerMaker(mixtures, spec, FRAMES)


def drawn(settings: Augmentation, size: int = 100, seed: tuple[int, ...] = (0,), **more: Any) -> tuple[Any, Any]:
    windows, targets = maker(settings, **more).draw(size, seed)
    return windows.numpy(), targets.numpy()


def test_a_batch_is_that_of_its_seed_whatever_was_drawn_before() -> None:
    one, other = maker(Augmentation()), maker(Augmentation())
    first = one.draw(20, (1, 2))
    changed = one.draw(20, (1, 3))
    again = one.draw(20, (1, 2))
    elsewhere = other.draw(20, (1, 2))
    for same in (again, elsewhere):
        assert torch.equal(first[0], same[0])
        assert torch.equal(first[1], same[1])
    assert not torch.equal(first[0], changed[0])


def test_drawing_leaves_the_random_numbers_of_torch_and_numpy_alone() -> None:
    torch.manual_seed(3)
    np.random.seed(3)
    expected = torch.rand(4), np.random.random(4)
    torch.manual_seed(3)
    np.random.seed(3)
    drawn(Augmentation(mixup=0.5, stretch=0.5))
    assert torch.equal(torch.rand(4), expected[0])
    assert (np.random.random(4) == expected[1]).all()


def test_windows_are_finite_and_targets_are_shares() -> None:
    windows, targets = drawn(Augmentation(), 200)
    assert windows.shape == (200, FRAMES, 64)
    assert windows.dtype == targets.dtype == np.float32
    assert np.isfinite(windows).all()
    assert windows.min() >= -100.001
    np.testing.assert_allclose(targets.sum(axis=1), 1, atol=1e-6)
    assert (targets[:, -1] == 1).sum() == 40  # the share of backgrounds


def test_without_augmentation_a_window_is_a_piece_of_its_recording() -> None:
    windows, targets = drawn(EVENTS)
    for window, target in zip(windows, targets, strict=True):
        if target[-1] == 0:
            assert window.max() == pytest.approx(0, abs=1e-3)
            assert window.max(axis=0).argmax() == (10, 40)[int(target.argmax())]


def test_no_window_of_a_class_is_silent_and_some_are_cut_at_the_edge() -> None:
    windows, targets = drawn(EVENTS, 300)
    sounding = (windows[targets[:, -1] == 0].max(axis=2) > -20).sum(axis=1)
    assert sounding.min() >= 10
    assert sounding.max() == 20
    assert (sounding < 20).any()


def test_mixing_two_classes_shares_the_label_and_keeps_the_level() -> None:
    windows, targets = drawn(EVENTS.replace(between_class=1.0, outside=0.0), 200)
    mixed = (targets[:, 0] > 0.01) & (targets[:, 1] > 0.01)
    assert mixed.sum() > 120
    assert targets[mixed, 0].std() > 0.1
    np.testing.assert_allclose(targets.sum(axis=1), 1, atol=1e-6)
    peaks = 10 ** (windows[mixed][:, :, [10, 40]].max(axis=1) / 10)
    np.testing.assert_allclose(peaks.sum(axis=1), 1, rtol=1e-3)
    shares = targets[mixed, :2] ** 2  # of the amplitude: the powers are as the squares
    np.testing.assert_allclose(peaks, shares / shares.sum(axis=1, keepdims=True), rtol=1e-3, atol=1e-6)


def test_a_background_lies_as_far_below_as_asked() -> None:
    windows, targets = drawn(EVENTS.replace(noise=1.0, snr_db=(20, 20)), 50)
    powers = 10 ** (windows[targets[:, 0] == 1] / 10)
    powers[:, :, 10] = 0  # what is left is the background, summed over its 63 bands
    np.testing.assert_allclose(level_db(torch.from_numpy(powers.sum(axis=2))), -20, atol=1.0)


def test_backgrounds_are_muted_in_part_and_events_are_not() -> None:
    half = EVENTS.replace(background_share=0.5)
    windows, targets = drawn(half.replace(mute=1.0))
    silent = (windows.max(axis=2) < -99).mean(axis=1)
    assert (silent[targets[:, -1] == 1] > 0).mean() > 0.8
    assert 0.2 < silent[targets[:, -1] == 1].mean() < 0.7
    plain, _ = drawn(half)
    np.testing.assert_array_equal(windows[targets[:, -1] == 0], plain[targets[:, -1] == 0])


def test_gain_is_exact() -> None:
    quiet, targets = drawn(EVENTS)
    loud, _ = drawn(EVENTS.replace(gain_db=(6, 6), background_gain_db=(3, 3)))
    nothing = targets[:, -1] == 1
    np.testing.assert_allclose((loud - quiet)[quiet > -90], 6 - 3 * np.broadcast_to(
        nothing[:, None, None], quiet.shape)[quiet > -90], atol=1e-3)  # fmt: skip


def test_another_speed_is_taken_from_its_own_recording_and_a_stretch_changes_the_length_alone() -> None:
    kept = [click("a", 10 + k, speed=speed) for k, speed in enumerate((0.9, 1.0, 1.1))]
    windows, _ = drawn(PLAIN.replace(outside=0.0), events=kept)
    assert set(windows.max(axis=1).argmax(axis=1)) == {11}
    windows, _ = drawn(PLAIN.replace(speed=1.0, speed_range=(0.9, 1.1)), events=kept)
    assert set(windows.max(axis=1).argmax(axis=1)) == {10, 11, 12}
    windows, _ = drawn(PLAIN.replace(stretch=1.0, stretch_range=(2, 2), outside=0.0), events=kept)
    assert set(windows.max(axis=1).argmax(axis=1)) == {11}
    assert (windows.max(axis=2) > -20).sum(axis=1).max() == 10


def test_the_logarithm_is_that_of_the_front_end() -> None:
    decibels, _ = drawn(EVENTS)
    neper, _ = drawn(EVENTS, spec=FrontEndSpec(log="ln", log_offset=0.0))
    np.testing.assert_allclose(neper, decibels * np.log(10) / 10, atol=1e-4)
    offset, _ = drawn(EVENTS, spec=FrontEndSpec(log="ln", log_offset=1e-3))
    np.testing.assert_allclose(offset, np.log(10 ** (decibels.astype(float) / 10) + 1e-3), atol=1e-4)


def test_several_labels_of_a_clip_are_all_told() -> None:
    both = [click("a", 10, further_labels=("b",))]
    _, targets = drawn(PLAIN, events=both)
    assert (targets == [1, 1, 0]).all()


def test_labels_of_a_mixture_can_be_told_as_present() -> None:
    _, targets = drawn(PLAIN.replace(between_class=1.0, mixed_targets="present"), 200)
    assert set(np.unique(targets)) == {0, 1}
    assert 0.6 < (targets[:, :2].sum(axis=1) == 2).mean() < 0.95  # not where one has less than a tenth


def test_without_a_background_label_nothing_is_no_label() -> None:
    _, targets = PowerMaker(Mixtures([click("a", 10)], backgrounds(), ["a"], EVENTS), SPEC, FRAMES).draw(10, (0,))
    assert sorted(targets[:, 0].tolist()) == [0, 0, *[1] * 8]


@pytest.mark.parametrize(
    ("spec", "settings", "said"),
    [
        (FrontEndSpec(power=1.0), PLAIN, "power is 1, not 2"),
        (FrontEndSpec(feature="mfcc"), PLAIN, "gives mfcc, not log_mel"),
        (SPEC, PLAIN.replace(telephone=0.1), "telephone changes samples"),
    ],
)
def test_what_mel_powers_do_not_give_is_refused(spec: FrontEndSpec, settings: Augmentation, said: str) -> None:
    with pytest.raises(EarwitnessError, match=said):
        maker(settings, spec=spec)


def test_a_recording_of_an_unknown_label_is_refused() -> None:
    with pytest.raises(EarwitnessError, match="'backgrond', which is no label: did you mean 'background'"):
        maker(PLAIN, [click("backgrond", 3)])
    with pytest.raises(EarwitnessError, match="no recording to train on"):
        Mixtures([], [], LABELS, PLAIN)
