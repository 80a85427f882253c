"""A recording as the front end takes it: mono, any rate, what is no sound made silence and counted."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from earwitness.stream.errors import EarwitnessError
from earwitness.stream.resample import resample
from earwitness.stream.sources.recording import BLOCK, Recording


def test_channels_are_mixed_and_integers_are_scaled_to_full_scale(tmp_path: Path) -> None:
    samples = np.int16([[16384, -16384], [16384, 0], [-32768, -32768]])
    soundfile.write(tmp_path / "two.wav", samples, 8000)
    with Recording(str(tmp_path / "two.wav")) as recording:
        assert (recording.name, recording.rate, recording.samples) == ("two.wav", 8000, 3)
        assert np.concatenate(list(recording)).tolist() == [0.0, 0.25, -1.0]
    with Recording(str(tmp_path / "two.wav"), channel=0) as recording:
        assert np.concatenate(list(recording)).tolist() == [0.0, 0.25, -1.0]
    with Recording(str(tmp_path / "two.wav"), channel=2) as recording:
        assert np.concatenate(list(recording)).tolist() == [-0.5, 0.0, -1.0]


def test_another_rate_is_that_of_the_whole_signal_resampled(tmp_path: Path, rng: np.random.Generator) -> None:
    samples = (0.1 * rng.standard_normal(2 * BLOCK + 17)).astype(np.float32)
    soundfile.write(tmp_path / "noise.wav", samples, 44100, subtype="FLOAT")
    with Recording(str(tmp_path / "noise.wav"), rate=16000) as recording:
        heard = np.concatenate(list(recording))
        assert len(heard) == recording.samples
    np.testing.assert_array_equal(heard, resample(samples, 44100, 16000))


def test_what_is_no_sound_becomes_silence_and_is_counted(tmp_path: Path) -> None:
    samples = np.float32([0.5, np.nan, np.inf, -np.inf, 0.25])
    soundfile.write(tmp_path / "bad.wav", samples, 8000, subtype="FLOAT")
    with Recording(str(tmp_path / "bad.wav")) as recording:
        assert np.concatenate(list(recording)).tolist() == [0.5, 0, 0, 0, 0.25]
        assert recording.replaced == 3


def test_a_wrong_rate_a_wrong_channel_and_a_file_that_is_not_there_are_one_line(tmp_path: Path) -> None:
    for rate in (0, 10**11):
        with pytest.raises(EarwitnessError, match=f"1 to 768000 Hz, not {rate}"):
            Recording("demo", rate=rate)
    with pytest.raises(EarwitnessError, match="channel -1: 0 mixes all"):
        Recording("demo", channel=-1)
    with pytest.raises(EarwitnessError, match="no such file"):
        Recording(str(tmp_path / "dog.wav"))
