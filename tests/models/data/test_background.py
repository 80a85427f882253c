from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from earwitness.models.data.background import coloured_noise, hum, real, rooms, synthesised


@pytest.mark.parametrize("slope", [0.0, 3.0, 6.0])
def test_noise_falls_by_its_slope(rng: np.random.Generator, slope: float) -> None:
    power = np.abs(np.fft.rfft(coloured_noise(rng, 1 << 17, slope))) ** 2
    octaves = [power[k : 2 * k].mean() for k in (1 << 8, 1 << 10, 1 << 12, 1 << 14)]
    np.testing.assert_allclose(np.diff(10 * np.log10(octaves)), -2 * slope, atol=1.0)


def test_noise_and_hum_have_an_rms_of_one(rng: np.random.Generator) -> None:
    for samples in (coloured_noise(rng, 16000, 3.0), hum(rng, 16000, 16000)):
        assert np.sqrt(np.mean(samples**2)) == pytest.approx(1, abs=1e-3)


def test_hum_lies_on_multiples_of_the_mains(rng: np.random.Generator) -> None:
    power = np.abs(np.fft.rfft(hum(rng, 16000, 16000))) ** 2  # bins of 1 Hz
    mains = 50 if power[50] > power[60] else 60
    assert power[::mains].sum() > 0.999 * power.sum()


def test_synthesised_backgrounds_stem_from_the_seed_alone() -> None:
    first, again, other = (list(synthesised(seed, 8000, count=8, seconds=0.5)) for seed in (3, 3, 4))
    assert {b.kind for b in first} == {"silence", "noise", "hum", "air", "rumble"}
    for a, b in zip(first, again, strict=True):
        np.testing.assert_array_equal(a.samples, b.samples)
    assert any(not np.array_equal(a.samples, b.samples) for a, b in zip(first, other, strict=True))
    assert all(np.isfinite(b.samples).all() and np.abs(b.samples).max() < 1 for b in first)


def test_no_recording_serves_two_uses(tones: Path) -> None:
    names = {use: {b.name for b in real(tones, 16000, use)} for use in ("training", "choice", "test")}
    assert names["test"] == {"exercise_bike", "theo"}
    assert names["choice"] == {"running_tap", "nicolas"}
    assert names["training"] == {"running_tap", "george"}
    (end,) = rooms(tones, 16000, "choice")
    plain = next(b for b in rooms(tones, 16000, "training") if len(b.samples) == 3 * len(end.samples))
    assert not np.array_equal(plain.samples[: len(end.samples)], end.samples)
