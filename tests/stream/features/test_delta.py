"""Deltas are librosa's, although they come frame by frame, half a window late."""

from __future__ import annotations

from collections.abc import Callable

import librosa
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from earwitness.stream.errors import EarwitnessError
from earwitness.stream.features.delta import Deltas, delta, parse_delta
from earwitness.stream.features.frontend import FrontEnd, FrontEndSpec, compute, silence

Samples = NDArray[np.float32]
Sound = Callable[[str, int], Samples]
Stepwise = Callable[[FrontEndSpec, Samples, list[int]], Samples]

KINDS = ["noise", "sweep", "speech", "silence", "impulse", "clipped", "denormal", "constant"]
SPEC = FrontEndSpec(feature=("mfcc", "mfcc_delta", "mfcc_delta2"))
MIXED = FrontEndSpec(feature=("pcen_delta2", "log_mel", "pcen", "log_mel_delta"), delta_width=5, n_mels=20)


@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("width", [3, 5, 9, 21])
@pytest.mark.parametrize("frames", [21, 22, 100])
def test_a_whole_signals_deltas_are_librosas(frames: int, width: int, order: int) -> None:
    values = (100 * np.random.default_rng(3).standard_normal((frames, 7))).astype(np.float32)
    theirs = librosa.feature.delta(values.T.astype(np.float64), width=width, order=order, mode="interp").T
    np.testing.assert_allclose(delta(values, width, order), theirs, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("order", [1, 2])
def test_where_librosa_refuses_one_polynomial_is_fitted_to_the_frames_there_are(order: int) -> None:
    values = np.random.default_rng(3).standard_normal((8, 3)).astype(np.float32)
    for count in range(9):
        ours = delta(values[:count], 9, order)
        assert ours.shape == (count, 3)
        if count <= order:
            assert not ours.any()
            continue
        leading = np.polynomial.polynomial.polyfit(np.arange(count), values[:count].astype(np.float64), order)[order]
        np.testing.assert_allclose(ours, np.tile(order * leading, (count, 1)), rtol=1e-4, atol=1e-6)


def test_a_line_has_its_slope_and_a_constant_exactly_none() -> None:
    line = 3.0 * np.arange(30, dtype=np.float32)[:, None]
    np.testing.assert_allclose(delta(line, 9, 1), 3.0, rtol=1e-6)
    np.testing.assert_allclose(delta(line * line / 9.0, 9, 2), 2.0, rtol=1e-5)
    for order in (1, 2):
        for count in (4, 30):
            assert not delta(np.full((count, 2), -99.7, np.float32), 9, order).any()


@pytest.mark.parametrize("kind", KINDS)
def test_deltas_of_a_front_end_are_librosas(sound: Sound, kind: str) -> None:
    values = compute(SPEC, sound(kind, 16000))
    frames = values[:, SPEC.columns["mfcc"]].T.astype(np.float64)
    for order, name in ((1, "mfcc_delta"), (2, "mfcc_delta2")):
        theirs = librosa.feature.delta(frames, order=order).T
        np.testing.assert_allclose(values[:, SPEC.columns[name]], theirs, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("spec", [SPEC, MIXED], ids=["mfcc", "mixed"])
@pytest.mark.parametrize("size", [1, 7, 160, 161, 2053, 100_000])
def test_block_sizes_do_not_change_a_bit(sound: Sound, stepwise: Stepwise, spec: FrontEndSpec, size: int) -> None:
    samples = sound("speech", 16000)[: 3000 if size == 1 else 32_000]
    whole = compute(spec, samples)
    np.testing.assert_array_equal(stepwise(spec, samples, [size]), whole)
    plain = FrontEndSpec(feature=("pcen", "log_mel"), n_mels=20) if spec is MIXED else FrontEndSpec(feature="mfcc")
    base = compute(plain, samples)
    for name, columns in spec.columns.items():
        computed, order = parse_delta(name)
        values = base[:, plain.columns[computed]]
        expected = delta(values, spec.delta_width, order) if order else values
        np.testing.assert_array_equal(whole[:, columns], expected)


@settings(deadline=None, max_examples=30)
@given(length=st.integers(0, 12_000), sizes=st.lists(st.integers(0, 3000), min_size=1, max_size=12).filter(any))
def test_random_cuts_do_not_change_a_bit(sound: Sound, stepwise: Stepwise, length: int, sizes: list[int]) -> None:
    samples = sound("noise", 16000)[:length]
    for spec in (SPEC, MIXED):
        assert len(compute(spec, samples)) == spec.frames_of(length)
        np.testing.assert_array_equal(stepwise(spec, samples, sizes), compute(spec, samples))


@settings(deadline=None, max_examples=30)
@given(data=st.data())
def test_streams_out_of_step_do_not_touch_each_other(sound: Sound, data: st.DataObject) -> None:
    """Streams join, pause, end, begin anew and are carried over in any order; each is what it would be alone."""
    noise = sound("noise", 16000)
    front_end, heard, got = FrontEnd(SPEC), dict[str, list[Samples]](), dict[str, list[Samples]]()
    for _ in range(data.draw(st.integers(1, 15))):
        blocks = {}
        for name in sorted(data.draw(st.sets(st.sampled_from("abcd")))):
            start, size = data.draw(st.integers(0, 9000)), data.draw(st.integers(0, 1500))
            blocks[name] = noise[start : start + size]
            heard.setdefault(name, []).append(blocks[name])
        for name, frames in front_end.push(blocks).items():
            assert frames.first_frame == sum(map(len, got.get(name, [])))
            got.setdefault(name, []).append(frames.values)
        name, act = data.draw(st.sampled_from("abcd")), data.draw(st.sampled_from(["flush", "reset", "move", "none"]))
        if act == "move" and (state := front_end.state(name)) is not None:
            front_end.restore(name, state)
        elif act == "reset":
            front_end.reset(name)
            heard.pop(name, None), got.pop(name, None)
        elif act == "flush":
            last = front_end.flush(name).values
            assert front_end.state(name) is None
            if name in heard:
                alone = compute(SPEC, np.concatenate(heard.pop(name)))
                np.testing.assert_array_equal(np.concatenate([*got.pop(name), last]), alone)
    for name, parts in heard.items():
        alone, together = compute(SPEC, np.concatenate(parts)), np.concatenate(got[name])
        np.testing.assert_array_equal(together, alone[: len(together)])


def test_a_stream_goes_on_elsewhere_from_its_state(sound: Sound) -> None:
    noise = sound("noise", 16000)
    for cut in (0, 300, 1000, 1700, 8000):
        first, second = FrontEnd(SPEC), FrontEnd(SPEC)
        before = first.push({"s": noise[:cut]})["s"].values
        state = first.state("s")
        assert state is not None
        first.push({"s": noise[cut : cut + 900]})  # does not reach into the copy
        second.restore("t", state)
        after = second.push({"t": noise[cut:16000]})["t"].values, second.flush("t").values
        np.testing.assert_array_equal(np.concatenate((before, *after)), compute(SPEC, noise[:16000]))


def test_a_frame_is_out_half_a_window_late_and_the_first_ones_with_the_one_after_them(sound: Sound) -> None:
    noise, spec = sound("noise", 16000), FrontEndSpec(feature=("log_mel", "log_mel_delta"), delta_width=7)
    assert spec.latency_samples == spec.n_fft + 3 * spec.hop_length
    front_end = FrontEnd(spec)
    needed = 3 * spec.hop_length + spec.latency_samples
    assert len(front_end.push({"s": noise[: needed - 1]})["s"].values) == 0
    opening = front_end.push({"s": noise[needed - 1 : needed]})["s"]
    assert (opening.first_frame, len(opening.values)) == (0, 4)
    for frame in range(4, 12):
        start, end = needed + (frame - 4) * spec.hop_length, needed + (frame - 3) * spec.hop_length
        assert len(front_end.push({"s": noise[start : end - 1]})["s"].values) == 0
        frames = front_end.push({"s": noise[end - 1 : end]})["s"]
        assert (frames.first_frame, len(frames.values)) == (frame, 1)
    last = front_end.flush("s")
    assert (last.first_frame, len(last.values)) == (12, 3)


def test_a_segment_of_no_frames_ends_quietly() -> None:
    front_end = FrontEnd(SPEC)
    front_end.push({"s": np.zeros(100, np.float32)})
    assert front_end.flush("s").values.shape == (0, SPEC.dims)
    assert front_end.flush("never heard").values.shape == (0, SPEC.dims)


def test_silence_has_no_deltas() -> None:
    frame = silence(FrontEndSpec(feature=("mfcc", "mfcc_delta")))
    np.testing.assert_allclose(frame[0], -100.0 * np.sqrt(64), rtol=1e-6)
    assert frame.shape == (40,)
    assert not frame[20:].any()


def test_what_is_kept_is_bounded() -> None:
    deltas, values = Deltas(9, [(slice(0, 5), 0), (slice(0, 5), 1)]), np.zeros((1000, 5), np.float32)
    for turn in range(3):
        deltas.push({"s": (1000 * turn, values)})
    state = deltas.state("s")
    assert state is not None
    assert state.frames.nbytes == deltas.bytes_per_stream(5)
    assert not np.shares_memory(state.frames, values)


@pytest.mark.parametrize(("width", "nearest"), [(1, 3), (4, 5), (0, 3), (-3, 3)])
def test_a_width_that_cannot_work_is_refused_with_one_that_does(width: int, nearest: int) -> None:
    with pytest.raises(
        EarwitnessError, match=f"delta_width is {width}; it must be odd and at least 3, nearest {nearest}"
    ):
        FrontEndSpec(feature="mfcc_delta", delta_width=width)


def test_an_unknown_delta_is_refused_by_name() -> None:
    with pytest.raises(EarwitnessError, match="unknown feature 'mfc_delta'"):
        FrontEndSpec(feature="mfc_delta")
