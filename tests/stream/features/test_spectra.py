"""Spectra are scipy's, by the compiled kernel and by numpy, and a frame's bits do not depend on its company."""

from __future__ import annotations

from typing import Any

import librosa
import numpy as np
import pytest
import scipy.fft
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from earwitness.stream.features import spectra as spectra_module
from earwitness.stream.features.kernel import COMPILED
from earwitness.stream.features.mel import mel_weights
from earwitness.stream.features.spec import FrontEndSpec
from earwitness.stream.features.spectra import Spectra, frames_of, gather, has_fft
from earwitness.stream.features.windows import analysis_window

Samples = NDArray[np.float32]
LENGTHS = [2, 4, 6, 8, 20, 26, 64, 99, 100, 256, 400, 512, 514, 1000, 1024, 2048]


def spec_of(n_fft: int, **options: Any) -> FrontEndSpec:
    options = {"win_length": n_fft, "hop_length": max(1, n_fft // 3), **options}
    return FrontEndSpec(feature="stft", n_fft=n_fft, **options)


def starts_of(samples: Samples) -> NDArray[np.intp]:
    return np.arange(len(samples)) * samples.shape[1]


@pytest.fixture(params=["compiled", "numpy"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Both ways to compute them, where a compiler was at hand."""
    if request.param == "numpy":
        monkeypatch.setattr(spectra_module, "COMPILED", False)
    elif not COMPILED:
        pytest.skip("the kernel was not compiled here")
    return str(request.param)


def test_the_kernel_is_compiled_where_this_project_is_tested() -> None:
    assert COMPILED, "install a C compiler and Python's headers, and install the package again"


@pytest.mark.parametrize("n_fft", LENGTHS)
def test_spectra_of_any_length_are_scipys(way: str, n_fft: int, rng: np.random.Generator) -> None:
    spec, samples = spec_of(n_fft), rng.standard_normal((3, 7 * n_fft)).astype(np.float32)
    count = 1 + (samples.shape[1] - 5 - n_fft) // spec.hop_length
    frames = frames_of(samples, 5, spec.hop_length, count, n_fft).astype(np.float64)
    theirs = scipy.fft.rfft(frames * analysis_window(spec.window, n_fft)).reshape(3 * count, -1)
    ours = Spectra(spec)
    loudest = np.abs(theirs).max()
    np.testing.assert_allclose(ours.stft(samples, starts_of(samples), 5, count), theirs, atol=5e-7 * loudest)
    np.testing.assert_allclose(
        ours.power(samples, starts_of(samples), 5, count), np.abs(theirs) ** 2, rtol=1e-5, atol=1e-6 * loudest**2
    )


@pytest.mark.parametrize(("win_length", "pad_window"), [(300, "center"), (301, "center"), (300, "end"), (512, "end")])
def test_a_short_window_is_padded_as_the_spec_says(way: str, win_length: int, pad_window: Any) -> None:
    spec = FrontEndSpec(feature="stft", win_length=win_length, pad_window=pad_window)
    samples = np.random.default_rng(3).standard_normal((1, 3000)).astype(np.float32)
    ours = Spectra(spec).stft(samples, starts_of(samples), 0, 10)
    if pad_window == "center":
        theirs = librosa.stft(samples[0], n_fft=512, hop_length=160, win_length=win_length, center=False).T[:10]
    else:
        frames = frames_of(samples, 0, 160, 10, win_length)[0] * analysis_window("hann", win_length)
        theirs = np.fft.rfft(frames, n=512)
    np.testing.assert_allclose(ours, theirs, atol=1e-5)
    np.testing.assert_allclose(
        Spectra(spec).power(samples, starts_of(samples), 0, 10), np.abs(theirs) ** 2, rtol=1e-4, atol=1e-5
    )


@pytest.mark.parametrize("rows", [1, 8, 33])
def test_weighted_sums_of_powers_are_the_same_bits_without_the_powers_in_between(way: str, rows: int) -> None:
    spec = FrontEndSpec()
    samples = np.random.default_rng(8).standard_normal((1, 512 + 160 * rows)).astype(np.float32)
    ours, weights, at = Spectra(spec), mel_weights(spec), np.zeros(1, np.intp)
    powers = ours.power(samples, at, 0, rows)
    np.testing.assert_array_equal(ours.weighted(samples, at, 0, rows, weights), weights.apply(powers))


@settings(deadline=None, max_examples=40)
@given(data=st.data())
def test_a_frame_has_the_same_bits_in_any_company(data: st.DataObject) -> None:
    spec = spec_of(data.draw(st.sampled_from([64, 100, 512, 99])), hop_length=20)
    samples = np.random.default_rng(5).standard_normal((4, 1200)).astype(np.float32)
    ours = Spectra(spec)
    count = 1 + (1200 - spec.n_fft) // 20
    alone = ours.power(samples, starts_of(samples), 0, count).reshape(4, count, -1)
    streams = data.draw(st.lists(st.integers(0, 3), min_size=1, max_size=4))
    first = data.draw(st.integers(0, count - 1))
    some = data.draw(st.integers(1, count - first))
    together = ours.power(samples, starts_of(samples)[streams], 20 * first, some).reshape(len(streams), some, -1)
    for row, stream in enumerate(streams):
        np.testing.assert_array_equal(together[row], alone[stream, first : first + some])


def test_samples_are_gathered_from_where_they_lie(way: str) -> None:
    samples = np.random.default_rng(6).standard_normal((6, 50)).astype(np.float32)
    starts = np.array([120, 7, 7, 290])
    np.testing.assert_array_equal(gather(samples, starts, 9), [samples.ravel()[start : start + 9] for start in starts])
    np.testing.assert_array_equal(gather(samples, starts[:1], 9), samples.ravel()[None, 120:129])


@pytest.mark.skipif(not COMPILED, reason="the kernel was not compiled here")
def test_the_kernel_refuses_what_does_not_fit() -> None:
    from earwitness.stream.features import _kernel

    roots = [spectra_module._roots(64), spectra_module._roots(32)]
    samples, window, out = np.zeros((2, 200), np.float32), np.ones(64, np.float32), np.empty((4, 33), np.float32)
    starts = np.array([0, 200])
    _kernel.spectra(samples, starts, 0, 10, 2, window, *roots, out)
    for wrong in (
        (samples, starts, 0, 200, 2, window, *roots, out),  # frames beyond the samples
        (samples, starts, -1, 10, 2, window, *roots, out),
        (samples, -starts, 0, 10, 2, window, *roots, out),
        (samples, starts, 0, 10, 3, window, *roots, out),  # no room for the third frame
        (samples.astype(np.float64), starts, 0, 10, 2, window, *roots, out),
        (samples, starts.astype(np.int32), 0, 10, 2, window, *roots, out),
        (samples, starts, 0, 10, 2, np.ones(65, np.float32), *roots, out),
        (samples, starts, 0, 10, 2, window, roots[0], roots[0], out),
        (
            samples,
            starts,
            0,
            10,
            2,
            window,
            *roots,
            out[:, :1].copy(),
            np.int32([30]),
            np.int32([4]),
            np.ones(4, np.float32),
        ),
    ):
        with pytest.raises(ValueError):
            _kernel.spectra(*wrong)
    with pytest.raises((ValueError, BufferError)):
        _kernel.spectra(samples[:, ::2], starts, 0, 10, 2, window, *roots, out)
    rows, begin, fill = np.array([1]), np.array([0, 150]), np.array([0, 40])
    _kernel.append(samples, rows, begin, fill, np.ones(20, np.float32), np.array([20]))
    assert (begin.tolist(), fill.tolist()) == ([0, 0], [0, 60]), "moved to the front: there was no room behind"
    for wrong_rows, length, lengths in ((2, 20, 20), (-1, 20, 20), (1, 200, 200), (1, 20, 21), (1, 20, -1)):
        block = np.ones(length, np.float32)
        with pytest.raises(ValueError):
            _kernel.append(samples, np.array([wrong_rows]), begin, fill, block, np.array([lengths]))
    with pytest.raises(ValueError):
        _kernel.gather(samples, np.array([390]), np.empty((1, 20), np.float32))
    with pytest.raises(ValueError):
        _kernel.weigh(np.zeros((2, 8), np.float32), np.int32([5]), np.int32([4]), np.ones(4, np.float32), out[:2, :1])
    with pytest.raises(TypeError):
        _kernel.spectra(samples)  # type: ignore[call-arg]


def test_lengths_that_the_kernel_has_no_fft_for_are_known() -> None:
    assert [n for n in (2, 17, 34, 99, 400, 512, 26 * 26) if has_fft(n)] == [2, 400, 512, 26 * 26]
