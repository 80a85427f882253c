"""Wavelet coefficients in a stream are those of PyWavelets over the whole signal."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import pywt
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from earwitness.stream.errors import EarwitnessError
from earwitness.stream.features.cwt import frequencies, latency_samples, scales, wavelet_coefficients
from earwitness.stream.features.frontend import FrontEnd, FrontEndSpec, compute

Samples = NDArray[np.float32]

NAMES = {"morlet": "cmor1.5-1.0", "mexican_hat": "mexh"}
SPECS = [
    FrontEndSpec(feature="cwt", cwt_fmin=62.5, cwt_fmax=8000.0, voices_per_octave=4),
    FrontEndSpec(feature="cwt", wavelet="mexican_hat", cwt_fmax=8000.0, voices_per_octave=5),
    FrontEndSpec(
        feature="cwt", sr=22050, n_fft=1000, win_length=700, hop_length=333, cwt_fmin=45.0, cwt_fmax=9000.0,
        voices_per_octave=3, center=True,
    ),
    FrontEndSpec(feature="cwt", sr=22050, wavelet="mexican_hat", cwt_fmin=30.0, voices_per_octave=7, pad_window="end"),
    FrontEndSpec(feature="cwt", cwt_fmin=3900.0, cwt_fmax=4000.0, voices_per_octave=1),
]  # fmt: skip
IDS = ["morlet", "mexican_hat", "morlet_22k_centred", "mexican_hat_22k", "one_scale"]


def sounds(sr: int) -> dict[str, Samples]:
    """Half a second and more each."""
    rng = np.random.default_rng(1)
    seconds = np.arange(12_000) / sr
    noise = rng.standard_normal(len(seconds))
    made = {
        "noise": 0.1 * noise,
        "sweep": 0.5 * np.sin(2 * np.pi * (30.0 + sr / 8 * seconds) * seconds),
        "quiet_above_a_loud_hum": np.sin(2 * np.pi * 100.0 * seconds) + 1e-4 * noise,
        "impulse": np.eye(1, len(seconds), 9000)[0],
        "clipped": np.clip(3.0 * noise, -1.0, 1.0),
        "silence": np.zeros(len(seconds)),
    }
    return {name: sound.astype(np.float32) for name, sound in made.items()}


def reference(spec: FrontEndSpec, samples: Samples) -> tuple[NDArray[np.complex128], NDArray[np.float64]]:
    """PyWavelets over the whole signal in double precision: at the frames' middles, `[frames, scales]`; the largest."""
    steps = spec.sr / frequencies(spec) * (1.0 if spec.wavelet == "morlet" else 0.25)
    coefficients, hertz = pywt.cwt(samples.astype(np.float64), steps, NAMES[spec.wavelet], 1 / spec.sr, method="conv")
    np.testing.assert_allclose(hertz, frequencies(spec))
    count = spec.frames_of(len(samples))
    middles = np.array([spec.frame_span(frame)[0] + spec.frame_length // 2 for frame in range(count)])
    known = middles < len(samples)  # with `center` the last one may lie behind the signal
    result = np.zeros((count, len(steps)), np.complex128)
    result[known] = coefficients[:, middles[known]].T
    result[~known] = np.nan
    return result, np.abs(coefficients).max(axis=1)


def assert_is_reference(spec: FrontEndSpec, samples: Samples) -> None:
    theirs, largest = reference(spec, samples)
    known = np.isfinite(theirs[:, 0])
    theirs = theirs[known]
    ours = compute(spec, samples)
    assert ours.dtype == np.float32
    assert ours.shape == (spec.frames_of(len(samples)), len(scales(spec))) == (len(known), spec.dims)
    values = np.abs(theirs) if spec.wavelet == "morlet" else theirs.real
    assert (np.abs(ours[known] - values) <= 1e-5 * largest).all()
    coefficients = wavelet_coefficients(spec, samples)
    assert coefficients.dtype == np.complex64
    assert (np.abs(coefficients[known] - theirs) <= 1e-5 * largest).all()


def in_blocks(spec: FrontEndSpec, samples: Samples, sizes: list[int]) -> Samples:
    """The frames of one stream in blocks of `sizes`, taken in turn."""
    front_end, parts, start, turn = FrontEnd(spec), [], 0, 0
    while start < len(samples):
        size = sizes[turn % len(sizes)]
        parts.append(front_end.push({"s": samples[start : start + size]})["s"].values)
        start, turn = start + size, turn + 1
    return np.concatenate([*parts, front_end.flush("s").values])


def assert_same(ours: Samples, whole: Samples) -> None:
    """Equal to 1e-6 of the largest value of each scale."""
    assert ours.shape == whole.shape
    assert (np.abs(ours - whole) <= 1e-6 * np.abs(whole).max(axis=0, initial=0.0)).all()


@pytest.mark.parametrize("kind", ["noise", "sweep", "quiet_above_a_loud_hum", "impulse", "clipped", "silence"])
@pytest.mark.parametrize("spec", SPECS, ids=IDS)
def test_values_are_pywavelets(spec: FrontEndSpec, kind: str) -> None:
    assert_is_reference(spec, sounds(spec.sr)[kind])


@pytest.mark.data
@pytest.mark.parametrize("spec", SPECS[:3], ids=IDS[:3])
def test_values_of_recordings_are_pywavelets(spec: FrontEndSpec, data_root: Path) -> None:
    clips = sorted((data_root / "esc10" / "audio").glob("*.ogg"))
    if not clips:
        pytest.skip("no recordings of ESC-10")
    for clip in clips[:: len(clips) // 3][:3]:
        samples, _ = soundfile.read(clip, dtype="float32", frames=20_000)
        if samples.any():
            assert_is_reference(spec, samples)


@pytest.mark.parametrize("spec", SPECS, ids=IDS)
@pytest.mark.parametrize("size", [1, 7, 160, 161, 2053, 100_000])
def test_block_sizes_do_not_change_a_value(spec: FrontEndSpec, size: int) -> None:
    samples = sounds(spec.sr)["noise"][: 4000 if size == 1 else 12_000]
    assert_same(in_blocks(spec, samples, [size]), compute(spec, samples))


@pytest.mark.parametrize("spec", SPECS[:3], ids=IDS[:3])
@settings(deadline=None, max_examples=8)
@given(length=st.integers(0, 12_000), sizes=st.lists(st.integers(0, 5000), min_size=1, max_size=10).filter(any))
def test_random_cuts_do_not_change_a_value(spec: FrontEndSpec, length: int, sizes: list[int]) -> None:
    samples = sounds(spec.sr)["noise"][:length]
    assert_same(in_blocks(spec, samples, sizes), compute(spec, samples))


@pytest.mark.parametrize("spec", SPECS[:2], ids=IDS[:2])
def test_many_streams_out_of_step_are_what_each_is_alone(spec: FrontEndSpec, rng: np.random.Generator) -> None:
    front_end = FrontEnd(spec)
    signals = {f"s{n}": (0.1 * rng.standard_normal(6000 + 301 * n)).astype(np.float32) for n in range(20)}
    told: dict[str, list[Samples]] = {name: [] for name in signals}
    at = dict.fromkeys(signals, 0)
    while any(at[name] < len(signals[name]) for name in signals):
        chosen = [name for name in signals if at[name] < len(signals[name]) and rng.random() < 0.7]
        sizes = {name: int(rng.choice([160, 160, 1600, 777])) for name in chosen}
        blocks = {name: signals[name][at[name] : at[name] + sizes[name]] for name in chosen}
        for name, frames in front_end.push(blocks).items():
            told[name].append(frames.values)
            at[name] += len(blocks[name])
    for name, signal in signals.items():
        together = np.concatenate([*told[name], front_end.flush(name).values])
        assert_same(together, compute(spec, signal))


@pytest.mark.parametrize("wavelet", ["morlet", "mexican_hat"])
@pytest.mark.parametrize("sr", [16000, 44100])
def test_a_tone_is_loudest_at_its_scale(wavelet: str, sr: int) -> None:
    spec = FrontEndSpec(
        feature="cwt", sr=sr, hop_length=133, wavelet=wavelet, cwt_fmin=100.0, cwt_fmax=1600.0, voices_per_octave=4
    )
    for place, hertz in enumerate(frequencies(spec).tolist()):
        tone = 0.5 * np.sin(2 * np.pi * 1.003 * hertz / sr * np.arange(2 * sr // 3))  # not in step with the hop
        loudness = np.abs(compute(spec, tone.astype(np.float32))[20:-20]).max(axis=0)
        assert int(np.argmax(loudness)) == place
        if wavelet == "morlet":
            assert loudness[place] == pytest.approx(0.25 * np.sqrt(sr / hertz), rel=0.03)


def test_frequencies_rise_to_the_highest_by_equal_ratios() -> None:
    spec = FrontEndSpec(feature="cwt", cwt_fmin=50.0, cwt_fmax=4000.0, voices_per_octave=3)
    hertz = frequencies(spec)
    assert hertz[-1] == 4000.0
    assert 50.0 <= hertz[0] < 50.0 * 2 ** (1 / 3)
    np.testing.assert_allclose(hertz[1:] / hertz[:-1], 2 ** (1 / 3))
    assert spec.dims == len(hertz)
    assert len(frequencies(FrontEndSpec(cwt_fmin=62.5, cwt_fmax=8000.0, voices_per_octave=9))) == 64


@pytest.mark.parametrize("kind", ["denormal", "constant", "loudest"])
@pytest.mark.parametrize("spec", SPECS[:2], ids=IDS[:2])
def test_denormal_constant_and_huge_samples_give_finite_values(spec: FrontEndSpec, kind: str) -> None:
    level = {"denormal": 1e-42, "constant": 0.25, "loudest": 9e8}[kind]
    values = compute(spec, np.full(16000, level, np.float32))
    assert np.isfinite(values).all()
    middle = values[len(values) // 2]
    assert (np.abs(middle) <= 1e-9 * level).all()  # a wavelet hears no constant


@pytest.mark.parametrize("spec", SPECS, ids=IDS)
def test_a_frame_comes_exactly_with_the_last_sample_it_needs(spec: FrontEndSpec) -> None:
    front_end = FrontEnd(spec)
    noise = sounds(spec.sr)["noise"]
    # With the frame complete, and what its slowest scale looks at behind its middle.
    middle = spec.frame_length // 2
    needed = max(spec.frame_length, middle + int(latency_samples(spec).max()) + 1) - spec.lead
    assert front_end.latency_samples == needed
    assert len(front_end.push({"s": noise[: needed - 1]})["s"].values) == 0
    assert len(front_end.push({"s": noise[needed - 1 : needed]})["s"].values) == 1
    assert len(front_end.push({"s": noise[needed : needed + spec.hop_length - 1]})["s"].values) == 0
    assert len(front_end.push({"s": noise[:1]})["s"].values) == 1


@pytest.mark.parametrize("spec", SPECS, ids=IDS)
def test_a_scale_looks_no_further_than_its_latency(spec: FrontEndSpec) -> None:
    sound = sounds(spec.sr)["noise"]
    frame = 20
    middle = spec.frame_span(frame)[0] + spec.frame_length // 2
    before = wavelet_coefficients(spec, sound)[frame]
    for place, reach in enumerate(latency_samples(spec).tolist()):
        for ahead, changes in ((reach + 1, False), (reach, True)):
            other = sound.copy()
            other[middle + ahead] += np.float32(1e6)
            assert (wavelet_coefficients(spec, other)[frame, place] != before[place]) == changes
        if place > 3:
            break


def test_a_signal_shorter_than_a_frame_has_no_coefficients() -> None:
    assert wavelet_coefficients(SPECS[0], np.ones(100, np.float32)).shape == (0, SPECS[0].dims)


def test_other_features_beside_it_change_nothing() -> None:
    spec = SPECS[0]
    sound = sounds(16000)["sweep"]
    beside = FrontEndSpec(feature=("log_mel", "cwt"), cwt_fmin=62.5, cwt_fmax=8000.0, voices_per_octave=4)
    assert_same(compute(beside, sound)[:, beside.columns["cwt"]], compute(spec, sound))
    np.testing.assert_array_equal(compute(beside, sound)[:, :64], compute(FrontEndSpec(), sound))


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ({"cwt_fmax": 9000.0}, "cwt_fmax is 9000; valid: .* nearest 8000"),
        ({"cwt_fmax": 0.0}, "cwt_fmax is 0; valid: .* nearest 1.954"),
        ({"cwt_fmin": 0.0}, "cwt_fmin is 0; valid: 1.954 to 4000 .* nearest 1.954"),
        ({"cwt_fmin": 0.1, "wavelet": "mexican_hat"}, "nearest 0.489"),
        ({"cwt_fmin": 5000.0}, "cwt_fmin is 5000; valid: .* nearest 4000"),
        ({"voices_per_octave": 0}, "voices_per_octave is 0; valid: 1 to 48, nearest 1"),
        ({"voices_per_octave": 1000}, "voices_per_octave is 1000; .* nearest 48"),
    ],
)
def test_options_that_cannot_work_are_refused_with_the_nearest_that_do(options: dict[str, float], line: str) -> None:
    with pytest.raises(EarwitnessError, match=line):
        FrontEndSpec(feature="cwt", **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("wavelet", ["morlet", "mexican_hat"])
def test_the_longest_wavelet_that_is_allowed_works(wavelet: str) -> None:
    lowest = {"morlet": 1.954, "mexican_hat": 0.489}[wavelet]
    spec = FrontEndSpec(feature="cwt", wavelet=wavelet, cwt_fmin=lowest, cwt_fmax=lowest, voices_per_octave=1)
    assert spec.dims == 1
    values = compute(spec, np.ones(1000, np.float32))
    assert np.isfinite(values).all()
    assert FrontEnd(spec).bytes_per_stream < 4 * (1 << 17) + 10_000_000
