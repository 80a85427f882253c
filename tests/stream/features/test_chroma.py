"""Chroma is librosa's, by filters of our own making."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import librosa
import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from earwitness.stream.errors import EarwitnessError
from earwitness.stream.features.chroma import Chroma, chroma_filters
from earwitness.stream.features.frontend import FrontEnd, FrontEndSpec, compute

Samples = NDArray[np.float32]
Sound = Callable[[str, int], Samples]
Stepwise = Callable[[FrontEndSpec, Samples, list[int]], Samples]

KINDS = ["noise", "sweep", "speech", "silence", "impulse", "clipped", "denormal", "constant"]
OPTIONS: dict[str, dict[str, Any]] = {
    "default": {},
    "8 kHz": {"sr": 8000, "n_fft": 1024, "win_length": 1024, "hop_length": 80},
    "44.1 kHz, centred": {"sr": 44100, "n_fft": 4096, "win_length": 4096, "hop_length": 1024, "center": True},
    "quarter tones, tuned": {"sr": 22050, "n_fft": 2048, "win_length": 2000, "n_chroma": 24, "tuning": 0.3},
    "7 classes, flat": {"n_chroma": 7, "tuning": -0.45},
}


@pytest.mark.parametrize("n_chroma", [1, 5, 12, 13, 24, 36])
@pytest.mark.parametrize(("sr", "n_fft"), [(16000, 512), (22050, 2048), (44100, 999), (8000, 2)])
@pytest.mark.parametrize("tuning", [0.0, 0.37, -1.0])
def test_filters_are_librosas(sr: int, n_fft: int, n_chroma: int, tuning: float) -> None:
    theirs = librosa.filters.chroma(sr=sr, n_fft=n_fft, n_chroma=n_chroma, tuning=tuning)
    ours = chroma_filters(sr=sr, n_fft=n_fft, n_chroma=n_chroma, tuning=tuning)
    assert ours.dtype == np.float32
    np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-37)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_values_are_librosas(sound: Sound, options: dict[str, Any], kind: str) -> None:
    spec = FrontEndSpec(feature="chroma", **options)
    samples = sound(kind, spec.sr)
    theirs = librosa.feature.chroma_stft(
        y=samples.astype(np.float64), sr=spec.sr, n_fft=spec.n_fft, win_length=spec.win_length,
        hop_length=spec.hop_length, center=spec.center, n_chroma=spec.n_chroma, tuning=spec.tuning,
    ).T  # fmt: skip
    # Where nothing but rounding is left in a frame its shares mean nothing: single precision ends there.
    heard = power(spec, samples) > 1e-36
    ours = compute(spec, samples)
    assert np.isfinite(ours).all()
    np.testing.assert_allclose(ours[heard], theirs[heard], rtol=1e-5, atol=1e-6)


def power(spec: FrontEndSpec, samples: Samples) -> NDArray[np.float64]:
    stft = librosa.stft(
        samples, n_fft=spec.n_fft, hop_length=spec.hop_length, win_length=spec.win_length, center=spec.center
    )
    return np.asarray(np.square(np.abs(stft)).max(axis=0))


@pytest.mark.data
def test_on_a_recording_it_is_librosas(data_root: Path) -> None:
    path = min((data_root / "esc10" / "audio").glob("*-20.ogg"))
    samples, sr = soundfile.read(path, dtype="float32")
    spec = FrontEndSpec(feature="chroma", sr=sr, n_fft=2048, win_length=2048, hop_length=512)
    theirs = librosa.feature.chroma_stft(
        y=samples.astype(np.float64), sr=sr, n_fft=2048, hop_length=512, center=False, tuning=0.0
    ).T
    heard = power(spec, samples) > 1e-36
    np.testing.assert_allclose(compute(spec, samples)[heard], theirs[heard], rtol=1e-5, atol=1e-6)


def test_notes_are_named_whatever_their_octave() -> None:
    spec, seconds = FrontEndSpec(feature="chroma", n_fft=4096, win_length=4096), np.arange(16000) / 16000
    for midi in range(60, 84):
        tone = (0.3 * np.sin(2 * np.pi * 440.0 * 2.0 ** ((midi - 69) / 12) * seconds)).astype(np.float32)
        assert set(compute(spec, tone).argmax(axis=1).tolist()) == {midi % 12}
    assert Chroma.labels(spec)[9] == "A"


def test_silence_is_zeros() -> None:
    assert not compute(FrontEndSpec(feature="chroma"), np.zeros(16000, np.float32)).any()


@pytest.mark.parametrize("size", [1, 7, 160, 161, 2053, 100_000])
def test_block_sizes_do_not_change_a_bit(sound: Sound, stepwise: Stepwise, size: int) -> None:
    spec, samples = FrontEndSpec(feature="chroma"), sound("speech", 16000)[: 3000 if size == 1 else 32_000]
    np.testing.assert_array_equal(stepwise(spec, samples, [size]), compute(spec, samples))


@settings(deadline=None, max_examples=20)
@given(length=st.integers(0, 20_000), sizes=st.lists(st.integers(0, 4000), min_size=1, max_size=12).filter(any))
def test_random_cuts_do_not_change_a_bit(sound: Sound, stepwise: Stepwise, length: int, sizes: list[int]) -> None:
    spec, samples = FrontEndSpec(feature="chroma"), sound("noise", 16000)[:length]
    np.testing.assert_array_equal(stepwise(spec, samples, sizes), compute(spec, samples))


def test_company_does_not_change_a_bit(sound: Sound) -> None:
    spec, noise = FrontEndSpec(feature="chroma"), sound("noise", 16000)
    blocks = {str(number): noise[100 * number : 100 * number + 3000 + 160 * (number % 3)] for number in range(70)}
    for name, frames in FrontEnd(spec).push(blocks).items():
        np.testing.assert_array_equal(frames.values, compute(spec, blocks[name]))


def test_what_cannot_work_is_refused_with_what_can() -> None:
    with pytest.raises(EarwitnessError, match="n_chroma is 0; it must be at least 1, usually 12"):
        FrontEndSpec(feature="chroma", n_chroma=0)
    with pytest.raises(EarwitnessError, match=r"tuning is 13; valid: -12 to 12 \(an octave\), nearest 12"):
        FrontEndSpec(feature="chroma", tuning=13.0)
    with pytest.raises(EarwitnessError, match="power is 0"):
        FrontEndSpec(feature="chroma", power=0.0)
