"""A resampled stream is the resampled whole, at the right place in time, and not held back for long."""

from __future__ import annotations

import numpy as np
import pytest
import soxr
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from earwitness.stream.errors import EarwitnessError
from earwitness.stream.resample import Resampler, input_sample, output_length, resample

Samples = NDArray[np.float32]

NOISE = np.random.default_rng(4).standard_normal((60_000, 2)).astype(np.float32) * 0.2
RATES = [(48_000, 16_000), (44_100, 16_000), (8_000, 16_000), (22_050, 16_000), (11_025, 44_100), (96_000, 16_000)]


def streamed(resampler: Resampler, samples: Samples, sizes: list[int]) -> Samples:
    parts, start, turn = [], 0, 0
    while start < len(samples):
        size = sizes[turn % len(sizes)]
        parts.append(resampler.push(samples[start : start + size]))
        start, turn = start + size, turn + 1
    return np.concatenate([*parts, resampler.flush()])


@pytest.mark.parametrize("length", [0, 1, 2, 99, 100, 101, 440, 441, 442, 50_000])
@pytest.mark.parametrize(("rate_in", "rate_out"), RATES)
def test_the_whole_is_soxrs_own_result_and_length(rate_in: int, rate_out: int, length: int) -> None:
    samples = NOISE[:length, 0]
    ours = resample(samples, rate_in, rate_out)
    assert ours.dtype == np.float32
    assert len(ours) == output_length(length, rate_in, rate_out)
    if length:
        np.testing.assert_array_equal(ours, soxr.resample(samples, rate_in, rate_out, quality="HQ"))


@pytest.mark.parametrize("channels", [1, 2])
@settings(deadline=None, max_examples=60)
@given(
    rates=st.sampled_from(RATES),
    length=st.integers(0, 60_000),
    sizes=st.lists(st.integers(0, 9000), min_size=1, max_size=20).filter(any),
)
def test_random_cuts_do_not_change_a_bit(channels: int, rates: tuple[int, int], length: int, sizes: list[int]) -> None:
    samples = NOISE[:length, 0] if channels == 1 else NOISE[:length]
    resampler = Resampler(*rates, channels)
    np.testing.assert_array_equal(streamed(resampler, samples, sizes), resample(samples, *rates))


@pytest.mark.parametrize("size", [1, 7, 441, 882])
def test_small_blocks_do_not_change_a_bit(size: int) -> None:
    samples = np.ascontiguousarray(NOISE[:5000, 0])
    np.testing.assert_array_equal(
        streamed(Resampler(44_100, 16_000), samples, [size]), resample(samples, 44_100, 16_000)
    )


def test_after_flush_and_reset_a_signal_begins_anew() -> None:
    resampler, samples = Resampler(48_000, 16_000), NOISE[:10_000, 0]
    expected = resample(samples, 48_000, 16_000)
    np.testing.assert_array_equal(streamed(resampler, samples, [777]), expected)
    resampler.push(NOISE[:3000, 1])
    resampler.reset()
    assert resampler.held_s == 0
    np.testing.assert_array_equal(streamed(resampler, samples, [333]), expected)
    assert len(resampler.flush()) == 0


def test_equal_rates_hand_the_block_back() -> None:
    resampler, samples = Resampler(16_000, 16_000), NOISE[:100, 0]
    assert resampler.push(samples) is samples
    assert resampler.flush().shape == (0,)
    assert resampler.held_s == 0
    assert Resampler(16_000, 16_000, 2).flush().shape == (0, 2)


@pytest.mark.parametrize(("rate_in", "rate_out"), RATES)
def test_a_click_stays_where_it_was(rate_in: int, rate_out: int) -> None:
    for click in (3000, 7777):
        samples = np.zeros(rate_in, np.float32)
        samples[click] = 1.0
        loudest = int(np.abs(resample(samples, rate_in, rate_out)).argmax())
        step = -(-rate_in // rate_out)
        assert abs(input_sample(loudest, rate_in, rate_out) - click) <= step


@settings(deadline=None)
@given(output=st.integers(0, 10**15), rate_in=st.integers(1, 400_000), rate_out=st.integers(1, 400_000))
def test_the_map_back_is_exact_for_ever(output: int, rate_in: int, rate_out: int) -> None:
    sample = input_sample(output, rate_in, rate_out)
    assert sample * rate_out <= output * rate_in < (sample + 1) * rate_out


@pytest.mark.parametrize(("rate_in", "mean_ms", "most_ms"), [(48_000, 11.0, 16.0), (44_100, 12.0, 17.0)])
def test_sound_is_held_back_no_longer_than_stated(rate_in: int, mean_ms: float, most_ms: float) -> None:
    resampler, block = Resampler(rate_in, 16_000), np.zeros(rate_in // 50, np.float32)
    held = []
    for _ in range(200):
        resampler.push(block)
        held.append(resampler.held_s * 1000)
    assert np.mean(held) < mean_ms
    assert max(held) < most_ms


def test_what_is_above_half_the_rate_is_gone_and_what_is_below_stays() -> None:
    seconds = np.arange(48_000) / 48_000
    for hertz, low, high in ((1000, -0.02, 0.02), (7300, -0.02, 0.02), (8300, -400, -100), (15_000, -400, -120)):
        tone = np.sin(2 * np.pi * hertz * seconds).astype(np.float32)
        middle = resample(tone, 48_000, 16_000)[4000:12_000].astype(np.float64)
        assert low <= 10 * np.log10(2 * np.mean(middle**2) + 1e-30) <= high


def test_a_rate_of_nothing_is_refused() -> None:
    with pytest.raises(EarwitnessError, match="at least 1 Hz, not 0"):
        Resampler(0, 16_000)
