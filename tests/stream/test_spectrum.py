"""What a screen shows of a spectrum: levels mean the same whatever the front end, and the bands are where they say."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from earwitness.stream.features.frontend import FrontEndSpec, compute
from earwitness.stream.features.mel import mel_centres
from earwitness.stream.spectrum import FLOOR_DB, MOST_BANDS, STEP_DB, Bands, SpectrumMeter

FRONT_ENDS = {
    "default": FrontEndSpec(),
    "among others": FrontEndSpec(feature=("mel", "log_mel")),
    "YAMNet": FrontEndSpec(power=1.0, htk=True, norm="none", fmin=125.0, fmax=7500.0, log="ln", log_offset=0.001),
    "Kaldi": FrontEndSpec(window="povey", pad_window="end", log="ln", norm="none", n_mels=40, fmin=20.0),
    "48 kHz, 128 bands": FrontEndSpec(sr=48_000, n_fft=2048, win_length=2048, hop_length=480, n_mels=128, fmax=20_000),
}


def reading(spec: FrontEndSpec, signal: np.ndarray) -> np.ndarray:
    """dB of each band, over the whole signal."""
    meter = SpectrumMeter(Bands(spec))
    assert meter.add(compute(spec, signal.astype(np.float32)))
    return FLOOR_DB + STEP_DB * meter.read().astype(float)


@pytest.mark.parametrize("name", FRONT_ENDS)
@pytest.mark.parametrize("amplitude", [1.0, 0.01])
def test_a_sine_shows_its_level_in_its_band_and_less_elsewhere(name: str, amplitude: float) -> None:
    spec = FRONT_ENDS[name]
    bands = Bands(spec)
    for at in (0.3, 0.6, 0.9):
        hz = float(mel_centres(spec)[int(at * spec.n_mels)])
        levels = reading(spec, amplitude * np.sin(2 * np.pi * hz * np.arange(spec.sr) / spec.sr))
        band = next(band for band, (low, high) in enumerate(bands.bands_hz) if low <= hz < high)
        assert int(np.argmax(levels)) == band
        assert levels[band] == pytest.approx(20 * np.log10(amplitude), abs=2.0)  # it need not lie on a bin
        assert np.max(np.delete(levels, [band - 1, band, min(band + 1, len(levels) - 1)])) < levels[band] - 20


@pytest.mark.parametrize("name", FRONT_ENDS)
def test_silence_is_the_floor_or_what_the_front_end_has_of_one(name: str) -> None:
    assert np.all(reading(FRONT_ENDS[name], np.zeros(FRONT_ENDS[name].sr)) <= -80)


@pytest.mark.parametrize("name", FRONT_ENDS)
def test_bands_are_few_and_cover_the_front_ends_range(name: str) -> None:
    spec, bands = FRONT_ENDS[name], Bands(FRONT_ENDS[name])
    assert len(bands.bands_hz) == min(MOST_BANDS, spec.n_mels)
    assert all(low < high for low, high in bands.bands_hz)
    assert all(lower[1] == upper[0] for lower, upper in itertools.pairwise(bands.bands_hz))
    assert spec.fmin <= bands.bands_hz[0][0] < bands.bands_hz[-1][1] <= spec.fmax


def test_a_reading_is_of_a_tenth_of_a_second_and_begins_anew() -> None:
    spec = FrontEndSpec()
    frames = compute(spec, np.random.default_rng(0).normal(0, 0.1, 16_000).astype(np.float32))
    meter, at_once = SpectrumMeter(Bands(spec)), SpectrumMeter(Bands(spec))
    assert [meter.add(frames[first : first + 2]) for first in range(20, 30, 2)] == [False] * 4 + [True]
    first = meter.read()
    assert not meter.add(frames[:0])
    at_once.add(frames[20:30])
    assert np.max(np.abs(first.astype(int) - at_once.read())) <= 1
