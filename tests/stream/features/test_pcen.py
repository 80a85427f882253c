"""PCEN is librosa's, its smoothed past carried from block to block, each stream's its own."""

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
from earwitness.stream.features.frontend import FrontEnd, FrontEndSpec, compute, silence

Samples = NDArray[np.float32]
Sound = Callable[[str, int], Samples]
Stepwise = Callable[[FrontEndSpec, Samples, list[int]], Samples]

KINDS = ["noise", "sweep", "speech", "silence", "impulse", "clipped", "denormal", "constant"]
OPTIONS: dict[str, dict[str, Any]] = {
    "default": {},
    "8 kHz": {"sr": 8000, "n_fft": 256, "win_length": 256, "hop_length": 80, "n_mels": 26, "fmax": 4000.0},
    "44.1 kHz, as for int32": {
        "sr": 44100, "n_fft": 2048, "win_length": 2048, "hop_length": 512, "n_mels": 128, "fmax": 22050.0,
        "power": 1.0, "pcen_eps": 1e-6 / 2**31,
    },
    "power 0.25": {"pcen_power": 0.25, "pcen_gain": 0.8, "pcen_bias": 10.0, "pcen_time_constant": 0.06},
    "logarithm": {"pcen_power": 0.0},
    "no bias": {"pcen_bias": 0.0, "pcen_gain": 0.5},
    "linear": {"pcen_power": 1.0, "pcen_gain": 0.0, "pcen_time_constant": 1e-4},
}  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_values_are_librosas(sound: Sound, options: dict[str, Any], kind: str) -> None:
    spec = FrontEndSpec(feature=("mel", "pcen"), **options)
    values = compute(spec, sound(kind, spec.sr))
    theirs = reference(spec, values[:, spec.columns["mel"]])
    assert np.isfinite(values).all()
    np.testing.assert_allclose(values[:, spec.columns["pcen"]], theirs, rtol=1e-5, atol=1e-30)


def reference(spec: FrontEndSpec, mels: Samples) -> NDArray[np.float64]:
    with np.errstate(divide="ignore"):  # without a bias librosa takes the logarithm of 0
        values = librosa.pcen(
            mels.T.astype(np.float64), sr=spec.sr, hop_length=spec.hop_length, gain=spec.pcen_gain, bias=spec.pcen_bias,
            power=spec.pcen_power, time_constant=spec.pcen_time_constant, eps=spec.pcen_eps,
        )  # fmt: skip
    return np.asarray(values.T)


@pytest.mark.parametrize("kind", ["noise", "clipped", "speech"])
def test_from_the_samples_on_it_is_librosas(sound: Sound, kind: str) -> None:
    spec, samples = FrontEndSpec(feature="pcen"), sound(kind, 16000)
    mels = librosa.feature.melspectrogram(
        y=samples.astype(np.float64), sr=16000, n_fft=512, win_length=400, hop_length=160, center=False, n_mels=64,
        fmin=50.0, fmax=8000.0,
    )  # fmt: skip
    theirs = librosa.pcen(mels, sr=16000, hop_length=160).T
    np.testing.assert_allclose(compute(spec, samples), theirs, rtol=1e-5, atol=1e-6)


@pytest.mark.data
def test_on_a_recording_it_is_librosas(data_root: Path) -> None:
    path = min((data_root / "esc10" / "audio").glob("*-0.ogg"))
    samples, sr = soundfile.read(path, dtype="float32")
    spec = FrontEndSpec(feature=("mel", "pcen"), sr=sr, n_fft=1024, win_length=1024, hop_length=441)
    values = compute(spec, samples)
    theirs = reference(spec, values[:, spec.columns["mel"]])
    np.testing.assert_allclose(values[:, spec.columns["pcen"]], theirs, rtol=1e-5, atol=1e-30)


@pytest.mark.parametrize("size", [1, 7, 160, 161, 2053, 100_000])
def test_block_sizes_do_not_change_a_bit(sound: Sound, stepwise: Stepwise, size: int) -> None:
    spec, samples = FrontEndSpec(feature="pcen"), sound("speech", 16000)[: 3000 if size == 1 else 32_000]
    np.testing.assert_array_equal(stepwise(spec, samples, [size]), compute(spec, samples))


@settings(deadline=None, max_examples=20)
@given(length=st.integers(0, 20_000), sizes=st.lists(st.integers(0, 4000), min_size=1, max_size=12).filter(any))
def test_random_cuts_do_not_change_a_bit(sound: Sound, stepwise: Stepwise, length: int, sizes: list[int]) -> None:
    spec, samples = FrontEndSpec(feature="pcen", pcen_power=0.3), sound("noise", 16000)[:length]
    np.testing.assert_array_equal(stepwise(spec, samples, sizes), compute(spec, samples))


def test_streams_out_of_step_each_carry_their_own_past(sound: Sound) -> None:
    spec, noise = FrontEndSpec(feature="pcen"), sound("noise", 16000)
    front_end, heard, got = FrontEnd(spec), {}, {}
    for turn in range(40):
        blocks = {
            str(number): (1 + number) * noise[500 * turn + 37 * number :][: 200 + 90 * (number % 4)]
            for number in range(1 + turn % 9)
        }
        for name, frames in front_end.push(blocks).items():
            heard.setdefault(name, []).append(blocks[name])
            got.setdefault(name, []).append(frames.values)
    for name, parts in heard.items():
        np.testing.assert_array_equal(np.concatenate(got[name]), compute(spec, np.concatenate(parts)))


def test_a_new_segment_and_a_stream_that_was_reset_begin_without_a_past(sound: Sound) -> None:
    spec, noise = FrontEndSpec(feature="pcen"), sound("noise", 16000)[:4000]
    front_end, fresh = FrontEnd(spec), compute(spec, noise)
    for leave in (front_end.flush, front_end.reset):
        np.testing.assert_array_equal(front_end.push({"s": noise})["s"].values, fresh)
        leave("s")


def test_the_past_goes_with_a_streams_state(sound: Sound) -> None:
    spec, noise = FrontEndSpec(feature="pcen"), sound("noise", 16000)
    first, second = FrontEnd(spec), FrontEnd(spec)
    first.push({"s": noise[:5000]})
    state = first.state("s")
    assert state is not None
    second.restore("elsewhere", state)
    np.testing.assert_array_equal(
        second.push({"elsewhere": noise[5000:9000]})["elsewhere"].values,
        first.push({"s": noise[5000:9000]})["s"].values,
    )


def test_steady_noise_fades_and_an_onset_stands_out(sound: Sound) -> None:
    spec = FrontEndSpec(feature="pcen", pcen_eps=1e-12, pcen_time_constant=0.1)
    samples = sound("noise", 16000) * np.float32(0.1)
    samples[24000:25600] *= 10  # 20 dB more
    rows = compute(spec, samples).mean(axis=1)
    before, onset = slice(110, 148), slice(150, 153)
    assert rows[onset].mean() > 2 * rows[before].mean()
    louder = compute(spec, 10 * samples).mean(axis=1)
    np.testing.assert_allclose(louder[before], rows[before], rtol=0.15)  # 20 dB of gain, and hardly another value


def test_minutes_of_silence_do_not_end_in_denormals() -> None:
    spec = FrontEndSpec(feature="pcen", pcen_time_constant=0.02)
    front_end = FrontEnd(spec)
    for _ in range(40):
        frames = front_end.push({"s": np.zeros(16000, np.float32)})["s"]
    assert not frames.values.any()
    state = front_end.state("s")
    assert state is not None
    assert state.carried["0/smoothed"].min() > 1e-45
    np.testing.assert_array_equal(silence(spec), np.zeros(64, np.float32))


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ({"pcen_gain": 1.5}, r"pcen_gain is 1\.5; valid: 0 to 1, nearest 1"),
        ({"pcen_power": -0.5}, r"pcen_power is -0\.5; valid: 0 to 1, nearest 0"),
        ({"pcen_bias": -1.0}, "pcen_bias is -1"),
        ({"pcen_eps": 0.0}, "pcen_eps is 0"),
        ({"pcen_time_constant": 0.0}, "pcen_time_constant is 0 s; it must be above 0"),
    ],
)
def test_what_cannot_work_is_refused_with_what_can(option: dict[str, Any], message: str) -> None:
    with pytest.raises(EarwitnessError, match=message):
        FrontEndSpec(feature="pcen", **option)
