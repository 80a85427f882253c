"""Descriptors of a frame's samples: librosa's numbers, whatever the blocks."""

from __future__ import annotations

from pathlib import Path

import librosa
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from earwitness.stream.features.frontend import LOUDEST, FrontEnd, FrontEndSpec, compute
from earwitness.stream.features.time_domain import FEATURES
from earwitness.stream.level import LevelMeter

from .descriptors import KINDS, SIZES, Samples, recordings, sound, stepwise

ALL = tuple(FEATURES)
SPECS = {
    "default": FrontEndSpec(feature=ALL),
    "centred": FrontEndSpec(feature=ALL, center=True, pad_mode="edge"),
    "odd": FrontEndSpec(feature=ALL, sr=22050, n_fft=999, win_length=700, hop_length=333, center=True),
    "wide": FrontEndSpec(feature=ALL, sr=48000, n_fft=4096, win_length=4096, hop_length=1024),
    "behind": FrontEndSpec(feature=ALL, sr=8000, n_fft=256, win_length=200, hop_length=80, pad_window="end"),
}


def references(spec: FrontEndSpec, samples: Samples) -> dict[str, NDArray[np.float64]]:
    """Each descriptor in double precision, `[frames]`."""
    padded = np.pad(samples.astype(np.float64), spec.lead, mode=spec.pad_mode) if spec.lead else samples.astype(float)
    framing = {"frame_length": spec.frame_length, "hop_length": spec.hop_length}
    frames = librosa.util.frame(padded, **framing).T
    rms = librosa.feature.rms(y=padded, center=False, **framing)[0]
    magnitude = np.abs(frames)
    envelope = magnitude.max(axis=1)
    return {
        "amplitude_envelope": envelope,
        "peak": frames[np.arange(len(frames)), magnitude.argmax(axis=1)],
        "rms": rms,
        "crest_factor": np.divide(envelope, rms, out=np.zeros_like(rms), where=rms > 0),
        "zero_crossing_rate": librosa.feature.zero_crossing_rate(y=padded, center=False, **framing)[0],
        "dc_offset": frames.mean(axis=1),
        "clipping": (magnitude >= np.float32(0.9999)).mean(axis=1),
    }


@pytest.mark.parametrize("kind", ["noise", "clipped", "sweep", "speech", "impulse", "silence", "constant"])
@pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)
def test_values_are_librosas(spec: FrontEndSpec, kind: str) -> None:
    samples = sound(kind, spec.sr)
    ours, wanted = compute(spec, samples), references(spec, samples)
    for name, columns in spec.columns.items():
        # A mean of samples that cancel each other is as good as single precision of the samples is.
        rounding = 1e-7 * wanted["rms"].max() if name == "dc_offset" else 0.0
        np.testing.assert_allclose(ours[:, columns][:, 0], wanted[name], rtol=1e-5, atol=rounding, err_msg=name)


def test_centred_frames_are_those_of_librosa_centred() -> None:
    samples = sound("speech")
    edges = compute(FrontEndSpec(feature="zero_crossing_rate", center=True, pad_mode="edge"), samples)
    theirs = librosa.feature.zero_crossing_rate(samples, frame_length=512, hop_length=160)[0]
    np.testing.assert_allclose(edges[:, 0], theirs, rtol=1e-6)
    zeros = compute(FrontEndSpec(feature="rms", center=True), samples)
    theirs = librosa.feature.rms(y=samples.astype(np.float64), frame_length=512, hop_length=160)[0]
    np.testing.assert_allclose(zeros[:, 0], theirs, rtol=1e-5)


@pytest.mark.data
def test_recordings_have_librosas_values(data_root: Path) -> None:
    for name, (samples, rate) in recordings(data_root).items():
        spec = FrontEndSpec(feature=ALL, sr=rate, n_fft=1024, win_length=1024, hop_length=256, center=True)
        ours, wanted = compute(spec, samples), references(spec, samples)
        for feature, columns in spec.columns.items():
            rounding = 1e-7 * wanted["rms"].max() if feature == "dc_offset" else 0.0
            message = f"{name} {feature}"
            np.testing.assert_allclose(ours[:, columns][:, 0], wanted[feature], 1e-5, rounding, err_msg=message)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("scale", [1.0, LOUDEST / 2])
def test_every_sound_has_finite_values(kind: str, scale: float) -> None:
    values = compute(SPECS["default"], sound(kind) * np.float32(scale))
    assert values.dtype == np.float32
    assert np.isfinite(values).all()


def test_silence_has_none_of_anything() -> None:
    assert not compute(SPECS["default"], sound("silence")).any()


def test_known_sounds_have_known_values() -> None:
    t = np.arange(16000) / 16000
    sine = (0.5 * np.sin(2 * np.pi * 500 * t)).astype(np.float32)
    spec = FrontEndSpec(feature=("rms", "crest_factor", "zero_crossing_rate"))
    values = compute(spec, sine)[5]
    np.testing.assert_allclose(values[:2], [0.5 / 2**0.5, 2**0.5], rtol=1e-4)
    np.testing.assert_allclose(values[2], 2 * 500 / 16000, atol=1 / 512)  # it may lie on the frame's edge
    click = np.zeros(16000, np.float32)
    click[3000] = -0.25
    spec = FrontEndSpec(feature=("amplitude_envelope", "peak", "crest_factor", "dc_offset"))
    np.testing.assert_allclose(compute(spec, click)[17], [0.25, -0.25, 512**0.5, -0.25 / 512], rtol=1e-6)


def test_clipping_counts_what_the_level_meter_counts() -> None:
    samples = sound("clipped")[:512]
    reading = LevelMeter(512, "float32").add(samples[:, None])
    assert reading is not None
    assert reading.clipped > 20
    values = compute(FrontEndSpec(feature="clipping"), samples)
    assert round(float(values[0, 0]) * 512) == reading.clipped


@pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)
@pytest.mark.parametrize("size", SIZES)
def test_block_sizes_do_not_change_a_bit(spec: FrontEndSpec, size: int) -> None:
    samples = sound("speech", spec.sr)[: spec.frame_length + 5 * spec.hop_length if size < 100 else 40_000]
    np.testing.assert_array_equal(stepwise(spec, samples, [size]), compute(spec, samples))


@pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)
@settings(deadline=None, max_examples=15)
@given(length=st.integers(0, 12_000), sizes=st.lists(st.integers(0, 5000), min_size=1, max_size=8).filter(any))
def test_random_cuts_do_not_change_a_bit(spec: FrontEndSpec, length: int, sizes: list[int]) -> None:
    samples = sound("clipped", spec.sr)[:length]
    np.testing.assert_array_equal(stepwise(spec, samples, sizes), compute(spec, samples))


def test_each_of_many_streams_has_the_bits_it_has_alone() -> None:
    spec, kinds = SPECS["default"], (*KINDS, *KINDS)
    blocks = {str(n): np.roll(sound(kind), 77 * n) for n, kind in enumerate(kinds)}
    together = FrontEnd(spec).push(blocks)
    for name, block in blocks.items():
        np.testing.assert_array_equal(together[name].values, FrontEnd(spec).push({name: block})[name].values)


def test_one_value_a_frame_each_with_its_unit() -> None:
    for name, feature in FEATURES.items():
        assert len(feature.labels(FrontEndSpec(feature=name))) == 1
    assert FEATURES["rms"].labels(FrontEndSpec(feature="rms")) == ("full scale",)
