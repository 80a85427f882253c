"""Descriptors of a frame's spectrum: librosa's numbers where it has them, stated formulas elsewhere."""

from __future__ import annotations

from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import librosa
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from earwitness.stream.errors import EarwitnessError
from earwitness.stream.features import spectral, spectral_bands
from earwitness.stream.features.frontend import LOUDEST, FrontEnd, FrontEndSpec, compute
from earwitness.stream.features.spectral_bands import band_edges

from .descriptors import KINDS, SIZES, Samples, magnitudes, recordings, sound, stepwise

FEATURES = {**spectral.FEATURES, **spectral_bands.FEATURES}
ALL = tuple(FEATURES)
SPECS = {
    "default": FrontEndSpec(feature=ALL),
    "centred": FrontEndSpec(feature=ALL, center=True, pad_mode="reflect"),
    "power": FrontEndSpec(
        feature=ALL, sr=22050, n_fft=1024, win_length=1024, hop_length=333, window="hamming", descriptor_power=2.0,
        bandwidth_p=3.0, roll_percent=0.5, contrast_quantile=0.2, contrast_bands=4, contrast_fmin=300.0,
        band_edges=(0.0, 500.0, 4000.0, 11025.0), amin=1e-12,
    ),
    "odd": FrontEndSpec(feature=ALL, sr=44100, n_fft=2045, win_length=1999, hop_length=501, bandwidth_p=1.0),
    "telephone": FrontEndSpec(feature=ALL, sr=8000, n_fft=256, win_length=200, hop_length=80, contrast_bands=5),
}  # fmt: skip


@pytest.fixture(autouse=True)
def contrast_of_each_frame_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """librosa's top_db looks at the loudest band of the whole clip, which a stream does not know."""
    monkeypatch.setattr("librosa.feature.spectral.power_to_db", partial(librosa.power_to_db, top_db=None))


def references(spec: FrontEndSpec, samples: Samples) -> dict[str, NDArray[np.float64]]:
    """Each descriptor in double precision, `[frames, dims]`."""
    magnitude = magnitudes(spec, samples)
    weights, power = magnitude**spec.descriptor_power, magnitude**2
    freq: Any = {"freq": librosa.fft_frequencies(sr=spec.sr, n_fft=spec.n_fft), "sr": spec.sr}
    monkeyed = {"fmin": spec.contrast_fmin, "n_bands": spec.contrast_bands, "quantile": spec.contrast_quantile}
    total = weights.sum(axis=0)
    shares = weights / np.where(total > 0, total, 1.0)
    logs = np.log(np.where(shares > 0, shares, 1.0))
    change = np.diff(magnitude, axis=1, prepend=magnitude[:, :1])
    edges = np.array(band_edges(spec))
    inside = [(freq["freq"] >= low) & (freq["freq"] < high) for low, high in pairwise(edges)]
    inside[-1] |= freq["freq"] == edges[-1]
    made = {
        "spectral_centroid": librosa.feature.spectral_centroid(S=weights, **freq),
        "spectral_bandwidth": librosa.feature.spectral_bandwidth(S=weights, p=spec.bandwidth_p, **freq),
        "spectral_rolloff": librosa.feature.spectral_rolloff(S=weights, roll_percent=spec.roll_percent, **freq),
        "spectral_flatness": librosa.feature.spectral_flatness(S=magnitude, amin=spec.amin),
        "spectral_flux": np.sqrt(np.sum(change**2, axis=0, keepdims=True)) / len(magnitude),
        "spectral_entropy": -np.sum(shares * logs, axis=0, keepdims=True) / np.log(len(magnitude)),
        "dominant_frequency": freq["freq"][magnitude.argmax(axis=0)][None],
        "spectral_contrast": librosa.feature.spectral_contrast(S=magnitude, **freq, **monkeyed),
        "band_energy": np.array([power[bins].sum(axis=0) for bins in inside]),
    }
    return {name: values.T for name, values in made.items()}


def check(spec: FrontEndSpec, samples: Samples, message: str = "") -> None:
    """Ours are the references', to 1e-5 and what single precision leaves of a spectrum.

    A transform in single precision errs by about 1e-7 of the frame's largest magnitude in every bin. That is `leak`;
    what it makes of each descriptor follows from the descriptor's formula.
    """
    ours, wanted = compute(spec, samples), references(spec, samples)
    magnitude = magnitudes(spec, samples)
    weights = magnitude**spec.descriptor_power
    leak = 3e-7 * magnitude.max(axis=0)
    blurred = (magnitude + leak) ** spec.descriptor_power - weights
    share = (blurred.sum(axis=0) / np.maximum(weights.sum(axis=0), 1e-30))[:, None]
    nyquist, bandwidth = spec.sr / 2, np.maximum(wanted["spectral_bandwidth"], 1e-3)
    moment = share * nyquist**spec.bandwidth_p
    tolerances: dict[str, Any] = {
        "spectral_centroid": share * nyquist,
        "spectral_bandwidth": (bandwidth**spec.bandwidth_p + moment) ** (1 / spec.bandwidth_p) - bandwidth,
        "spectral_flatness": 1e-5 + np.exp(np.mean(np.log1p(2 * leak / np.sqrt(magnitude**2 + spec.amin)), 0))[:, None],
        "spectral_flux": leak[:, None] * 2,
        "spectral_entropy": 1e-6 + 20 * share,
        "band_energy": leak[:, None] * (2 * np.sqrt(wanted["band_energy"]) + len(magnitude) * leak[:, None]),
    }
    tolerances["spectral_flatness"] = (tolerances["spectral_flatness"] - 1) * wanted["spectral_flatness"]
    columns = spec.columns
    for name, tolerance in tolerances.items():
        excess = np.abs(ours[:, columns[name]] - wanted[name]) - 1e-5 * np.abs(wanted[name]) - tolerance
        worst = np.unravel_index(excess.argmax(), excess.shape)
        assert excess.max() <= 0, f"{message} {name} {worst} {ours[:, columns[name]][worst]} {wanted[name][worst]}"
    # Those that name a bin: it is the right one, or one as good.
    sums, frames = np.cumsum(weights, axis=0), np.arange(len(ours))
    bins = np.rint(ours[:, columns["spectral_rolloff"]][:, 0] * spec.n_fft / spec.sr).astype(int)
    threshold, slack = spec.roll_percent * sums[-1], (1e-5 + share[:, 0]) * sums[-1]
    assert (sums[bins, frames] >= threshold - slack).all(), message
    assert ((sums - weights)[bins, frames] <= threshold + slack).all(), message
    bins = np.rint(ours[:, columns["dominant_frequency"]][:, 0] * spec.n_fft / spec.sr).astype(int)
    assert (magnitude[bins, frames] >= magnitude.max(axis=0) - 2 * leak).all(), message
    # A valley is off by as much as its bins are.
    valley = np.maximum(magnitude.min(axis=0), 1e-10)
    decibels = 1e-4 + 2 * 10 * np.log10(1 + leak / valley)
    contrast = np.abs(ours[:, columns["spectral_contrast"]] - wanted["spectral_contrast"]).max(axis=1)
    assert (contrast <= decibels).all(), message


@pytest.mark.parametrize("kind", ["noise", "clipped", "sweep", "speech", "impulse", "silence", "constant"])
@pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)
def test_values_are_librosas(spec: FrontEndSpec, kind: str) -> None:
    check(spec, sound(kind, spec.sr))


@pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)
def test_noise_agrees_to_a_hundred_thousandth(spec: FrontEndSpec) -> None:
    samples = sound("noise", spec.sr)
    ours, wanted = compute(spec, samples), references(spec, samples)
    for name, columns in spec.columns.items():
        if name == "spectral_contrast":
            np.testing.assert_allclose(ours[:, columns], wanted[name], rtol=0, atol=1e-3, err_msg=name)  # dB
        elif name in ("spectral_rolloff", "dominant_frequency"):
            np.testing.assert_allclose(ours[:, columns], wanted[name], rtol=1e-6, err_msg=name)
        else:
            np.testing.assert_allclose(ours[:, columns], wanted[name], rtol=1e-5, err_msg=name)


@pytest.mark.data
def test_recordings_have_librosas_values(data_root: Path) -> None:
    for name, (samples, rate) in recordings(data_root).items():
        check(FrontEndSpec(feature=ALL, sr=rate, n_fft=1024, win_length=1024, hop_length=256, contrast_bands=4,
                           center=True), samples, name)  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("scale", [1.0, 1e-12, LOUDEST / 2])
@pytest.mark.parametrize("spec", [SPECS["default"], SPECS["power"]], ids=["default", "power"])
def test_every_sound_has_finite_values(spec: FrontEndSpec, kind: str, scale: float) -> None:
    values = compute(spec, sound(kind, spec.sr, 0.3) * np.float32(scale))
    assert values.dtype == np.float32
    assert np.isfinite(values).all()
    assert (values >= 0).all()
    for name in ("spectral_flatness", "spectral_entropy"):
        assert (values[:, spec.columns[name]] <= 1).all()
    for name in ("spectral_centroid", "spectral_rolloff", "dominant_frequency"):
        assert (values[:, spec.columns[name]] <= spec.sr / 2 * 1.000001).all()


@pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)
@pytest.mark.parametrize("kind", ["silence", "denormal"])
def test_silence_is_flat_and_has_none_of_anything_else(spec: FrontEndSpec, kind: str) -> None:
    values = compute(spec, sound(kind, spec.sr))
    for name, columns in spec.columns.items():
        wanted = 1.0 if name == "spectral_flatness" else 0.0
        np.testing.assert_allclose(values[:, columns], wanted, rtol=1e-6, err_msg=name)


def test_a_tone_is_where_it_is_and_noise_is_everywhere() -> None:
    t, spec = np.arange(16000) / 16000, FrontEndSpec(feature=ALL)
    where = spec.columns
    tone = compute(spec, (0.5 * np.sin(2 * np.pi * 2000 * t)).astype(np.float32))[20]
    hiss = compute(spec, sound("noise")).mean(axis=0)
    np.testing.assert_allclose(tone[where["dominant_frequency"]], 2000)
    np.testing.assert_allclose(tone[where["spectral_centroid"]], 2000, atol=2)
    np.testing.assert_allclose(hiss[where["spectral_centroid"]], 4000, rtol=0.02)
    np.testing.assert_allclose(hiss[where["spectral_flatness"]], 0.56, atol=0.02)
    assert tone[where["spectral_flatness"]] < 1e-6
    assert tone[where["spectral_entropy"]] < 0.3 < 0.9 < hiss[where["spectral_entropy"]]
    assert tone[where["spectral_bandwidth"]] < 100 < 2000 < hiss[where["spectral_bandwidth"]]
    assert tone[where["band_energy"]].argmax() == 6  # the octave around 2 kHz
    assert tone[where["spectral_contrast"]].max() > 60 > hiss[where["spectral_contrast"]].max()


def test_flux_is_nothing_at_first_and_stands_out_at_an_onset() -> None:
    samples = np.zeros(16000, np.float32)
    samples[8000:] = sound("noise")[8000:]
    spec = FrontEndSpec(feature="spectral_flux")
    flux = compute(spec, samples)[:, 0]
    heard = [frame for frame in range(len(flux)) if spec.frame_span(frame)[1] - 56 > 8001]
    assert np.flatnonzero(flux).tolist() == heard
    assert compute(spec, sound("noise"))[0, 0] == 0
    hum = np.sin(2 * np.pi * 1000 * np.arange(16000) / 16000).astype(np.float32)
    hum[:8000] *= np.float32(0.1)
    assert abs(int(compute(spec, hum)[:, 0].argmax()) * 160 + 256 - 8000) < 256
    front_end = FrontEnd(spec)
    front_end.push({"s": sound("noise")})
    front_end.flush("s")
    np.testing.assert_array_equal(front_end.push({"s": samples})["s"].values[:, 0], flux)


@pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)
@pytest.mark.parametrize("size", SIZES)
def test_block_sizes_do_not_change_a_bit(spec: FrontEndSpec, size: int) -> None:
    samples = sound("speech", spec.sr)[: spec.frame_length + 5 * spec.hop_length if size < 100 else 40_000]
    np.testing.assert_array_equal(stepwise(spec, samples, [size]), compute(spec, samples))


@pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)
@settings(deadline=None, max_examples=15)
@given(length=st.integers(0, 12_000), sizes=st.lists(st.integers(0, 5000), min_size=1, max_size=8).filter(any))
def test_random_cuts_do_not_change_a_bit(spec: FrontEndSpec, length: int, sizes: list[int]) -> None:
    samples = sound("sweep", spec.sr)[:length]
    np.testing.assert_array_equal(stepwise(spec, samples, sizes), compute(spec, samples))


@pytest.mark.parametrize("spec", [SPECS["default"], SPECS["power"]], ids=["default", "power"])
def test_each_of_many_streams_has_the_bits_it_has_alone(spec: FrontEndSpec) -> None:
    """Loud and silent streams in one batch: what is computed only where a row needs it changes no other row."""
    kinds = (*KINDS, *KINDS)
    blocks = {str(n): np.roll(sound(kind), 77 * n)[:5000] for n, kind in enumerate(kinds)}
    together = FrontEnd(spec).push(blocks)
    for name, block in blocks.items():
        np.testing.assert_array_equal(together[name].values, FrontEnd(spec).push({name: block})[name].values)


def test_a_stream_goes_on_from_its_state() -> None:
    spec, samples = SPECS["default"], sound("sweep")
    first, second = FrontEnd(spec), FrontEnd(spec)
    first.push({"s": samples[:8000]})
    state = first.state("s")
    assert state is not None
    second.restore("s", state)
    np.testing.assert_array_equal(
        second.push({"s": samples[8000:]})["s"].values, first.push({"s": samples[8000:]})["s"].values
    )


@pytest.mark.parametrize(
    ("feature", "options", "says"),
    [
        ("spectral_centroid", {"descriptor_power": 1.7}, "valid: 1 (magnitude) or 2 (power), nearest 2"),
        ("spectral_entropy", {"descriptor_power": 0.0}, "nearest 1"),
        ("spectral_bandwidth", {"bandwidth_p": 0.0}, "bandwidth_p is 0; valid: 0.1 to 8, nearest 0.1"),
        ("spectral_rolloff", {"roll_percent": 85.0}, "roll_percent is 85; valid: above 0 and below 1, usually 0.85"),
        ("spectral_flatness", {"amin": 0.0}, "amin is 0; it must be above 0, usually 1e-10"),
        ("spectral_contrast", {"contrast_quantile": 1.0}, "valid: above 0 and below 1, usually 0.02"),
        ("spectral_contrast", {"contrast_bands": 0}, "contrast_bands is 0; it must be at least 1, usually 6"),
        ("spectral_contrast", {"contrast_bands": 7}, "contrast_bands is 7"),
        ("spectral_contrast", {"contrast_bands": 7}, "nearest 6"),
        ("spectral_contrast", {"sr": 8000}, "nearest 5"),
        ("spectral_contrast", {"contrast_fmin": 10.0}, "contrast_fmin is 10; valid: 31.25 to 4000"),
        ("spectral_contrast", {"contrast_fmin": 9000.0}, "nearest 4000"),
        ("band_energy", {"band_edges": (100.0,)}, "at least two frequencies"),
        ("band_energy", {"band_edges": (100.0, 9000.0)}, "valid: 0 to 8000 (half the sample rate), nearest 8000"),
        ("band_energy", {"band_edges": (200.0, 100.0)}, "100 behind 200; they must ascend"),
        ("band_energy", {"band_edges": (100.0, 110.0, 500.0)}, "no bin of n_fft 512"),
        ("band_energy", {"band_edges": (100.0, 110.0, 500.0)}, "nearest n_fft 2048"),
        ("band_energy", {"band_edges": (0.0, float("nan"))}, "from 0 to 8000 Hz"),
        ("band_energy", {"n_fft": 2, "win_length": 2, "hop_length": 1}, "larger n_fft"),
    ],
)
def test_what_cannot_work_is_refused_in_one_line_that_names_what_can(
    feature: str, options: dict[str, Any], says: str
) -> None:
    with pytest.raises(EarwitnessError) as refused:
        FrontEndSpec(feature=feature, **options)
    assert says in str(refused.value)
    assert "\n" not in str(refused.value)


def test_the_number_of_contrast_bands_that_is_named_works() -> None:
    for sr in (8000, 16000, 44100):
        for n_fft in (255, 256, 2048):
            options: dict[str, Any] = {"sr": sr, "n_fft": n_fft, "win_length": 200}
            with pytest.raises(EarwitnessError, match="nearest") as refused:
                FrontEndSpec(feature="spectral_contrast", contrast_bands=40, contrast_fmin=sr / 32, **options)
            fit = int(str(refused.value).rsplit(" ", 1)[1])
            FrontEndSpec(feature="spectral_contrast", contrast_bands=fit, contrast_fmin=sr / 32, **options)


def test_octave_bands_lie_around_a_kilohertz_and_fit() -> None:
    edges = band_edges(FrontEndSpec(feature="band_energy"))
    assert FrontEndSpec(feature="band_energy").dims == 8
    assert FrontEndSpec(feature="band_energy", sr=48000, n_fft=2048).dims == 10
    centres = [(low * high) ** 0.5 for low, high in pairwise(edges)]
    assert min(abs(centre - 1000) for centre in centres) < 1e-9
    coarse = FrontEndSpec(feature="band_energy", n_fft=64, win_length=64, hop_length=32)
    assert band_edges(coarse)[0] > 150
    assert coarse.dims == len(spectral_bands.BandEnergy.labels(coarse))


@pytest.mark.parametrize("name", ALL)
def test_values_lie_row_by_row(name: str) -> None:
    values = FrontEnd(FrontEndSpec(feature=name)).push({"s": sound("noise")})["s"].values
    assert values.flags.c_contiguous
    assert values.dtype == np.float32
