"""stream/level.py: decibels as physics has them."""

from __future__ import annotations

import numpy as np
import pytest

from earwitness.stream.level import FLOOR_DB, LevelMeter, Loudness


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
