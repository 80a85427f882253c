"""Frequency and time weightings keep the tables of IEC 61672-1:2013 for class 1, at every sample rate."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.signal import lfilter

from earwitness.stream.features import weighting as weighting_module
from earwitness.stream.features.weighting import (
    FAST_S,
    HIGHEST_RATE,
    LOWEST_RATE,
    SLOW_S,
    Curve,
    Weighting,
    curve_db,
    forgetting,
)

Values = NDArray[np.float64]

RATES = (8_000, 11_025, 16_000, 22_050, 32_000, 44_100, 48_000, 96_000, 192_000)

# Table 3: nominal frequency in Hz, A and C in dB, upper and lower acceptance limit of class 1 in dB. Z is 0 dB.
TABLE_3 = (
    (10, -70.4, -14.3, 3.0, -math.inf), (12.5, -63.4, -11.2, 2.5, -math.inf), (16, -56.7, -8.5, 2.0, -4.0),
    (20, -50.5, -6.2, 2.0, -2.0), (25, -44.7, -4.4, 2.0, -1.5), (31.5, -39.4, -3.0, 1.5, -1.5),
    (40, -34.6, -2.0, 1.0, -1.0), (50, -30.2, -1.3, 1.0, -1.0), (63, -26.2, -0.8, 1.0, -1.0),
    (80, -22.5, -0.5, 1.0, -1.0), (100, -19.1, -0.3, 1.0, -1.0), (125, -16.1, -0.2, 1.0, -1.0),
    (160, -13.4, -0.1, 1.0, -1.0), (200, -10.9, 0.0, 1.0, -1.0), (250, -8.6, 0.0, 1.0, -1.0),
    (315, -6.6, 0.0, 1.0, -1.0), (400, -4.8, 0.0, 1.0, -1.0), (500, -3.2, 0.0, 1.0, -1.0),
    (630, -1.9, 0.0, 1.0, -1.0), (800, -0.8, 0.0, 1.0, -1.0), (1000, 0.0, 0.0, 0.7, -0.7),
    (1250, 0.6, 0.0, 1.0, -1.0), (1600, 1.0, -0.1, 1.0, -1.0), (2000, 1.2, -0.2, 1.0, -1.0),
    (2500, 1.3, -0.3, 1.0, -1.0), (3150, 1.2, -0.5, 1.0, -1.0), (4000, 1.0, -0.8, 1.0, -1.0),
    (5000, 0.5, -1.3, 1.5, -1.5), (6300, -0.1, -2.0, 1.5, -2.0), (8000, -1.1, -3.0, 1.5, -2.5),
    (10000, -2.5, -4.4, 2.0, -3.0), (12500, -4.3, -6.2, 2.0, -5.0), (16000, -6.6, -8.5, 2.5, -16.0),
    (20000, -9.3, -11.2, 3.0, -math.inf),
)  # fmt: skip

# Table 4: duration of a 4 kHz toneburst in ms, the maximum in dB relative to the steady tone with F and S, and the
# acceptance limits of class 1 in dB. 0 where the table has none.
TABLE_4 = (
    (1000, 0.0, -2.0, 0.5), (500, -0.1, -4.1, 0.5), (200, -1.0, -7.4, 0.5), (100, -2.6, -10.2, 1.0),
    (50, -4.8, -13.1, 1.0),
)  # fmt: skip


@pytest.fixture(params=["compiled", "numpy"])
def loop(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both loops that there are: the compiled one, and the one where there is no compiler."""
    if request.param == "numpy":
        monkeypatch.setattr(weighting_module, "COMPILED", False)
    elif not weighting_module.COMPILED:
        pytest.skip("the filters are not compiled here")


def exact(nominal: float) -> float:
    """The third-octave frequency behind a nominal one, `1000 * 10 ** (n / 10)` Hz."""
    return float(1000.0 * 10 ** (round(10 * math.log10(nominal / 1000.0)) / 10))


def gain_db(weighting: Weighting, frequencies: Values) -> Values:
    """What the filter does to sound, by the spectrum of its answer to a click, 4 s long."""
    rate = weighting.rate
    answer = weighting.apply(np.eye(1, 4 * rate, dtype=np.float32), np.zeros((1, weighting.size)))[0]
    spectrum = np.abs(np.fft.rfft(answer, 4 * rate))
    return np.asarray(20 * np.log10(np.interp(frequencies, np.fft.rfftfreq(4 * rate, 1 / rate), spectrum)))


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize(("curve", "column"), [("A", 1), ("C", 2), ("Z", None)])
def test_the_filter_keeps_class_1_at_every_third_octave(curve: Curve, column: int | None, rate: int) -> None:
    rows = [row for row in TABLE_3 if exact(row[0]) <= 0.45 * rate]
    found = gain_db(Weighting(curve, rate), np.array([exact(row[0]) for row in rows]))
    for row, db in zip(rows, found, strict=True):
        goal = row[column] if column else 0.0
        assert row[4] <= db - goal <= row[3], (row[0], db)
        assert db == pytest.approx(goal, abs=0.1)  # of which 0.05 is the rounding of the table


@pytest.mark.parametrize("rate", [LOWEST_RATE, 4_000, *RATES, 384_000, HIGHEST_RATE])
@pytest.mark.parametrize("curve", ["A", "C"])
def test_between_the_third_octaves_it_is_within_a_twentieth_of_a_decibel_of_the_curve(curve: Curve, rate: int) -> None:
    weighting = Weighting(curve, rate)
    frequencies = np.geomspace(10.0, 0.45 * rate, 5_000)
    assert np.abs(weighting.response_db(frequencies) - curve_db(curve, frequencies)).max() < 0.05
    assert weighting.response_db(np.array([1000.0]))[0] == pytest.approx(0.0, abs=1e-9)


@pytest.mark.usefixtures("loop")
@pytest.mark.parametrize("rate", RATES)
def test_the_coefficients_say_what_the_filter_does(rate: int) -> None:
    weighting = Weighting("A", rate)
    frequencies = np.linspace(0.0, rate / 2, 2 * rate + 1)[40::101]
    np.testing.assert_allclose(weighting.response_db(frequencies), gain_db(weighting, frequencies), atol=1e-3)


def test_the_curve_is_that_of_the_table() -> None:
    frequencies = np.array([exact(row[0]) for row in TABLE_3])
    np.testing.assert_allclose(curve_db("A", frequencies), [row[1] for row in TABLE_3], atol=0.051)
    np.testing.assert_allclose(curve_db("C", frequencies), [row[2] for row in TABLE_3], atol=0.051)
    assert not curve_db("Z", frequencies).any()


def reference(weighting: Weighting, samples: Values) -> Values:
    """The same filter by scipy, sample by sample."""
    out = lfilter(weighting._taps, 1.0, samples, axis=1)
    for pole in weighting._poles:
        out = lfilter([1.0, -1.0] if pole.high_pass else [1.0 - pole.at], [1.0, -pole.at], out, axis=1)
    return np.asarray(out)


@pytest.mark.usefixtures("loop")
@pytest.mark.parametrize("rate", [8_000, 48_000, 192_000])
@pytest.mark.parametrize("curve", ["A", "C"])
@pytest.mark.parametrize("size", [1, 7, 160, 1009, 20_000])
def test_blocks_of_any_size_give_what_a_plain_loop_gives(curve: Curve, rate: int, size: int) -> None:
    weighting = Weighting(curve, rate)
    samples = np.random.default_rng(rate).standard_normal((3, 1_000 if size == 1 else 20_000)) + 0.5
    state = np.zeros((3, weighting.size))
    blocks = range(0, samples.shape[1], size)
    found = np.concatenate([weighting.apply(samples[:, at : at + size], state) for at in blocks], axis=1)
    np.testing.assert_allclose(found, reference(weighting, samples), rtol=0, atol=1e-12)


@pytest.mark.parametrize("compiled", [True, False])
@settings(max_examples=12, deadline=None)
@given(st.lists(st.integers(0, 9_000), min_size=1, max_size=6).filter(any), st.sampled_from([8_000, 16_000, 96_000]))
def test_blocks_of_random_sizes_agree(compiled: bool, sizes: list[int], rate: int) -> None:
    weighting = Weighting("A", rate)
    samples = np.random.default_rng(1).standard_normal((2, sum(sizes)))
    state = np.zeros((2, weighting.size))
    blocks = np.split(samples, np.cumsum(sizes)[:-1], axis=1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(weighting_module, "COMPILED", compiled and weighting_module.COMPILED)
        found = np.concatenate([weighting.apply(block, state) for block in blocks], axis=1)
    np.testing.assert_allclose(found, reference(weighting, samples), rtol=0, atol=1e-12)


@pytest.mark.usefixtures("loop")
@pytest.mark.parametrize("step", [1, 37, 160, 1600, 8000])
def test_in_steps_of_one_size_the_bits_depend_neither_on_the_blocks_nor_on_the_other_streams(step: int) -> None:
    weighting = Weighting("A", 16_000)
    samples = np.random.default_rng(2).standard_normal((9, 16_000 // step * step)).astype(np.float32)
    if step == 1:
        samples = samples[:, :300]
    whole = weighting.apply(samples, np.zeros((9, weighting.size)), step)
    state = np.zeros((1, weighting.size))
    parts = [weighting.apply(samples[4:5, at : at + step], state, step) for at in range(0, samples.shape[1], step)]
    np.testing.assert_array_equal(whole[4:5], np.concatenate(parts, axis=1))


@pytest.mark.usefixtures("loop")
def test_many_streams_are_each_weighted_by_themselves() -> None:
    weighting = Weighting("C", 44_100)
    samples = np.random.default_rng(3).standard_normal((200, 700))
    found = weighting.apply(samples, np.zeros((200, weighting.size)))
    np.testing.assert_allclose(found, reference(weighting, samples), rtol=0, atol=1e-12)


@pytest.mark.usefixtures("loop")
@pytest.mark.parametrize(
    "samples",
    [
        pytest.param(np.zeros((1, 48_000), np.float32), id="silence"),
        pytest.param(np.full((1, 48_000), 1e-42, np.float32), id="denormal"),
        pytest.param(np.full((1, 48_000), 1.0, np.float32), id="constant"),
        pytest.param(np.full((1, 48_000), 1e9, np.float32), id="as loud as it gets"),
    ],
)
@pytest.mark.parametrize("rate", [LOWEST_RATE, 8_000, HIGHEST_RATE])
def test_whatever_is_heard_the_result_is_finite(samples: NDArray[np.float32], rate: int) -> None:
    weighting = Weighting("A", rate)
    state = np.zeros((1, weighting.size))
    assert np.isfinite(weighting.apply(samples, state)).all()
    assert np.isfinite(state).all()


@pytest.mark.usefixtures("loop")
def test_after_sound_silence_leaves_nothing_behind() -> None:
    weighting = Weighting("A", 8_000)
    state = np.zeros((1, weighting.size))
    weighting.apply(np.ones((1, 8_000)), state)
    for _ in range(10):
        last = weighting.apply(np.zeros((1, 8_000)), state)
    assert not state.any()
    assert not last[0, -1]


@pytest.mark.usefixtures("loop")
def test_the_samples_are_left_as_they_are() -> None:
    for curve in ("A", "Z"):
        weighting = Weighting(curve, 8_000)
        samples = np.ones((1, 100))
        weighting.apply(samples, np.zeros((1, weighting.size)))[:] = 0.0
        assert (samples == 1.0).all()


# ---- time weighting --------------------------------------------------------------------------------------------------


def time_weighted(squares: Values, rate: int, time_constant_s: float, step: int) -> Values:
    by_step, now, found = forgetting(step, rate * time_constant_s), 0.0, []
    for at in range(0, len(squares) // step * step, step):
        now = by_step.remains * now + float((by_step.weights * squares[at : at + step]).sum())
        found.append(now)
    return np.array(found)


@pytest.mark.parametrize("rate", [8_000, 44_100])
@pytest.mark.parametrize(("time_constant_s", "db_per_s"), [(FAST_S, 34.7), (SLOW_S, 4.34)])
def test_in_silence_the_level_falls_as_the_standard_wants(rate: int, time_constant_s: float, db_per_s: float) -> None:
    squares = np.concatenate((np.ones(rate), np.zeros(2 * rate)))
    levels = 10 * np.log10(time_weighted(squares, rate, time_constant_s, rate // 100))
    assert levels[150] - levels[250] == pytest.approx(db_per_s, abs=0.05)


@pytest.mark.parametrize("rate", [16_000, 48_000])
@pytest.mark.parametrize(("duration_ms", "fast_db", "slow_db", "limit_db"), TABLE_4)
def test_tonebursts_reach_the_levels_of_the_standard(
    rate: int, duration_ms: int, fast_db: float, slow_db: float, limit_db: float
) -> None:
    seconds = np.arange(3 * rate) / rate
    tone = np.sin(2 * np.pi * 4000 * seconds)
    burst = np.where(seconds < duration_ms / 1000, tone, 0.0)
    weighting = Weighting("A", rate)
    steady, short = (weighting.apply(each[None], np.zeros((1, weighting.size)))[0] ** 2 for each in (tone, burst))
    full = 10 * np.log10(steady[rate:].mean())
    for time_constant_s, goal in ((FAST_S, fast_db), (SLOW_S, slow_db)):
        found = 10 * np.log10(time_weighted(short, rate, time_constant_s, rate // 1000).max()) - full
        assert found == pytest.approx(goal, abs=limit_db)
        assert found == pytest.approx(goal, abs=0.1)


def test_steps_of_any_size_weigh_time_alike() -> None:
    squares = np.random.default_rng(4).random(48_000)
    fine = time_weighted(squares, 48_000, FAST_S, 1)
    np.testing.assert_allclose(time_weighted(squares, 48_000, FAST_S, 480), fine[479::480], rtol=1e-9)


def test_what_does_not_fit_the_compiled_filter_is_refused() -> None:
    filters = pytest.importorskip("earwitness.stream.features._filters")
    x, state, taps, poles = np.zeros((2, 5)), np.zeros((2, 4)), np.ones(3), np.full(2, 0.5)
    filters.weight(x, state, taps, poles, 1)
    for wrong in (
        (x.astype(np.float32), state, taps, poles, 1), (x, state[:1], taps, poles, 1), (x, state, taps[:2], poles, 1),
        (x, state, taps, poles, 3), (x, state, taps, poles, -1), (x[0], state, taps, poles, 1),
        (x, state, np.ones(0), poles, 1), (x, np.zeros((2, 101)), np.ones(100), poles, 1),
        (x, np.zeros((2, 11)), taps, np.full(9, 0.5), 1),
    ):  # fmt: skip
        with pytest.raises(ValueError, match="do not fit"):
            filters.weight(*wrong)
    with pytest.raises(TypeError, match="5 arguments"):
        filters.weight(x)
    with pytest.raises(ValueError, match="contiguous"):
        filters.weight(x[:, ::2], state, taps, poles, 1)
