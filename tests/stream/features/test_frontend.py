"""A front end in a stream gives the bits of the front end in one go, and both give librosa's numbers."""

from __future__ import annotations

import sys
import tracemalloc
from types import FrameType
from typing import Any

import librosa
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from earwitness.stream.features import slots
from earwitness.stream.features.frontend import LOUDEST, FrontEnd, FrontEndSpec, Ready, clean, compute

from .stepwise import stepwise

Samples = NDArray[np.float32]

SPECS = [
    FrontEndSpec(),
    FrontEndSpec(center=True),
    FrontEndSpec(n_mels=37, fmin=0.0, power=1.0, htk=True, norm="none", log="ln", log_offset=0.001),
    FrontEndSpec(sr=22050, n_fft=999, win_length=700, hop_length=333, n_mels=40, fmax=11025.0, window="hamming"),
    FrontEndSpec(feature="waveform"),
]
NAMES = ["default", "centred", "magnitude", "odd", "waveform"]


def sounds(sr: int) -> dict[str, Samples]:
    """Two seconds each of what a front end may meet."""
    rng = np.random.default_rng(1)
    seconds = np.arange(2 * sr) / sr
    made = {
        "noise": 0.1 * rng.standard_normal(len(seconds)),
        "loud": np.clip(3.0 * rng.standard_normal(len(seconds)), -1.0, 1.0),
        "sweep": 0.5 * np.sin(2 * np.pi * (50.0 + sr / 8 * seconds) * seconds)
        + 1e-3 * rng.standard_normal(len(seconds)),
        "impulse": np.eye(1, len(seconds), 9000)[0],
        "silence": np.zeros(len(seconds)),
        "denormal": np.full(len(seconds), 1e-42),
        "constant": np.full(len(seconds), 0.25),
    }
    return {name: sound.astype(np.float32) for name, sound in made.items()}


def reference(spec: FrontEndSpec, samples: Samples) -> NDArray[np.float64]:
    """The mel spectrum by librosa in double precision, `[frames, n_mels]`, before the logarithm."""
    options: dict[str, Any] = {"htk": spec.htk, "norm": None if spec.norm == "none" else spec.norm, "dtype": np.float64}
    mels = librosa.feature.melspectrogram(
        y=samples.astype(np.float64), sr=spec.sr, n_fft=spec.n_fft, win_length=spec.win_length,
        hop_length=spec.hop_length, window=spec.window, center=spec.center, power=spec.power, n_mels=spec.n_mels,
        fmin=spec.fmin, fmax=spec.fmax, **options,
    )  # fmt: skip
    return mels.T


@pytest.mark.parametrize("kind", ["noise", "loud", "sweep", "impulse", "silence", "denormal", "constant"])
@pytest.mark.parametrize("spec", SPECS[:4], ids=NAMES[:4])
def test_values_are_librosas(spec: FrontEndSpec, kind: str) -> None:
    samples = sounds(spec.sr)[kind]
    ours, mels = compute(spec, samples), reference(spec, samples)
    assert ours.dtype == np.float32
    assert ours.shape == mels.shape
    assert np.isfinite(ours).all()
    # Back from the logarithm, in double precision. Single precision rounds at 1e-5 of a band, and at 1e-7 of the
    # amplitude of the whole frame: a band 60 dB below the loudest one is still good to 1e-4.
    if spec.log == "db":
        linear, floor = 10.0 ** (ours.astype(np.float64) / 10.0), spec.amin
    else:
        linear, floor = np.exp(ours.astype(np.float64)) - spec.log_offset, 0.0
    rounding = 1e-5 * np.maximum(mels, floor) + 1e-6 * spec.log_offset
    leak = 3e-7 * mels.max(axis=1, keepdims=True) ** (1.0 / spec.power)
    amplitude = np.maximum(mels, floor) ** (1.0 / spec.power)
    tolerance = rounding + np.maximum((amplitude + leak) ** spec.power - amplitude**spec.power, 0.0)
    worst = np.max(np.abs(linear - np.maximum(mels, floor)) / np.maximum(tolerance, 1e-300))
    assert worst <= 1.0


@pytest.mark.parametrize("spec", SPECS[:4], ids=NAMES[:4])
def test_noise_agrees_with_librosa_to_a_hundred_thousandth(spec: FrontEndSpec) -> None:
    samples = sounds(spec.sr)["noise"]
    mels = reference(spec, samples)
    if spec.log == "db":
        np.testing.assert_allclose(compute(spec, samples), 10 * np.log10(mels), atol=1e-4)  # dB
        np.testing.assert_allclose(10.0 ** (compute(spec, samples).astype(np.float64) / 10), mels, rtol=1e-5)
    else:
        np.testing.assert_allclose(compute(spec, samples), np.log(mels + spec.log_offset), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("spec", SPECS, ids=NAMES)
@pytest.mark.parametrize("size", [1, 7, 159, 160, 161, 333, 2053, 100_000])
def test_block_sizes_do_not_change_a_bit(spec: FrontEndSpec, size: int) -> None:
    samples = sounds(spec.sr)["sweep"][: 3000 if size == 1 else 30_000]
    np.testing.assert_array_equal(stepwise(spec, samples, [size]), compute(spec, samples))


@pytest.mark.parametrize("spec", SPECS, ids=NAMES)
@settings(deadline=None, max_examples=30)
@given(length=st.integers(0, 25_000), sizes=st.lists(st.integers(0, 5000), min_size=1, max_size=20).filter(any))
def test_random_cuts_do_not_change_a_bit(spec: FrontEndSpec, length: int, sizes: list[int]) -> None:
    samples = sounds(spec.sr)["noise"][:length]
    np.testing.assert_array_equal(stepwise(spec, samples, sizes), compute(spec, samples))


@pytest.mark.parametrize("spec", SPECS, ids=NAMES)
@settings(deadline=None, max_examples=30)
@given(data=st.data())
def test_streams_out_of_step_do_not_touch_each_other(spec: FrontEndSpec, data: st.DataObject) -> None:
    """Streams join, pause, end, begin anew and leave in any order; each segment is what it would be alone."""
    front_end, noise = FrontEnd(spec), sounds(spec.sr)["noise"]
    heard: dict[str, list[Samples]] = {}
    got: dict[str, list[Samples]] = {}

    def check(name: str, tail: Samples | None) -> None:
        parts, frames = heard.pop(name, []), got.pop(name, [])
        alone = compute(spec, np.concatenate([*parts, np.empty(0, np.float32)]))
        frames += [np.empty((0, spec.dims), np.float32)] + ([] if tail is None else [tail])
        together = np.concatenate(frames)
        np.testing.assert_array_equal(together, alone[: len(together)])
        assert tail is None or len(together) == len(alone)

    for _ in range(data.draw(st.integers(1, 12))):
        chosen = data.draw(st.sets(st.sampled_from("abcdef"), max_size=6))
        blocks = {}
        for name in sorted(chosen):
            start, size = data.draw(st.integers(0, 9000)), data.draw(st.integers(0, 3000))
            blocks[name] = noise[start : start + size]
            heard.setdefault(name, []).append(blocks[name])
        pushed = front_end.push(blocks)
        assert list(pushed) == list(blocks)
        for name, frames in pushed.items():
            assert frames.first_frame == sum(map(len, got.get(name, [])))
            got.setdefault(name, []).append(frames.values)
        ending = data.draw(st.sampled_from(["none", "none", "flush", "reset"]))
        if ending != "none" and heard:
            name = data.draw(st.sampled_from(sorted(heard)))
            if ending == "flush":
                check(name, front_end.flush(name).values)
            else:
                front_end.reset(name)
                check(name, None)
    for name in list(heard):
        check(name, front_end.flush(name).values)


@pytest.mark.parametrize("spec", SPECS[:4], ids=NAMES[:4])
def test_a_frame_has_the_same_bits_at_every_place_of_a_batch(spec: FrontEndSpec) -> None:
    """The mel product must not round by position, as BLAS does: 300 copies of one frame, each in another row."""
    frame = sounds(spec.sr)["noise"][: spec.n_fft]
    blocks = {str(number): np.roll(frame, number % 2) for number in range(300)}
    values = [frames.values for frames in FrontEnd(spec).push(blocks).values()]
    for even in values[2::2]:
        np.testing.assert_array_equal(even, values[0])


@pytest.mark.parametrize("pad_mode", ["constant", "reflect", "edge"])
@pytest.mark.parametrize("size", [1, 100, 160, 257, 5000])
def test_edges_are_padded_as_librosa_pads_them(pad_mode: Any, size: int) -> None:
    spec = FrontEndSpec(center=True, pad_mode=pad_mode)
    samples = sounds(spec.sr)["noise"][:3000]
    mels = librosa.feature.melspectrogram(
        y=samples.astype(np.float64), sr=16000, n_fft=512, hop_length=160, win_length=400, pad_mode=pad_mode,
        n_mels=64, fmin=50.0, fmax=8000.0,
    )  # fmt: skip
    theirs = 10 * np.log10(mels).T
    np.testing.assert_allclose(stepwise(spec, samples, [size]), theirs, atol=2e-4)
    np.testing.assert_array_equal(stepwise(spec, samples, [size]), compute(spec, samples))


@pytest.mark.parametrize("pad_mode", ["constant", "reflect", "edge"])
@pytest.mark.parametrize("length", [1, 2, 100, 256, 257, 400, 513])
def test_a_sound_shorter_than_its_padding_has_the_frames_that_are_promised(pad_mode: Any, length: int) -> None:
    spec, samples = FrontEndSpec(center=True, pad_mode=pad_mode), sounds(16000)["noise"][:length]
    assert len(compute(spec, samples)) == spec.frames_of(length)
    np.testing.assert_array_equal(stepwise(spec, samples, [7]), compute(spec, samples))


def test_a_frame_holds_the_features_side_by_side_in_the_order_that_they_are_named() -> None:
    together = FrontEndSpec(feature=("stft_db", "log_mel", "mel"))
    samples = sounds(16000)["noise"]
    values = compute(together, samples)
    assert values.shape[1] == together.dims == 257 + 64 + 64
    for name, columns in together.columns.items():
        np.testing.assert_array_equal(values[:, columns], compute(FrontEndSpec(feature=name), samples))


STATES = [*SPECS, FrontEndSpec(center=True, pad_mode="reflect"), FrontEndSpec(feature=("log_mel", "stft_db"))]


@pytest.mark.parametrize("spec", STATES, ids=[*NAMES, "reflect", "two"])
@pytest.mark.parametrize("cut", [0, 1, 100, 300, 5000])
def test_a_stream_goes_on_from_a_state_in_another_front_end(spec: FrontEndSpec, cut: int) -> None:
    samples = sounds(spec.sr)["sweep"][:12_000]
    first, second = FrontEnd(spec), FrontEnd(spec)
    assert first.state("s") is None
    second.push({"other": samples[:999], "s": samples[:5]})  # what is there of the name gives way
    before = first.push({"other": samples[:50], "s": samples[:cut]})["s"].values
    state = first.state("s")
    assert state is not None
    first.push({"s": samples[:777]})  # the state is a copy
    second.restore("s", state)
    after, tail = second.push({"s": samples[cut:]})["s"], second.flush("s")
    assert after.first_frame == len(before)
    np.testing.assert_array_equal(np.concatenate((before, after.values, tail.values)), compute(spec, samples))


@pytest.fixture(params=["compiled", "numpy"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks are laid in their places by the kernel, and by numpy where there is none."""
    if request.param == "numpy":
        monkeypatch.setattr(slots, "COMPILED", False)


@pytest.mark.usefixtures("way")
def test_a_thousand_streams_out_of_step_are_each_what_they_are_alone() -> None:
    spec, rng, noise = FrontEndSpec(), np.random.default_rng(9), sounds(16000)["noise"]
    front_end = FrontEnd(spec)
    starts = {str(number): int(rng.integers(0, 20_000)) for number in range(1000)}
    at, got = dict(starts), {name: [] for name in starts}
    for turn in range(8):
        chosen = [name for name in starts if turn < 2 or rng.random() < 0.7]
        size = 160 if turn % 2 else 0
        blocks = {name: noise[at[name] : at[name] + (size or int(rng.integers(0, 700)))] for name in chosen}
        for name, frames in front_end.push(blocks).items():
            assert frames.first_frame == sum(map(len, got[name]))
            got[name].append(frames.values)
            at[name] += len(blocks[name])
    for name in ("0", "17", "400", "999"):
        alone = compute(spec, noise[starts[name] : at[name]])
        np.testing.assert_array_equal(np.concatenate(got[name]), alone)


def test_all_streams_are_there_at_once_in_few_arrays() -> None:
    front_end, noise = FrontEnd(FrontEndSpec()), sounds(16000)["noise"]
    lengths = {"a": 512, "b": 672, "c": 100, "d": 512}
    ready = front_end.push({name: noise[:length] for name, length in lengths.items()})
    assert isinstance(ready, Ready)
    assert (list(ready), len(ready), ready.first_frames.tolist()) == (list("abcd"), 4, [0, 0, 0, 0])
    found = {}
    for streams, values in ready.groups:
        assert streams is not None
        for stream, frames in zip(streams, values, strict=True):
            found[ready.names[stream]] = frames
    assert set(found) == set("abd"), "a stream without a frame is in no group"
    for name, frames in found.items():
        np.testing.assert_array_equal(frames, ready[name].values)
    assert ready["c"].values.shape == (0, 64)
    together = front_end.push({name: noise[:160] for name in "ad"})
    assert isinstance(together, Ready)
    ((streams, values),) = together.groups
    assert streams is None
    assert values.shape == (2, 1, 64)
    with pytest.raises(KeyError):
        together["b"]


def test_a_tone_lands_in_its_band_and_twice_the_gain_is_six_decibels() -> None:
    spec, seconds = FrontEndSpec(), np.arange(16000) / 16000
    centres = librosa.mel_frequencies(spec.n_mels + 2, fmin=spec.fmin, fmax=spec.fmax)[1:-1]
    for band in (20, 40, 60):
        tone = (0.25 * np.sin(2 * np.pi * centres[band] * seconds)).astype(np.float32)
        levels = compute(spec, tone)
        assert set(levels.argmax(axis=1).tolist()) == {band}
        louder = compute(spec, 2 * tone)
        np.testing.assert_allclose((louder - levels)[:, band], 20 * np.log10(2), atol=1e-4)


def test_frames_come_as_soon_as_their_last_sample_is_there() -> None:
    for spec in SPECS:
        front_end, noise = FrontEnd(spec), sounds(spec.sr)["noise"]
        frame = 5
        needed = frame * spec.hop_length + spec.latency_samples
        assert front_end.latency_samples == spec.latency_samples
        assert needed == spec.frame_span(frame)[1]
        assert len(front_end.push({"s": noise[: needed - 1]})["s"].values) == frame
        assert len(front_end.push({"s": noise[needed - 1 : needed]})["s"].values) == 1


def test_what_is_kept_does_not_grow_and_blocks_are_not_held() -> None:
    front_end, block = FrontEnd(FrontEndSpec()), np.zeros(320, np.float32)
    front_end.push({"s": np.zeros(1_000_000, np.float32)})
    tracemalloc.start()
    try:
        for _ in range(200):
            front_end.push({"s": block})
        before = tracemalloc.get_traced_memory()[0]
        for _ in range(2000):
            front_end.push({"s": block})
        assert tracemalloc.get_traced_memory()[0] - before < 20_000
    finally:
        tracemalloc.stop()


def calls_of(front_end: FrontEnd, blocks: dict[str, Samples]) -> int:
    """How many calls a push makes, of Python functions and from them."""
    calls = 0

    def count(frame: FrameType, event: str, argument: object) -> None:
        nonlocal calls
        calls += event in ("call", "c_call")

    sys.setprofile(count)
    try:
        front_end.push(blocks)
    finally:
        sys.setprofile(None)
    return calls


def test_a_push_makes_as_many_calls_for_many_streams_as_for_two_and_at_any_age() -> None:
    def young_and_old(streams: int) -> tuple[int, int]:
        front_end = FrontEnd(FrontEndSpec())
        blocks = {str(number): np.zeros(160, np.float32) for number in range(streams)}
        for _ in range(8):
            front_end.push(blocks)
        young = calls_of(front_end, blocks)
        for _ in range(1000):
            front_end.push(blocks)
        return young, calls_of(front_end, blocks)

    two, many = young_and_old(2), young_and_old(200)
    assert two[0] == two[1] == many[0] == many[1]
    assert two[0] < 200


def test_a_block_of_another_kind_is_a_bug_of_the_caller() -> None:
    front_end = FrontEnd(FrontEndSpec())
    with pytest.raises(TypeError, match="float64"):
        front_end.push({"s": np.zeros(10)})  # type: ignore[dict-item]
    with pytest.raises(TypeError, match=r"\[10, 2\]"):
        front_end.push({"s": np.zeros((10, 2), np.float32)})


def test_a_sound_that_is_clean_is_handed_back_as_it_is() -> None:
    samples = sounds(16000)["loud"]
    same, count = clean(samples)
    assert same is samples
    assert count == 0
    assert clean(np.empty(0, np.float32))[1] == 0


@settings(deadline=None)
@given(data=st.data())
def test_what_is_no_sound_becomes_silence_and_is_counted(data: st.DataObject) -> None:
    shape = data.draw(st.sampled_from([(300,), (150, 2)]))
    samples = np.full(shape, 0.5, np.float32)
    places = data.draw(st.sets(st.integers(0, 299), min_size=1, max_size=20))
    for place in places:
        samples.flat[place] = data.draw(st.sampled_from([np.nan, np.inf, -np.inf, 3e38, -LOUDEST]))
    mended, count = clean(samples)
    assert count == len(places)
    assert mended.dtype == np.float32
    assert mended.shape == shape
    assert np.flatnonzero(mended.reshape(-1) == 0).tolist() == sorted(places)
    assert np.count_nonzero(~(samples == 0.5)) == len(places), "the original must not change"
    assert np.isfinite(
        compute(FrontEndSpec(n_fft=64, win_length=64, hop_length=32, n_mels=4), mended.reshape(-1))
    ).all()


def test_many_large_but_good_samples_are_kept() -> None:
    samples = np.full(100_000, LOUDEST / 2, np.float32)
    kept, count = clean(samples)
    assert count == 0
    assert kept is samples
    assert np.isfinite(compute(FrontEndSpec(), samples)).all()
