"""Mel filters and windows against librosa's."""

from __future__ import annotations

import librosa
import numpy as np
import pytest

from earwitness.stream.features.mel import hz_to_mel, mel_filters, mel_to_hz
from earwitness.stream.features.windows import WINDOWS, analysis_window


@pytest.mark.parametrize("htk", [False, True])
@pytest.mark.parametrize("norm", ["slaney", "none"])
@pytest.mark.parametrize(
    ("sr", "n_fft", "n_mels", "fmin", "fmax"),
    [(16000, 512, 64, 50.0, 8000.0), (22050, 2048, 128, 0.0, 11025.0), (8000, 255, 20, 100.0, 3500.0)],
)
def test_filters_are_librosas(sr: int, n_fft: int, n_mels: int, fmin: float, fmax: float, htk: bool, norm: str) -> None:
    ours = mel_filters(sr=sr, n_fft=n_fft, n_mels=n_mels, fmin=fmin, fmax=fmax, htk=htk, norm=norm)
    theirs = librosa.filters.mel(
        sr=sr, n_fft=n_fft, n_mels=n_mels, fmin=fmin, fmax=fmax, htk=htk, norm=None if norm == "none" else norm
    )
    assert ours.dtype == np.float32
    np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-7 * theirs.max())


@pytest.mark.parametrize("htk", [False, True])
def test_the_mel_scale_is_librosas_and_goes_back(htk: bool) -> None:
    hz = np.array([0.0, 20.0, 999.9, 1000.0, 1000.1, 4321.0, 20000.0])
    mel = np.array([hz_to_mel(each, htk) for each in hz])
    np.testing.assert_allclose(mel, librosa.hz_to_mel(hz, htk=htk), rtol=1e-12)
    np.testing.assert_allclose(mel_to_hz(mel, htk), hz, rtol=1e-12)


@pytest.mark.parametrize("name", [name for name in WINDOWS if name != "povey"])
@pytest.mark.parametrize("length", [1, 2, 5, 400])
def test_windows_are_librosas(name: str, length: int) -> None:
    theirs = librosa.filters.get_window(name, length, fftbins=True)
    np.testing.assert_allclose(analysis_window(name, length), theirs, atol=1e-7)
