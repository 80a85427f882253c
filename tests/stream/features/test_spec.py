"""What a front end may be asked for, and what it answers to the rest."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import pytest

from earwitness.stream.errors import EarwitnessError
from earwitness.stream.features.frontend import FrontEndSpec, compute, silence

YAMNET = FrontEndSpec(fmin=125.0, fmax=7500.0, htk=True, norm=None, power=1.0, log="ln", log_offset=0.001)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"feature": "logmel"}, "did you mean 'log_mel'?"),
        ({"sr": 0}, "at least 1, usually 16000"),
        ({"sr": 8000}, "above half the sample rate of 8000 Hz; at most 4000"),
        ({"n_fft": 0}, "n_fft is 0; it must be at least 2, usually 512"),
        ({"n_fft": 1 << 30}, "n_fft is 1073741824; at most 262144 samples"),
        ({"n_fft": 512.5}, "n_fft is 512.5; it must be a whole number"),
        ({"n_fft": True}, "n_fft is True; it must be a whole number"),
        ({"win_length": 600}, "valid: 1 to 512 (n_fft), nearest 512"),
        ({"hop_length": 0}, "valid: 1 to 400 (win_length), nearest 1"),
        ({"hop_length": 401}, "valid: 1 to 400 (win_length), nearest 400"),
        ({"window": "han"}, "did you mean 'hann'?"),
        ({"power": 0.0}, "power is 0; valid: above 0"),
        ({"n_mels": 0}, "n_mels is 0; it must be at least 1"),
        ({"fmin": -1.0}, "fmin is -1 Hz; valid: from 0 to below fmax, 8000"),
        ({"fmin": 8000.0}, "fmin is 8000 Hz; valid: from 0 to below fmax, 8000"),
        ({"fmax": float("nan")}, "fmax is nan; it must be a finite number"),
        ({"norm": "slany"}, "did you mean 'slaney'?"),
        ({"log": "dB"}, "did you mean 'db'?"),
        ({"log_offset": -0.1, "log": "ln"}, "log_offset must be 0 or above"),
        ({"log_offset": 0.1}, "log_offset must be 0 or above and goes with log 'ln' alone"),
        ({"amin": 0.0}, "amin is 0; it must be above 0, usually 1e-10"),
        ({"feature": "waveform", "n_mels": 40}, "a waveform has no n_mels"),
        ({"feature": "waveform", "hop_length": 80}, "a waveform has no hop_length"),
    ],
)
def test_what_cannot_work_is_refused_in_one_line_that_names_what_can(options: dict[str, Any], says: str) -> None:
    with pytest.raises(EarwitnessError) as refused:
        FrontEndSpec(**options)
    assert says in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_mel_band_without_a_bin_is_refused_and_the_number_that_it_names_works() -> None:
    options: dict[str, Any] = {"n_fft": 256, "win_length": 256}
    with pytest.raises(EarwitnessError, match=r"n_mels is 128, but band \d+ has no bin of n_fft 256") as refused:
        FrontEndSpec(n_mels=128, **options)
    most = int(str(refused.value).split("at most ")[1].split()[0])
    assert 1 <= most < 128
    FrontEndSpec(n_mels=most, **options)
    with pytest.raises(EarwitnessError, match="no bin"):
        FrontEndSpec(n_mels=most + 1, **options)


def test_a_range_too_narrow_for_any_band_asks_for_a_larger_fft() -> None:
    with pytest.raises(EarwitnessError, match="take a larger n_fft"):
        FrontEndSpec(fmin=1001.0, fmax=1010.0)


def test_a_spec_survives_json_and_unknown_fields_do_not() -> None:
    again = msgspec.json.decode(msgspec.json.encode(YAMNET), type=FrontEndSpec)
    assert again == YAMNET
    assert again.hash == YAMNET.hash
    with pytest.raises(msgspec.ValidationError, match="n_mel"):
        msgspec.json.decode(b'{"n_mel": 40}', type=FrontEndSpec)
    with pytest.raises(EarwitnessError, match="hop_length"):
        msgspec.json.decode(b'{"hop_length": 0}', type=FrontEndSpec)
    waveform = FrontEndSpec(feature="waveform")
    assert msgspec.json.decode(msgspec.json.encode(waveform), type=FrontEndSpec) == waveform


def test_the_hash_names_what_is_computed() -> None:
    specs = [
        FrontEndSpec(),
        YAMNET,
        FrontEndSpec(center=True),
        FrontEndSpec(n_mels=40),
        FrontEndSpec(feature="waveform"),
    ]
    assert len({spec.hash for spec in specs}) == len(specs)
    assert FrontEndSpec(fmin=50).hash == FrontEndSpec(fmin=50.0).hash  # TOML and JSON may drop the point
    assert FrontEndSpec().hash == "060911acdc8d"  # published in bundles: must not change


@pytest.mark.parametrize(
    "spec", [FrontEndSpec(), YAMNET, FrontEndSpec(feature="waveform"), FrontEndSpec(amin=1e-7, center=True)]
)
def test_silence_has_the_value_that_the_spec_states(spec: FrontEndSpec) -> None:
    frames = compute(spec, np.zeros(5000, np.float32))
    assert len(frames)
    assert set(frames.ravel().tolist()) == set(silence(spec).tolist())


def test_the_span_of_a_frame_says_which_samples_it_sees() -> None:
    spec, nothing = FrontEndSpec(), np.zeros(4000, np.float32)
    assert spec.frame_span(3) == (480, 992)
    assert FrontEndSpec(center=True).frame_span(0) == (-256, 256)
    assert FrontEndSpec(feature="waveform").frame_span(7) == (7, 8)
    for centred in (spec, FrontEndSpec(center=True)):
        for sample in (1000, 1500, 2222):
            click = nothing.copy()
            click[sample] = 0.5
            heard = np.flatnonzero((compute(centred, click) > silence(centred)).any(axis=1))
            # the window is zero in the outer (n_fft - win_length) / 2 samples of the span, and at its own first
            within = [f for f in range(30) if centred.frame_span(f)[0] + 57 <= sample < centred.frame_span(f)[1] - 56]
            assert heard.tolist() == within


@pytest.mark.parametrize("center", [False, True])
@pytest.mark.parametrize(("n_fft", "win_length", "hop_length"), [(512, 400, 160), (99, 40, 11)])
def test_the_number_of_frames_is_known_beforehand(center: bool, n_fft: int, win_length: int, hop_length: int) -> None:
    spec = FrontEndSpec(n_fft=n_fft, win_length=win_length, hop_length=hop_length, center=center, n_mels=8)
    for samples in (0, 1, 39, 98, 99, 100, 511, 512, 513, 671, 672, 5000):
        assert len(compute(spec, np.zeros(samples, np.float32))) == spec.frames_of(samples)
