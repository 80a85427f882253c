"""MFCCs are librosa's, and the same bits however the samples come."""

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
from earwitness.stream.features.frontend import FrontEnd, FrontEndSpec, compute

Samples = NDArray[np.float32]
Sound = Callable[[str, int], Samples]
Stepwise = Callable[[FrontEndSpec, Samples, list[int]], Samples]

KINDS = ["noise", "sweep", "speech", "silence", "impulse", "clipped", "denormal", "constant"]
OPTIONS: dict[str, dict[str, Any]] = {
    "default": {},
    "8 kHz": {
        "sr": 8000, "n_fft": 256, "win_length": 256, "hop_length": 80, "n_mels": 26, "fmax": 4000.0, "n_mfcc": 13,
    },
    "44.1 kHz, centred": {
        "sr": 44100, "n_fft": 2048, "win_length": 2048, "hop_length": 512, "n_mels": 128, "fmax": 22050.0,
        "center": True,
    },
    "all, odd": {"n_mels": 37, "n_mfcc": 37, "lifter": 22.0},
    "ln": {"log": "ln", "log_offset": 1e-6, "htk": True, "norm": "none", "lifter": 2.0},
}  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_coefficients_are_librosas(sound: Sound, options: dict[str, Any], kind: str) -> None:
    spec = FrontEndSpec(feature=("mel", "mfcc"), **options)
    values = compute(spec, sound(kind, spec.sr))
    mels = values[:, spec.columns["mel"]].T.astype(np.float64)
    logs = librosa.power_to_db(mels, top_db=None) if spec.log == "db" else np.log(mels + spec.log_offset)
    theirs = librosa.feature.mfcc(S=logs, n_mfcc=spec.n_mfcc, lifter=spec.lifter).T
    # Single precision rounds by the largest band's level, and the lifter makes more of it.
    weight = 1.0 + spec.lifter / 2
    worst = np.abs(values[:, spec.columns["mfcc"]] - theirs) - 1e-5 * np.abs(theirs)
    assert worst.max() <= 1e-4 * weight


@pytest.mark.parametrize("kind", ["noise", "clipped"])
@pytest.mark.parametrize("options", [OPTIONS["default"], OPTIONS["8 kHz"], OPTIONS["44.1 kHz, centred"]])
def test_from_the_samples_on_they_are_librosas(sound: Sound, options: dict[str, Any], kind: str) -> None:
    spec = FrontEndSpec(feature="mfcc", **options)
    samples = sound(kind, spec.sr)
    mels = librosa.feature.melspectrogram(
        y=samples.astype(np.float64), sr=spec.sr, n_fft=spec.n_fft, win_length=spec.win_length,
        hop_length=spec.hop_length, center=spec.center, n_mels=spec.n_mels, fmin=spec.fmin, fmax=spec.fmax,
    )  # fmt: skip
    theirs = librosa.feature.mfcc(S=librosa.power_to_db(mels, top_db=None), n_mfcc=spec.n_mfcc).T
    np.testing.assert_allclose(compute(spec, samples), theirs, rtol=1e-5, atol=2e-4)


@pytest.mark.data
def test_on_a_recording_they_are_librosas(data_root: Path) -> None:
    path = min((data_root / "esc10" / "audio").glob("*-0.ogg"))
    samples, sr = soundfile.read(path, dtype="float32")
    spec = FrontEndSpec(feature=("mel", "mfcc"), sr=sr, n_fft=1024, win_length=1024, hop_length=441)
    values = compute(spec, samples)
    mels = values[:, spec.columns["mel"]].T.astype(np.float64)
    theirs = librosa.feature.mfcc(S=librosa.power_to_db(mels, top_db=None)).T
    np.testing.assert_allclose(values[:, spec.columns["mfcc"]], theirs, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("size", [1, 7, 160, 161, 2053, 100_000])
def test_block_sizes_do_not_change_a_bit(sound: Sound, stepwise: Stepwise, size: int) -> None:
    spec, samples = FrontEndSpec(feature="mfcc"), sound("speech", 16000)[: 3000 if size == 1 else 32_000]
    np.testing.assert_array_equal(stepwise(spec, samples, [size]), compute(spec, samples))


@settings(deadline=None, max_examples=20)
@given(length=st.integers(0, 20_000), sizes=st.lists(st.integers(0, 4000), min_size=1, max_size=12).filter(any))
def test_random_cuts_do_not_change_a_bit(sound: Sound, stepwise: Stepwise, length: int, sizes: list[int]) -> None:
    spec, samples = FrontEndSpec(feature="mfcc", lifter=22.0), sound("noise", 16000)[:length]
    np.testing.assert_array_equal(stepwise(spec, samples, sizes), compute(spec, samples))


def test_company_does_not_change_a_bit(sound: Sound) -> None:
    spec, noise = FrontEndSpec(feature="mfcc"), sound("noise", 16000)
    blocks = {str(number): noise[100 * number : 100 * number + 3000 + 160 * (number % 3)] for number in range(70)}
    for name, frames in FrontEnd(spec).push(blocks).items():
        np.testing.assert_array_equal(frames.values, compute(spec, blocks[name]))


def test_what_cannot_work_is_refused_with_what_can() -> None:
    with pytest.raises(EarwitnessError, match=r"n_mfcc is 65; valid: 1 to 64 \(n_mels\), nearest 64"):
        FrontEndSpec(feature="mfcc", n_mfcc=65)
    with pytest.raises(EarwitnessError, match="n_mfcc is 0"):
        FrontEndSpec(feature="mfcc", n_mfcc=0)
    with pytest.raises(EarwitnessError, match="lifter is -1; it must be at least 0"):
        FrontEndSpec(feature="mfcc", lifter=-1.0)
    with pytest.raises(EarwitnessError, match="fmax"):
        FrontEndSpec(feature="mfcc", fmax=9000.0)
