from __future__ import annotations

import numpy as np
import pytest

from earwitness.models.augmentation.rooms import impulse_responses

SR = 16000


def rt60_of(response: np.ndarray) -> float:
    """Seconds in which the sound falls by 60 dB: a line through -5 to -25 dB of Schroeder's backward integral (M. R.
    Schroeder 1965, doi:10.1121/1.1909343), from 50 ms on, where single reflections have passed."""
    late = response[int(0.05 * SR) :].astype(float)
    decay = 10 * np.log10(np.cumsum(late[::-1] ** 2)[::-1] / np.sum(late**2))
    part = np.flatnonzero((decay < -5) & (decay > -25))
    slope = np.polyfit(part / SR, decay[part], 1)[0]
    return float(-60 / slope)


@pytest.mark.parametrize("rt60", [0.25, 0.5, 1.0])
def test_sound_falls_by_60_db_in_the_time_that_was_asked_for(rt60: float) -> None:
    rooms = impulse_responses(np.full(20, rt60), np.full(20, 0.0), SR, np.random.default_rng(0))
    measured = [rt60_of(room) for room in rooms]
    assert np.median(measured) == pytest.approx(rt60, rel=0.08)
    assert np.std(measured) < 0.15 * rt60


def test_the_direct_sound_comes_first_and_as_far_above_the_reflections_as_asked() -> None:
    direct = np.array([-3.0, 0.0, 6.0, 15.0])
    rooms = impulse_responses(np.full(4, 0.4), direct, SR, np.random.default_rng(0))
    ratio = 10 * np.log10(rooms[:, 0] ** 2 / np.square(rooms[:, 1:]).sum(axis=1))
    np.testing.assert_allclose(ratio, direct, atol=1e-3)
    np.testing.assert_allclose(np.square(rooms).sum(axis=1), 1, rtol=1e-5)
    assert (rooms[:, 1:32] == 0).all()  # no wall is nearer than 30 cm


def test_rooms_differ_in_length_and_in_their_reflections() -> None:
    rooms = impulse_responses(np.array([0.05, 1.0]), np.zeros(2), SR, np.random.default_rng(0))
    assert rooms.shape == (2, SR + 1)
    assert np.abs(rooms[0, 4000:]).max() < 1e-6 < np.abs(rooms[1, 4000:]).max()
    early = np.abs(rooms[1, 1:800])
    assert (early > 4 * np.sqrt(np.mean(rooms[1, 400:2000] ** 2))).sum() >= 2
