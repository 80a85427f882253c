"""By the same spec, the front ends that models of other projects want: Kaldi's, torchaudio's and YAMNet's."""

from __future__ import annotations

import importlib.util
import re
import tomllib
import warnings
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from earwitness.stream.features.frontend import FrontEndSpec, compute
from earwitness.stream.features.mel import mel_filters
from earwitness.stream.resample import resample

Samples = NDArray[np.float32]
Sound = Callable[[str, int], Samples]
Stepwise = Callable[[FrontEndSpec, Samples, list[int]], Samples]

KINDS = ["noise", "sweep", "speech", "silence", "impulse", "clipped", "denormal", "constant"]

KALDI = FrontEndSpec(
    window="povey", pad_window="end", remove_dc=True, preemphasis=0.97, n_mels=80, fmin=20.0, fmax=8000.0, htk=True,
    norm="none", mel_slopes="mel", log="ln", amin=float(np.finfo(np.float32).eps),
)  # fmt: skip
KALDI_8K = FrontEndSpec(
    sr=8000, n_fft=256, win_length=200, hop_length=80, window="povey", pad_window="end", remove_dc=True,
    preemphasis=0.97, n_mels=40, fmin=20.0, fmax=3700.0, htk=True, norm="none", mel_slopes="mel", log="ln",
    amin=float(np.finfo(np.float32).eps),
)  # fmt: skip
YAMNET = FrontEndSpec(
    sr=16000, n_fft=512, win_length=400, hop_length=160, pad_window="end", power=1.0, n_mels=64, fmin=125.0,
    fmax=7500.0, htk=True, norm="none", mel_slopes="mel", log="ln", log_offset=0.001,
)  # fmt: skip


DOCS = Path(__file__).parents[3] / "docs" / "reference" / "features" / "foreign-models.md"


def test_the_page_of_foreign_models_shows_these_specs() -> None:
    shown = [
        msgspec.convert(tomllib.loads(text)["front_end"], FrontEndSpec)
        for text in re.findall(r"```toml\n(.*?)```", DOCS.read_text(), re.DOTALL)
    ]
    assert shown == [YAMNET, KALDI]


# ---- Kaldi


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("spec", [KALDI, KALDI_8K], ids=["16 kHz", "8 kHz"])
def test_kaldi_native_fbank_agrees(sound: Sound, spec: FrontEndSpec, kind: str) -> None:
    pytest.importorskip("kaldi_native_fbank")
    for full_scale in (1.0, 32768.0):  # Kaldi's recipes feed int16 values, sherpa's models often -1..1
        samples = sound(kind, spec.sr) * np.float32(full_scale)
        ours, theirs = compute(spec, samples), kaldi_native(spec, samples)
        check_logarithms(ours, theirs)
        if kind != "sweep":  # the one sound whose bands see nothing but the edge of a filter
            near = theirs > theirs.max(axis=1, keepdims=True) - np.log(1000.0)  # 30 dB
            assert np.max(np.abs(ours - theirs)[near]) <= 1e-4


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("spec", [KALDI, KALDI_8K], ids=["16 kHz", "8 kHz"])
def test_torchaudios_kaldi_fbank_agrees(sound: Sound, spec: FrontEndSpec, kind: str) -> None:
    samples = sound(kind, spec.sr)
    check_logarithms(compute(spec, samples), kaldi_torchaudio(spec, samples))


@pytest.mark.data
def test_on_recordings_kaldis_features_agree(data_root: Path) -> None:
    pytest.importorskip("kaldi_native_fbank")
    for path in sorted((data_root / "esc10" / "audio").glob("*.ogg"))[::40]:
        samples = recording(path)
        check_logarithms(compute(KALDI, samples), kaldi_native(KALDI, samples))


@pytest.mark.parametrize("size", [1, 7, 160, 161, 2053])
def test_kaldis_frames_are_the_same_bits_in_blocks(sound: Sound, stepwise: Stepwise, size: int) -> None:
    samples = sound("speech", 16000)[: 3000 if size == 1 else 32_000]
    np.testing.assert_array_equal(stepwise(KALDI, samples, [size]), compute(KALDI, samples))


def kaldi_native(spec: FrontEndSpec, samples: Samples) -> Samples:
    """OnlineFbank's frames, fed in blocks of 10 ms."""
    import kaldi_native_fbank as knf

    options = knf.FbankOptions()
    options.frame_opts.samp_freq, options.frame_opts.dither, options.frame_opts.snip_edges = spec.sr, 0.0, True
    options.mel_opts.num_bins, options.mel_opts.low_freq, options.mel_opts.high_freq = (
        spec.n_mels,
        spec.fmin,
        spec.fmax,
    )
    options.use_energy = False
    fbank = knf.OnlineFbank(options)
    for start in range(0, len(samples), spec.hop_length):
        fbank.accept_waveform(spec.sr, samples[start : start + spec.hop_length].tolist())
    fbank.input_finished()
    return np.array([fbank.get_frame(frame) for frame in range(fbank.num_frames_ready)])


def kaldi_torchaudio(spec: FrontEndSpec, samples: Samples) -> Samples:
    torchaudio, torch = import_torchaudio()
    with quiet():
        fbank = torchaudio.compliance.kaldi.fbank(
            torch.from_numpy(samples.copy())[None], sample_frequency=float(spec.sr), num_mel_bins=spec.n_mels,
            low_freq=spec.fmin, high_freq=spec.fmax, dither=0.0,
        )  # fmt: skip
    return np.asarray(fbank.numpy())


def check_logarithms(ours: Samples, theirs: Samples, offset: float = 0.0, exponent: float = 2.0) -> None:
    """Natural logarithms within 1e-4, where single precision holds so much.

    All sides round: FFTs at some 1e-7 of a frame's amplitude, Kaldi's and torchaudio's filters, made in single
    precision, at some 1e-6 of their peak. A band far below its frame's loudest is as good as that.
    """
    assert ours.shape == theirs.shape
    assert np.isfinite(ours).all()
    bands = np.exp(theirs.astype(np.float64)) - offset
    amplitude = np.maximum(bands, 1e-12) ** (1.0 / exponent)
    loudest = amplitude.max(axis=1, keepdims=True)
    spectra = (amplitude + 1e-6 * loudest) ** exponent - amplitude**exponent
    filters = 5e-6 * loudest**exponent
    allowed = 1e-4 + np.log1p((spectra + filters) / (bands + offset + 1e-12))
    assert np.max(np.abs(ours - theirs) / allowed) <= 1.0


# ---- torchaudio


@pytest.mark.parametrize("kind", ["noise", "speech", "silence", "impulse", "clipped"])
@pytest.mark.parametrize(
    ("spec", "options"),
    [
        (FrontEndSpec(feature="mel", fmin=0.0, htk=True, norm="none"), {"center": False}),
        (
            FrontEndSpec(feature="mel", fmin=0.0, htk=True, norm="none", center=True, pad_mode="reflect", power=1.0),
            {"power": 1.0},
        ),
        (
            FrontEndSpec(feature="mel", sr=22050, n_fft=1024, win_length=1024, hop_length=256, n_mels=80, fmax=8000.0),
            {"center": False, "mel_scale": "slaney", "norm": "slaney"},
        ),
    ],
    ids=["its defaults, not centred", "its defaults, magnitude", "as librosa"],
)
def test_torchaudios_mel_spectrogram_agrees(
    sound: Sound, spec: FrontEndSpec, options: dict[str, Any], kind: str
) -> None:
    torchaudio, torch = import_torchaudio()
    samples = sound(kind, spec.sr)
    with quiet():
        transform = torchaudio.transforms.MelSpectrogram(**torchaudio_options(spec), **options)
        theirs = transform(torch.from_numpy(samples.copy())).numpy().T.astype(np.float64)
    ours = compute(spec, samples)
    assert ours.shape == theirs.shape
    # Its filters are made in single precision, rounded at some 1e-6 of their peak.
    assert np.all(np.abs(ours - theirs) <= 1e-5 * theirs + 3e-6 * theirs.max(axis=1, keepdims=True))


@pytest.mark.parametrize("log_mels", [False, True], ids=["dB", "ln"])
@pytest.mark.parametrize("kind", ["noise", "speech", "clipped"])
def test_torchaudios_mfcc_agrees(sound: Sound, kind: str, log_mels: bool) -> None:
    torchaudio, torch = import_torchaudio()
    scale: dict[str, Any] = {"log": "ln", "log_offset": 1e-6} if log_mels else {"log": "db"}
    spec = FrontEndSpec(
        feature="mfcc", n_mfcc=13, n_mels=40, fmin=0.0, htk=True, norm="none", center=True, pad_mode="reflect", **scale
    )
    samples = sound(kind, 16000) + 0.05 * sound("noise", 16000)  # its decibels end 80 dB below the loudest
    with quiet():
        mel_options = torchaudio_options(spec)
        del mel_options["sample_rate"]
        transform = torchaudio.transforms.MFCC(16000, n_mfcc=13, log_mels=log_mels, melkwargs=mel_options)
        theirs = transform(torch.from_numpy(samples)).numpy().T
    np.testing.assert_allclose(compute(spec, samples), theirs, rtol=1e-5, atol=1e-3)


def torchaudio_options(spec: FrontEndSpec) -> dict[str, Any]:
    return {
        "sample_rate": spec.sr, "n_fft": spec.n_fft, "win_length": spec.win_length, "hop_length": spec.hop_length,
        "f_min": spec.fmin, "f_max": spec.fmax, "n_mels": spec.n_mels,
    }  # fmt: skip


def import_torchaudio() -> tuple[Any, Any]:
    torch = pytest.importorskip("torch")
    if importlib.util.find_spec("torchaudio") is None:
        pytest.skip("no torchaudio (extra `train`)")
    from earwitness.models.torchaudio_cpu import import_torchaudio

    with quiet():
        return import_torchaudio(), torch


def quiet() -> warnings.catch_warnings[None]:
    """Without torchaudio's own warnings, on what it deprecates."""
    return warnings.catch_warnings(action="ignore")


# ---- YAMNet

PATCH, PATCH_HOP, WINDOW = 96, 48, 15600  # frames, frames, samples under a patch
STEP = 1 / 256  # of its 8-bit scores


@pytest.mark.data
def test_yamnets_filters_and_patches_are_those_inside_its_own_file(data_root: Path) -> None:
    yamnet = Network(model(data_root, "yamnet.tflite"), inside=True)
    for path in sorted((data_root / "esc10" / "audio").glob("*.ogg"))[::32]:
        samples = recording(path)
        patches = compute(YAMNET, samples)
        for start in range(0, len(patches) - PATCH + 1, 96):
            yamnet(samples[160 * start :][:WINDOW])
            check_logarithms(patches[start : start + PATCH], yamnet.inner("feature_patch")[0], 0.001, 1.0)
    filters = mel_filters(sr=16000, n_fft=512, n_mels=64, fmin=125.0, fmax=7500.0, htk=True, slopes="mel")
    np.testing.assert_allclose(filters, yamnet.inner("mel_spectrogram"), atol=1e-6)


@pytest.mark.data
@pytest.mark.slow
def test_yamnet_names_the_same_classes_from_our_patches_as_from_the_waveform(data_root: Path) -> None:
    """Its two files round to 8 bits differently: a class that it has within one such step of the top is the top too."""
    from_samples, from_patches = (
        Network(model(data_root, "yamnet.tflite")),
        Network(model(data_root, "yamnet_spectra_in.tflite")),
    )
    same, furthest = [], 0.0
    for path in sorted((data_root / "esc10" / "audio").glob("*.ogg"))[::4]:
        samples = recording(path)
        patches = compute(YAMNET, samples)
        starts = range(0, len(patches) - PATCH + 1, PATCH_HOP)
        theirs = np.mean([from_samples(samples[160 * start :][:WINDOW]) for start in starts], axis=0)
        ours = np.mean([from_patches(patches[None, start : start + PATCH]) for start in starts], axis=0)
        same.append(theirs[ours.argmax()] >= theirs.max() - STEP)
        furthest = max(furthest, float(np.abs(ours - theirs).max()))
    assert np.mean(same) >= 0.95
    assert furthest <= 0.05


class Network:
    """A LiteRT file: one input, one output; with `inside`, its inner tensors too."""

    def __init__(self, path: Path, inside: bool = False) -> None:
        from ai_edge_litert.interpreter import Interpreter

        with warnings.catch_warnings(action="ignore"):  # that keeping inner tensors takes memory
            self._net = Interpreter(str(path), num_threads=1, experimental_preserve_all_tensors=inside)
        self._net.allocate_tensors()
        self._input, self._output = self._net.get_input_details()[0], self._net.get_output_details()[0]

    def __call__(self, values: Samples) -> Samples:
        self._net.set_tensor(self._input["index"], values)
        self._net.invoke()
        return np.array(self._net.get_tensor(self._output["index"])[0])

    def inner(self, name: str) -> Samples:
        (found,) = (tensor for tensor in self._net.get_tensor_details() if tensor["name"] == name)
        return np.array(self._net.get_tensor(found["index"]))


def model(data_root: Path, name: str) -> Path:
    pytest.importorskip("ai_edge_litert")
    path = data_root.parent / "models" / name
    if not path.is_file():
        pytest.skip(f"no {path}")
    return path


@lru_cache(maxsize=1)
def recording(path: Path) -> Samples:
    """A clip at 16 kHz."""
    samples, rate = soundfile.read(path, dtype="float32")
    return resample(samples, rate, 16000)
