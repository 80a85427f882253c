"""stream/level.py: decibels as physics has them, and levels as a sound level meter has them."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from earwitness.stream.features.weighting import Weighting, forgetting
from earwitness.stream.level import FLOOR_DB, LevelMeter, Loudness, Weighted, WeightedMeter


def reading(samples: np.ndarray) -> Loudness:
    found = LevelMeter(len(samples), samples.dtype.name).add(samples.reshape(len(samples), -1))
    assert found is not None
    return found


@pytest.mark.parametrize(("dtype", "scale"), [("int16", 2**15 - 1), ("int32", 2**31 - 256), ("float32", 1.0)])
def test_a_sine_at_full_scale_is_three_db_below_a_square_wave(dtype: str, scale: float) -> None:
    sine = np.sin(2 * np.pi * np.arange(1000) / 100)
    assert reading((sine * scale).astype(dtype)).rms_db == pytest.approx(-3.01, abs=0.02)
    assert reading((np.sign(sine + 1e-9) * scale).astype(dtype)).rms_db == pytest.approx(0.0, abs=0.02)


def test_half_the_amplitude_is_six_db_less() -> None:
    noise = np.random.default_rng(0).standard_normal(5000).astype(np.float32) * 0.1
    assert reading(noise).rms_db - reading(noise / 2).rms_db == pytest.approx(6.02, abs=0.011)


def test_silence_is_finite_and_nan_counts_as_silence() -> None:
    assert reading(np.zeros(10, np.int16)).rms_db == FLOOR_DB
    assert reading(np.float32([np.nan, 0.5, -0.5, 0.0])) == reading(np.float32([0.0, 0.5, -0.5, 0.0]))
    assert reading(np.float32([np.inf, 0.0])).peak_db == 0.0


def test_the_lowest_integer_is_full_scale_and_counts_as_clipped() -> None:
    assert reading(np.int16([-32768, 0, 32767])) == Loudness(3, -1.76, 0.0, 2)


def test_the_loudness_of_two_channels_is_their_mean_power() -> None:
    both = np.zeros((1000, 2), np.float32)
    both[:, 0] = 0.5
    assert reading(both).rms_db == pytest.approx(-9.03, abs=0.01)


def test_readings_gather_whole_blocks_whatever_their_size() -> None:
    meter = LevelMeter(100, "int16")
    blocks = [np.full((n, 1), 1000, np.int16) for n in (60, 0, 30, 60, 10)]
    found = [meter.add(block) for block in blocks]
    assert [one.samples if one else None for one in found] == [None, None, None, 150, None]


def test_what_is_beyond_all_numbers_counts_as_full_scale() -> None:
    assert reading(np.float32([3e38, -3e38, 0.0, 0.0])) == Loudness(4, -3.01, 0.0, 2)


# ---- weighted levels -------------------------------------------------------------------------------------------------


def tone(hz: float, rate: int, seconds: float, rms_db: float) -> NDArray[np.float32]:
    wave = np.sin(2 * np.pi * hz * np.arange(round(seconds * rate)) / rate)
    return (np.sqrt(2) * 10 ** (rms_db / 20) * wave).astype(np.float32)[:, None]


def metered(meter: WeightedMeter, samples: NDArray[np.float32], size: int = 4800) -> list[Weighted]:
    return [meter.add(samples[at : at + size]) for at in range(0, len(samples) - size + 1, size)]


@pytest.mark.parametrize("rate", [8_000, 11_025, 16_000, 44_100, 48_000, 192_000])
def test_a_calibrated_tone_of_94_db_at_1_khz_reads_94_everywhere(rate: int) -> None:
    last = metered(WeightedMeter(rate, 1, calibration_db=121.4), tone(1000, rate, 5.0, 94 - 121.4), rate // 10)[-1]
    assert (last.weighting, last.calibrated) == ("A", True)
    assert last[2] == last[3] == pytest.approx(94.0, abs=0.02)
    assert last.period_s == pytest.approx(4.5, abs=0.06)
    assert last.period_leq_db == pytest.approx(94.0, abs=0.02)
    assert last[6:] == pytest.approx((94.0,) * 4, abs=0.15)


def test_without_a_calibration_levels_are_relative_to_full_scale() -> None:
    last = metered(WeightedMeter(48_000, 1), tone(100, 48_000, 3.0, -20))[-1]
    assert not last.calibrated
    assert last.leq_db == pytest.approx(-39.1, abs=0.1)


def test_silence_is_at_the_floor() -> None:
    last = metered(WeightedMeter(16_000, 1), np.zeros((32_000, 1), np.float32))[-1]
    assert set(last[2:4] + last[5:]) == {FLOOR_DB}
    calibrated = metered(WeightedMeter(16_000, 1, calibration_db=120.0), np.zeros((32_000, 1), np.float32))[-1]
    assert set(calibrated[2:4] + calibrated[5:]) == {0.0}


def test_mean_maximum_and_percentiles_are_those_of_the_samples() -> None:
    """Against the fast level of every sample, of noise that comes and goes."""
    rate, rng = 16_000, np.random.default_rng(5)
    loudness = np.repeat(10 ** rng.uniform(-3, -0.5, 40), rate // 4)
    samples = (rng.standard_normal(len(loudness)) * loudness).astype(np.float32)[:, None]
    last = metered(WeightedMeter(rate, 1), samples, 1600)[-1]
    weighting = Weighting("A", rate)
    squares = weighting.apply(samples.T, np.zeros((1, weighting.size)))[0] ** 2
    by_sample, now = forgetting(1, rate * 0.125), 0.0
    fast = np.empty(len(squares))
    for place, square in enumerate(squares.tolist()):
        fast[place] = now = by_sample.remains * now + float(by_sample.weights[0]) * square
    counted, levels = squares[rate // 2 :], 10 * np.log10(fast[rate // 2 :])
    assert last.period_s == pytest.approx(9.5)
    assert last.period_leq_db == pytest.approx(10 * np.log10(counted.mean()), abs=0.01)
    assert last.fast_db == pytest.approx(levels[-1], abs=0.01)
    assert last.fast_max_db == pytest.approx(levels.max(), abs=0.1)
    wanted = [float(np.percentile(levels, 100 - share)) for share in (10, 50, 90)]
    assert last[7:] == pytest.approx(wanted, abs=0.5)  # taken every 50 ms, in classes of 0.1 dB


def test_what_is_older_than_the_period_is_forgotten() -> None:
    samples = np.concatenate((tone(1000, 8_000, 3.0, -10), tone(1000, 8_000, 4.0, -60)))
    readings = metered(WeightedMeter(8_000, 1, period_s=2.0), samples, 800)
    assert readings[29].period_leq_db == pytest.approx(-10, abs=0.1)
    last = readings[-1]
    assert last.period_s == pytest.approx(2.0)
    assert (last.period_leq_db, last.fast_max_db) == (pytest.approx(-60, abs=0.1), pytest.approx(-60, abs=0.2))
    assert last[7:] == pytest.approx((-60.0,) * 3, abs=0.15)


def test_half_a_second_after_the_beginning_there_is_no_period_yet() -> None:
    readings = metered(WeightedMeter(8_000, 1), tone(1000, 8_000, 1.0, -20), 800)
    assert [reading.period_s for reading in readings] == pytest.approx([0, 0, 0, 0, 0, 0.1, 0.2, 0.3, 0.4, 0.5])
    first = readings[0]
    assert first[5:] == (first.leq_db, *[first.fast_db] * 4)


def test_of_several_channels_the_mean_power_counts() -> None:
    both = np.concatenate((tone(1000, 8_000, 2.0, -20), np.zeros((16_000, 1), np.float32)), axis=1)
    assert metered(WeightedMeter(8_000, 2), both)[-1].leq_db == pytest.approx(-23.01, abs=0.02)


@pytest.mark.parametrize("rate", [1, 100, 2_399])
def test_a_rate_that_has_no_a_weighting_is_not_weighted(rate: int) -> None:
    last = metered(WeightedMeter(rate, 1), np.full((5 * rate, 1), 0.5, np.float32), max(1, rate // 10))[-1]
    assert last.weighting == "Z"
    assert last.leq_db == pytest.approx(-6.02, abs=0.01)


@settings(max_examples=20, deadline=None)
@given(st.lists(st.integers(1, 9_000), min_size=1, max_size=12))
def test_the_size_of_the_blocks_does_not_matter(sizes: list[int]) -> None:
    samples = (np.random.default_rng(6).standard_normal((sum(sizes), 1)) / 9).astype(np.float32)
    parted, whole = WeightedMeter(11_025, 1), WeightedMeter(11_025, 1)
    for block in np.split(samples, np.cumsum(sizes)[:-1]):
        last = parted.add(block)
    at_once = whole.add(samples)
    assert last[3:5] == pytest.approx(at_once[3:5], abs=0.011)
    assert last.period_s == 0 or last[5:] == pytest.approx(at_once[5:], abs=0.011)


@pytest.mark.parametrize("value", [1e-42, 1.0, -1.0])
def test_a_constant_is_heard_as_silence(value: float) -> None:
    last = metered(WeightedMeter(8_000, 1), np.full((80_000, 1), value, np.float32))[-1]
    assert last.leq_db == last.fast_db == FLOOR_DB


def test_a_reading_carries_weighted_levels_of_its_own_samples() -> None:
    meter = LevelMeter(1600, "int16", WeightedMeter(16_000, 1, calibration_db=100.0))
    blocks = (tone(1000, 16_000, 2.0, -20) * 32767).astype(np.int16).reshape(-1, 320, 1)
    readings = [found for block in blocks if (found := meter.add(block))]
    assert len(readings) == 20
    last = readings[-1]
    assert last.weighted is not None
    assert last.weighted.leq_db == pytest.approx(80.0, abs=0.01)
    assert last.rms_db == pytest.approx(-20.0, abs=0.01)


def test_broken_samples_do_not_poison_what_follows() -> None:
    meter = LevelMeter(800, "float32", WeightedMeter(8_000, 1))
    meter.add(np.float32([[np.nan], [np.inf], [3e38], [-np.inf]]))
    found = [meter.add(tone(1000, 8_000, 0.1, -20)) for _ in range(60)][-1]
    assert found is not None
    assert found.weighted is not None
    assert found.weighted.fast_db == pytest.approx(-20.0, abs=0.1)


def test_memory_does_not_grow() -> None:
    meter, block = WeightedMeter(8_000, 1, period_s=5.0), tone(1000, 8_000, 0.1, -20)
    for _ in range(100):
        meter.add(block)
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    for _ in range(2_000):
        meter.add(block)
    grown = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    assert grown < 20_000
