"""Levels are those of a sound level meter, and the same bits in a stream as in one go."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.signal import lfilter

from earwitness.stream.errors import EarwitnessError
from earwitness.stream.features.frontend import FrontEnd, FrontEndSpec, compute
from earwitness.stream.features.weighting import Curve, Weighting

Samples = NDArray[np.float32]

LEVELS = ("laeq", "lceq", "lzeq", "laf", "las", "lcf", "lcs", "lzf", "lzs")
ALL = FrontEndSpec(feature=LEVELS)
SPECS = {
    "default": ALL,
    "centred": FrontEndSpec(feature=LEVELS, center=True),
    "hop is the frame": FrontEndSpec(feature=LEVELS, n_fft=512, win_length=500, hop_length=500, pad_window="end"),
    "long hop": FrontEndSpec(feature=LEVELS, sr=8_000, n_fft=4096, win_length=4096, hop_length=2011),
    "48 kHz": FrontEndSpec(feature=LEVELS, sr=48_000, n_fft=2048, win_length=2048, hop_length=480),
}


def sounds(sr: int) -> dict[str, Samples]:
    rng, seconds = np.random.default_rng(1), np.arange(sr) / sr
    made = {
        "noise": 0.1 * rng.standard_normal(sr),
        "sweep": 0.5 * np.sin(2 * np.pi * (20 + sr / 5 * seconds) * seconds),
        "clipped": np.clip(3 * rng.standard_normal(sr), -1, 1),
        "impulse": np.eye(1, sr, sr // 3)[0],
        "silence": np.zeros(sr),
        "denormal": np.full(sr, 1e-42),
        "constant": np.full(sr, 0.25),
    }
    return {name: sound.astype(np.float32) for name, sound in made.items()}


def tone(hz: float, sr: int, seconds: float, rms_db: float) -> Samples:
    wave = np.sin(2 * np.pi * hz * np.arange(round(seconds * sr)) / sr)
    return (np.sqrt(2) * 10 ** (rms_db / 20) * wave).astype(np.float32)


def stepwise(spec: FrontEndSpec, samples: Samples, sizes: list[int]) -> Samples:
    """The frames of one stream in blocks of `sizes`, taken in turn, between two that are not in step with it."""
    front_end, parts, start, turn = FrontEnd(spec), [], 0, 0
    front_end.push({"before": samples[:999]})
    while start < len(samples):
        block = samples[start : start + sizes[turn % len(sizes)]]
        parts.append(front_end.push({"before": block, "x": block, f"new {turn}": block})["x"].values)
        front_end.reset(f"new {turn}")
        start, turn = start + len(block), turn + 1
    return np.concatenate([*parts, front_end.flush("x").values])


def plainly(spec: FrontEndSpec, samples: Samples) -> dict[str, NDArray[np.float64]]:
    """All levels by scipy, with the weighting filter sample by sample."""
    padded, found = np.pad(samples.astype(np.float64), spec.lead), {}
    ends = [first + spec.frame_length for first in range(0, len(padded) - spec.frame_length + 1, spec.hop_length)]
    curves: tuple[Curve, ...] = ("A", "C", "Z")
    for curve in curves:
        weighting, weighted = Weighting(curve, spec.sr), padded
        if curve != "Z":
            weighted = lfilter(weighting._taps, 1.0, weighted)
            for pole in weighting._poles:
                weighted = lfilter([1.0, -1.0] if pole.high_pass else [1 - pole.at], [1.0, -pole.at], weighted)
        squares, name = weighted**2, f"l{curve.lower()}"
        found[f"{name}eq"] = np.array([squares[end - spec.frame_length : end].mean() for end in ends])
        for letter, tau in (("f", 0.125), ("s", 1.0)):
            keep = np.exp(-1 / (spec.sr * tau))
            found[name + letter] = lfilter([1 - keep], [1.0, -keep], squares)[np.array(ends) - 1]
    return {name: 10 * np.log10(np.maximum(square, 1e-12)) + spec.calibration_db for name, square in found.items()}


@pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)
def test_levels_are_those_of_a_plain_loop_over_the_samples(spec: FrontEndSpec) -> None:
    for sound, samples in sounds(spec.sr).items():
        found, wanted = compute(spec, samples), plainly(spec, samples)
        for column, name in enumerate(LEVELS):
            np.testing.assert_allclose(found[:, column], wanted[name], atol=2e-4, err_msg=f"{name} of {sound}")


@pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)
@pytest.mark.parametrize("size", [7, "hop", "hop + 1", 1009, "whole"])
def test_block_sizes_do_not_change_a_bit(spec: FrontEndSpec, size: int | str) -> None:
    named = {"hop": spec.hop_length, "hop + 1": spec.hop_length + 1, "whole": spec.sr}
    samples = sounds(spec.sr)["noise"][: 4_000 if size == 7 else None]
    sizes = [named[size] if isinstance(size, str) else size]
    np.testing.assert_array_equal(stepwise(spec, samples, sizes), compute(spec, samples))


def test_sample_by_sample_does_not_change_a_bit() -> None:
    samples = sounds(16_000)["sweep"][:1500]
    np.testing.assert_array_equal(stepwise(ALL, samples, [1]), compute(ALL, samples))


@settings(max_examples=10, deadline=None)
@given(st.lists(st.integers(50, 3000), min_size=1, max_size=8))
def test_random_block_sizes_do_not_change_a_bit(sizes: list[int]) -> None:
    samples = sounds(16_000)["clipped"][:6000]
    np.testing.assert_array_equal(stepwise(ALL, samples, sizes), compute(ALL, samples))


def test_many_streams_in_one_push_are_each_as_if_alone() -> None:
    samples = {str(n): (np.random.default_rng(n).standard_normal(4_000) / 9).astype(np.float32) for n in range(150)}
    front_end = FrontEnd(ALL)
    found = front_end.push(samples)
    for name in ("0", "77", "149"):
        np.testing.assert_array_equal(found[name].values, compute(ALL, samples[name]))


def test_a_level_is_the_same_bits_whatever_stands_beside_it() -> None:
    samples = sounds(16_000)["noise"]
    together = compute(FrontEndSpec(feature=("rms", *LEVELS[::-1])), samples)
    for column, name in enumerate(LEVELS[::-1], 1):
        np.testing.assert_array_equal(together[:, column], compute(FrontEndSpec(feature=name), samples)[:, 0])


def test_a_stream_goes_on_from_its_state() -> None:
    samples = sounds(16_000)["noise"]
    first, second = FrontEnd(ALL), FrontEnd(ALL)
    begin = first.push({"x": samples[:5001]})["x"].values
    state = first.state("x")
    assert state is not None
    second.restore("x", state)
    end = second.push({"x": samples[5001:]})["x"].values
    np.testing.assert_array_equal(np.concatenate((begin, end)), compute(ALL, samples))


def test_after_a_reset_nothing_of_the_old_sound_is_left() -> None:
    front_end = FrontEnd(ALL)
    front_end.push({"x": sounds(16_000)["clipped"]})
    front_end.reset("x")
    quiet = tone(300, 16_000, 0.5, -70)
    np.testing.assert_array_equal(front_end.push({"x": quiet})["x"].values, compute(ALL, quiet))


@pytest.mark.parametrize("sr", [8_000, 11_025, 16_000, 44_100, 48_000, 96_000, 192_000])
def test_a_calibrated_tone_of_94_db_at_1_khz_reads_94(sr: int) -> None:
    """With A, C and Z, as mean and with both time weightings, once they have settled."""
    spec = FrontEndSpec(feature=LEVELS, sr=sr, n_fft=sr, win_length=sr // 5, hop_length=sr // 10, calibration_db=121.4)
    np.testing.assert_allclose(compute(spec, tone(1000, sr, 8.0, 94 - 121.4))[-1], 94.0, atol=0.01)


def test_a_full_scale_tone_is_three_decibels_below_full_scale() -> None:
    spec = FrontEndSpec(feature="laeq", n_fft=16_000, win_length=16_000, hop_length=16_000)
    assert compute(spec, tone(1000, 16_000, 3.0, -3.0103))[-1, 0] == pytest.approx(-3.01, abs=0.01)


@pytest.mark.parametrize(("hz", "a", "c"), [(100, -19.1, -0.3), (1000, 0.0, 0.0), (6300, -0.1, -2.0)])
def test_a_tone_is_weighted_by_its_frequency(hz: float, a: float, c: float) -> None:
    spec = FrontEndSpec(feature=("laeq", "lceq", "lzeq"), n_fft=16_000, win_length=16_000, hop_length=16_000)
    np.testing.assert_allclose(compute(spec, tone(hz, 16_000, 4.0, -20))[-1], [a - 20, c - 20, -20], atol=0.11)


def test_silence_is_at_the_floor_which_the_calibration_moves() -> None:
    assert (compute(ALL, np.zeros(8_000, np.float32)) == -120.0).all()
    calibrated = FrontEndSpec(feature=LEVELS, calibration_db=120.0)
    assert (compute(calibrated, np.zeros(8_000, np.float32)) == 0.0).all()


def test_a_constant_is_heard_without_weighting_only() -> None:
    found = compute(ALL, np.full(10 * 16_000, 0.25, np.float32))[-1]
    by_name = dict(zip(LEVELS, found, strict=True))
    assert by_name["lzeq"] == pytest.approx(-12.04, abs=0.01)
    assert by_name["laeq"] == by_name["lceq"] == by_name["laf"] == -120.0


def test_rates_without_a_curve_and_calibrations_without_sense_are_refused() -> None:
    with pytest.raises(EarwitnessError, match=r"sr is 2000; valid: 2400 to 768000 \(A-weighting\), nearest 2400"):
        FrontEndSpec(feature="laf", sr=2_000)
    with pytest.raises(EarwitnessError, match=r"calibration_db is 1000; .* nearest 300"):
        FrontEndSpec(feature="lzf", calibration_db=1000.0)
    assert FrontEndSpec(feature="lzf", sr=100).dims == 1


def test_a_label_names_the_unit() -> None:
    assert FrontEnd(ALL).spec.columns["las"] == slice(4, 5)
    from earwitness.stream.features.catalog import find_feature

    assert [find_feature(name).labels(ALL) for name in ("laeq", "lcs")] == [("dB(A)",), ("dB(C)",)]
