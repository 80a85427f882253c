from __future__ import annotations

from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs torch (extra train)")

from earwitness.models.augmentation.audio import (  # noqa: E402
    band_places,
    companded,
    fast_length,
    filtered,
    filters_of,
    overdriven,
    played,
    stretched,
    telephoned,
)
from earwitness.models.augmentation.draws import Draws  # noqa: E402
from earwitness.models.augmentation.settings import PLAIN, Augmentation  # noqa: E402
from earwitness.models.augmentation.windows import response_db  # noqa: E402

SR, TAPS = 16000, 1024


def tones(*frequencies: float, samples: int = SR) -> Any:
    """A row a frequency, amplitude 0.5."""
    time = np.arange(samples) / SR
    return torch.from_numpy(np.stack([0.5 * np.sin(2 * np.pi * f * time) for f in frequencies]).astype(np.float32))


def pitches(rows: Any) -> Any:
    """The strongest frequency of each row, Hz, between bins too."""
    spectrum = (rows.numpy().astype(float) * np.hanning(rows.shape[1])).copy()
    magnitude = np.abs(np.fft.rfft(spectrum, n=8 * rows.shape[1]))
    return magnitude.argmax(axis=1) * SR / (8 * rows.shape[1])


def middle_db(rows: Any) -> Any:
    """Level of the middle half of each row."""
    quarter = rows.shape[1] // 4
    return 10 * torch.log10(rows[:, quarter:-quarter].square().mean(1) + 1e-20)


def test_a_filter_has_the_response_that_was_asked_for_and_begins_at_once() -> None:
    settings = Augmentation(band_limit=0.0)
    response = response_db(band_places(TAPS, SR, 50, 8000), 20, Draws((0,)), settings)
    filters = filters_of(torch.from_numpy(response))
    got = 20 * np.log10(np.abs(np.fft.rfft(filters.numpy().astype(float))))
    np.testing.assert_allclose(got, response, atol=0.02)
    energy = filters.square().cumsum(1) / filters.square().sum(1, keepdim=True)
    assert (energy[:, 32] > 0.9).all()  # 2 ms
    bins = np.array([40, 100, 250])
    heard = filtered(tones(*(bins * SR / TAPS)), filters[3].expand(3, -1))
    difference = middle_db(heard) - middle_db(tones(*(bins * SR / TAPS)))
    np.testing.assert_allclose(difference, response[3, bins], atol=0.05)


def test_responses_have_the_tilt_the_ripple_and_the_limits_that_are_set() -> None:
    places = np.linspace(0, 1, 64)
    tilt = response_db(places, 500, Draws((1,)), PLAIN.replace(tilt_db=6.0))
    np.testing.assert_allclose(tilt[:, 0], -tilt[:, -1], atol=1e-5)
    assert 5.8 < np.abs(tilt[:, 0]).max() <= 6
    np.testing.assert_allclose(np.diff(tilt, n=2, axis=1), 0, atol=1e-5)
    ripple = response_db(places, 2000, Draws((1,)), PLAIN.replace(ripple_db=3.0))
    assert ripple[:, 0].std() == pytest.approx(3, abs=0.2)
    limits = response_db(places, 2000, Draws((1,)), PLAIN.replace(band_limit=0.5))
    top, bottom = limits[:, -1] < -1, limits[:, 0] < -1
    assert not (top & bottom).any()
    assert (top | bottom).mean() == pytest.approx(0.5, abs=0.05)
    assert limits.min() == -60
    assert (limits[:, 12:38] == 0).all()
    assert (response_db(places, 5, Draws((1,)), PLAIN) == 0).all()


@pytest.mark.parametrize("speed", [0.8, 0.94, 1.1, 1.5])
def test_a_faster_record_is_shorter_and_higher_by_the_ratio(speed: float) -> None:
    count = round(SR / speed)
    heard = played(tones(440, 1000), count)
    assert heard.shape == (2, count)
    np.testing.assert_allclose(pitches(heard), np.array([440, 1000]) * SR / count, rtol=2e-3)
    np.testing.assert_allclose(middle_db(heard), middle_db(tones(440, 1000)), atol=0.05)


@pytest.mark.parametrize("rate", [0.7, 0.9, 1.25, 1.6])
def test_a_stretch_changes_the_length_and_keeps_the_pitch(rate: float) -> None:
    heard = stretched(tones(440, 1000), rate, SR)
    assert heard.shape == (2, round(SR / rate))
    np.testing.assert_allclose(pitches(heard), [440, 1000], rtol=5e-3)
    np.testing.assert_allclose(middle_db(heard), middle_db(tones(440, 1000)), atol=1.0)


def test_a_stretch_moves_what_happens() -> None:
    burst = torch.zeros(1, 2 * SR)
    burst[:, SR : SR + 1600] = tones(1000, samples=1600)
    heard = stretched(burst, 1.25, SR).square()
    middle = float((heard * torch.arange(heard.shape[1])).sum() / heard.sum())
    assert middle == pytest.approx((SR + 800) / 1.25, abs=200)


def test_a_telephone_leaves_speech_and_rejects_what_is_beside_it() -> None:
    frequencies = (100, 1000, 2500, 6000)
    loss = middle_db(telephoned(tones(*frequencies), SR)) - middle_db(tones(*frequencies))
    assert loss[0] < -30
    assert loss[3] < -30
    np.testing.assert_allclose(loss[1:3], 0, atol=0.7)
    assert telephoned(tones(1000, samples=12345), SR).shape == (1, 12345)


def test_a_telephone_has_the_noise_of_8_bits() -> None:
    tone = tones(1000)
    spectrum = np.abs(np.fft.rfft(telephoned(tone, SR)[0, 2000:14000].numpy() * np.hanning(12000))) ** 2
    near = slice(740, 761)
    noise = spectrum.sum() - spectrum[near].sum()
    assert 30 < 10 * np.log10(spectrum[near].sum() / noise) < 45  # G.711's 38 dB, of which the band takes some


def test_companding_leaves_few_values_and_small_ones_their_precision() -> None:
    rows = torch.cat((tones(440), tones(440) * 0.01, tones(440), tones(440) * 5))
    heard = companded(rows, torch.tensor([4.0, 4.0, 8.0, 8.0]))
    assert len(torch.unique(heard[0])) <= 16
    assert len(torch.unique(heard[2])) <= 256
    assert heard.abs().max() <= 1
    error = 10 * torch.log10((heard - rows).square().mean(1) / rows.square().mean(1))
    assert error[2] < -35
    assert error[0] < -10
    one_by_one = torch.cat([companded(rows[k : k + 1], torch.tensor([(4, 4, 8, 8)[k]])) for k in range(4)])
    assert torch.equal(heard, one_by_one)


def test_an_overdriven_microphone_clips_as_far_below_the_peak_as_asked() -> None:
    heard = overdriven(tones(440, 440), torch.tensor([6.0, 20.0]))
    peaks = 20 * torch.log10(heard.abs().amax(1) / 0.5)
    np.testing.assert_allclose(peaks, [-6, -20], atol=0.01)
    assert (heard[1].abs() > 0.0499).float().mean() > 0.9


def test_fast_lengths_are_not_much_longer() -> None:
    for length in (1, 2, 3, 17, 1000, 17023, 80001):
        fast = fast_length(length)
        assert length <= fast <= max(1.34 * length, length + 1)
        for factor in (2, 3, 5):
            while fast % factor == 0:
                fast //= factor
        assert fast == 1
