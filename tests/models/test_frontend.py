"""The front end on tensors gives the numbers of the numpy front end, feature by feature, and lets gradients through."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from earwitness.stream.errors import EarwitnessError
from earwitness.stream.features.catalog import FEATURES
from earwitness.stream.features.frontend import FrontEndSpec, compute

torch = pytest.importorskip("torch", reason="the front end on tensors needs torch (extra train or gpu)")
from torch.utils._python_dispatch import TorchDispatchMode  # noqa: E402

from earwitness.models.frontend import TorchFrontEnd  # noqa: E402

Samples = NDArray[np.float32]

LEVELS = {name for name in FEATURES if FEATURES[name].__module__.endswith(".levels")}
ON_TENSORS = sorted(set(FEATURES) - LEVELS)
DECIBELS = {"log_mel", "stft_db"}
OF_LOGARITHMS = {  # what they may differ by in rounding of all kinds, and in that of noise
    "mfcc": (0.05, 1e-4),
    "mfcc_delta": (0.05, 1e-4),
    "mfcc_delta2": (0.05, 1e-4),
    "spectral_contrast": (0.05, 1e-4),
    "spectral_flatness": (0.0, 0.0),
    "spectral_bandwidth": (0.0, 0.0),
}
STEPS = {"dominant_frequency", "spectral_rolloff", "zero_crossing_rate", "clipping"}

KALDI = FrontEndSpec(
    window="povey", pad_window="end", remove_dc=True, preemphasis=0.97, n_mels=40, fmin=20.0, htk=True, norm="none",
    mel_slopes="mel", log="ln", amin=1.1920929e-07,
)  # fmt: skip
YAMNET = FrontEndSpec(
    pad_window="end", power=1.0, fmin=125.0, fmax=7500.0, htk=True, norm="none", log="ln", log_offset=0.001
)
SPECS = {
    "default": FrontEndSpec(),
    "zeros": FrontEndSpec(center=True),
    "reflected": FrontEndSpec(center=True, pad_mode="reflect"),
    "edge": FrontEndSpec(center=True, pad_mode="edge"),
    "kaldi": KALDI,
    "yamnet": YAMNET,
    "conditioned": FrontEndSpec(remove_dc=True, preemphasis=0.5, window="hamming"),
    "odd": FrontEndSpec(sr=22050, n_fft=999, win_length=700, hop_length=333, n_mels=40, fmax=11025.0, power=1.5),
    "one": FrontEndSpec(n_fft=1024, win_length=1024, hop_length=1, window="blackman"),
}


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """Small tensors are not worth a second thread, which other programs on the machine would hold up."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@cache
def sounds(seconds: float = 0.4, sr: int = 16000) -> dict[str, Samples]:
    """What a front end may meet."""
    rng, time = np.random.default_rng(1), np.arange(int(seconds * sr)) / sr
    noise = rng.standard_normal(len(time))
    made = {
        "noise": 0.1 * noise,
        "clipped": np.clip(3.0 * noise, -1.0, 1.0),
        "sweep": 0.5 * np.sin(2 * np.pi * (50.0 + sr / 4 * time) * time) + 1e-3 * noise,
        "impulse": np.eye(1, len(time), len(time) // 3)[0],
        "silence": np.zeros(len(time)),
        "denormal": np.full(len(time), 1e-42),
        "constant": np.full(len(time), 0.25),
    }
    return {name: sound.astype(np.float32) for name, sound in made.items()}


@cache
def front_end_of(spec: FrontEndSpec, device: str = "cpu") -> TorchFrontEnd:
    return TorchFrontEnd(spec, device)


def on_tensors(spec: FrontEndSpec, samples: Samples, device: str = "cpu") -> Samples:
    values: Samples = front_end_of(spec, device)(torch.from_numpy(samples)[None].to(device))[0].cpu().numpy()
    return values


def assert_the_same(name: str, kind: str, ours: Samples, numpys: Samples, power: float = 2.0) -> None:
    """To 1e-5 and 1e-4 dB, beside what single precision rounds in a frame's largest value: 1e-6 of it."""
    assert ours.dtype == np.float32
    assert ours.shape == numpys.shape
    assert np.isfinite(ours).all()
    plain = kind in ("noise", "clipped")  # sounds whose frames have no bin that is nothing but rounding
    if not numpys.size:
        return
    if name in STEPS:  # which of two equal bins is the larger one is rounding
        assert np.mean(np.any(ours != numpys, axis=1)) <= 0.02
    elif name in OF_LOGARITHMS:
        np.testing.assert_allclose(ours, numpys, rtol=1e-5 if plain else 1e-3, atol=OF_LOGARITHMS[name][plain])
    elif name in DECIBELS:
        near = numpys > numpys.max(axis=1, keepdims=True) - 40.0
        if plain:
            np.testing.assert_allclose(ours[near], numpys[near], rtol=0, atol=1e-4)
        amplitude, theirs = (10.0 ** (values.astype(np.float64) / (10 * power)) for values in (ours, numpys))
        assert_near(amplitude, theirs, floor=1e-6)
    else:
        assert_near(ours, numpys, floor=1e-6 if name == "cwt" else 1e-7)  # its sums are of thousands of samples


def assert_near(ours: NDArray[Any], numpys: NDArray[Any], floor: float = 1e-7) -> None:
    largest = np.abs(numpys).max(axis=1, keepdims=True)
    excess = np.abs(ours - numpys) - 1e-5 * np.abs(numpys) - 1e-6 * largest
    assert excess.max() <= floor


@pytest.mark.parametrize("kind", sounds())
@pytest.mark.parametrize("name", [*ON_TENSORS, "mfcc_delta", "mfcc_delta2", "spectral_flux_delta"])
def test_every_feature_has_numpys_numbers(name: str, kind: str) -> None:
    if (name, kind) == ("dominant_frequency", "impulse"):
        pytest.skip("an impulse has no strongest bin")
    samples, spec = sounds()[kind], FrontEndSpec(feature=name)
    assert_the_same(name, kind, on_tensors(spec, samples), compute(spec, samples))


@pytest.mark.parametrize("name", sorted(LEVELS))
def test_what_is_not_to_be_had_is_refused_with_what_is(name: str) -> None:
    with pytest.raises(EarwitnessError, match=f"no {name}.*log_mel.*cwt") as refused:
        TorchFrontEnd(FrontEndSpec(feature=name))
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("kind", sounds())
@pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)
def test_every_framing_has_numpys_numbers(spec: FrontEndSpec, kind: str) -> None:
    samples = sounds(0.07 if spec.hop_length == 1 else 0.4, spec.sr)[kind]
    ours, numpys = on_tensors(spec, samples), compute(spec, samples)
    if spec.log == "ln":  # as decibels: the same rule for both
        ours, numpys = (values * np.float32(10 / np.log(10)) for values in (ours, numpys))
    # Bands that hold nothing but what the window leaks are rounding of the whole frame.
    assert_the_same("log_mel", kind, ours, numpys, spec.power)


@pytest.mark.parametrize("length", [0, 1, 2, 257, 399, 400, 512, 1791])
@pytest.mark.parametrize("spec", [*SPECS.values(), FrontEndSpec(feature=("log_mel", "log_mel_delta2", "pcen_delta"))])
def test_signals_of_any_length_have_numpys_frames(spec: FrontEndSpec, length: int) -> None:
    samples = sounds()["noise"][:length]
    numpys = compute(spec, samples)
    ours = on_tensors(spec, samples)
    assert ours.shape == numpys.shape
    np.testing.assert_allclose(ours, numpys, rtol=1e-5, atol=1e-2)  # bands of one mirrored sample are rounding


@pytest.mark.parametrize(
    "changes",
    [
        {"feature": "pcen", "pcen_power": 0.0},
        {"feature": "pcen", "pcen_bias": 0.0},
        {"feature": "pcen", "pcen_power": 0.25, "pcen_time_constant": 0.06, "pcen_gain": 0.8},
        {"feature": "mfcc", "n_mfcc": 13, "lifter": 22.0, "log": "ln"},
        {"feature": "mfcc", "lifter": 20.0},
        {"feature": "chroma", "n_fft": 2048, "win_length": 2048, "tuning": 0.3, "n_chroma": 24},
        {"feature": "spectral_bandwidth", "bandwidth_p": 1.0},
        {"feature": "spectral_bandwidth", "bandwidth_p": 3.5, "descriptor_power": 2.0},
        {"feature": "spectral_centroid", "descriptor_power": 2.0},
        {"feature": "spectral_entropy", "descriptor_power": 2.0},
        {"feature": "band_energy", "band_edges": (0.0, 300.0, 3400.0, 8000.0)},
        {"feature": "spectral_contrast", "contrast_bands": 3, "contrast_quantile": 0.2},
        {"feature": "cwt", "wavelet": "mexican_hat", "cwt_fmin": 31.5},
        {"feature": "cwt", "cwt_fmin": 500.0, "center": True, "pad_mode": "edge"},
        {"feature": "log_mel_delta", "delta_width": 3},
    ],
    ids=str,
)
def test_options_mean_what_they_mean_in_numpy(changes: dict[str, Any]) -> None:
    spec, samples = FrontEndSpec(**changes), sounds()["noise"]
    ours, numpys = on_tensors(spec, samples), compute(spec, samples)
    if spec.features[0] in {*OF_LOGARITHMS, "log_mel_delta"}:
        np.testing.assert_allclose(ours, numpys, rtol=1e-5, atol=1e-4)
    else:
        assert_near(ours, numpys)


@pytest.mark.data
@pytest.mark.parametrize(
    "name", ["log_mel", "mel", "pcen", "mfcc", "chroma", "spectral_centroid", "spectral_flux", "rms"]
)
def test_recordings_have_numpys_numbers(name: str, data_root: Path) -> None:
    files = sorted(path for path in data_root.rglob("*") if path.suffix in (".wav", ".flac", ".ogg"))
    if not files:
        pytest.skip(f"no recordings under {data_root}")
    for path in files[:: max(1, len(files) // 5)][:5]:
        samples, rate = soundfile.read(path, frames=40_000, dtype="float32", always_2d=True)
        spec = FrontEndSpec(feature=name, sr=rate, fmax=min(8000.0, rate / 2))
        mono = np.ascontiguousarray(samples[:, 0])
        assert_the_same(name, "recording", on_tensors(spec, mono), compute(spec, mono))


def test_a_signal_of_a_batch_has_the_numbers_that_it_has_alone() -> None:
    spec = FrontEndSpec(feature=("log_mel", "spectral_flux", "pcen", "mfcc_delta"), center=True)
    noise = torch.from_numpy(sounds(2.0)["noise"]).reshape(4, -1)
    front_end = TorchFrontEnd(spec)
    together = front_end(noise)
    for row, alone in enumerate(noise):
        torch.testing.assert_close(together[row], front_end(alone[None])[0], rtol=1e-5, atol=1e-5)


@cache
def everything() -> tuple[Any, Any]:
    """A front end of all features but the waveform, and a batch for it."""
    front_end = TorchFrontEnd(FrontEndSpec(feature=tuple(name for name in ON_TENSORS if name != "waveform")))
    return front_end, 0.1 * torch.randn(2, 4000, generator=torch.Generator().manual_seed(0))


class Operations(TorchDispatchMode):
    """Notes what torch computes."""

    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.names.add(func.__name__.split(".")[0])
        return func(*args, **(kwargs or {}))


def test_nothing_is_computed_that_tf32_could_round() -> None:
    """TF32 touches matrix products and convolutions: there are none."""
    front_end, noise = everything()
    with Operations() as operations:
        front_end(noise)
    assert "_fft_r2c" in operations.names, "the operations are seen"
    rounded = {"mm", "bmm", "addmm", "baddbmm", "addbmm", "mv", "dot", "linear", "matmul", "convolution"}
    assert not {name for name in operations.names if name in rounded or "conv" in name}


def test_autocast_does_not_change_a_bit() -> None:
    front_end, noise = everything()
    plain = front_end(noise)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        cast = front_end(noise)
    assert cast.dtype == torch.float32
    assert torch.equal(cast, plain)


def test_half_precision_comes_in_and_single_precision_goes_out() -> None:
    front_end, noise = everything()
    assert front_end(noise.half()).dtype == torch.float32


@pytest.mark.parametrize("name", sorted(set(ON_TENSORS) - STEPS))
def test_gradients_are_finite_even_of_silence(name: str) -> None:
    front_end, samples = TorchFrontEnd(FrontEndSpec(feature=name)), sounds(0.2)
    batch = np.stack([samples["noise"], samples["silence"], samples["constant"], samples["impulse"]])
    waveforms = torch.from_numpy(batch).requires_grad_()
    front_end(waveforms).sum().backward()
    assert waveforms.grad is not None
    assert torch.isfinite(waveforms.grad).all()
    assert waveforms.grad[0].any() or name == "zero_crossing_rate"


def test_the_gradient_of_log_mel_is_that_of_a_small_change() -> None:
    front_end = TorchFrontEnd(FrontEndSpec())
    waveform = torch.from_numpy(sounds(0.1)["noise"])[None].requires_grad_()
    front_end(waveform).sum().backward()
    assert waveform.grad is not None
    # Twice the gain adds 6.02 dB to every band: the derivative by the logarithm of the gain is 20 / ln 10 for each.
    by_gain = float((waveform.grad * waveform).detach().sum())
    assert by_gain == pytest.approx(20 / np.log(10) * front_end(waveform).numel(), rel=1e-3)


def test_it_is_exported_with_any_number_of_signals() -> None:
    front_end = TorchFrontEnd(FrontEndSpec(feature=("log_mel", "spectral_flux")))
    noise = torch.from_numpy(sounds(2.0)["noise"]).reshape(4, -1)
    batch = torch.export.Dim("batch", min=2, max=1024)
    exported = torch.export.export(front_end, (noise[:2],), dynamic_shapes={"waveforms": {0: batch}})
    assert torch.equal(exported.module()(noise), front_end(noise))


def test_it_adds_nothing_to_what_a_network_keeps() -> None:
    front_end, _ = everything()
    assert not front_end.state_dict()
    assert not list(front_end.parameters())
    assert {buffer.device.type for buffer in front_end.to("meta").buffers()} == {"meta"}


def test_waveforms_of_another_shape_are_a_bug_of_the_caller() -> None:
    with pytest.raises(TypeError, match=r"\[16000\]"):
        TorchFrontEnd(FrontEndSpec())(torch.zeros(16000))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("name", [*ON_TENSORS, "mfcc_delta"])
def test_cuda_has_numpys_numbers_with_tf32_allowed(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.cuda.matmul, "allow_tf32", True)
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", True)
    spec = FrontEndSpec(feature=name)
    for kind, samples in sounds().items():
        if (name, kind) != ("dominant_frequency", "impulse"):
            assert_the_same(name, kind, on_tensors(spec, samples, "cuda"), compute(spec, samples))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_gradients_on_cuda_are_those_on_the_cpu() -> None:
    gradients = []
    for device in ("cpu", "cuda"):
        waveform = torch.from_numpy(sounds(0.1)["noise"])[None].to(device).requires_grad_()
        TorchFrontEnd(FrontEndSpec(), device)(waveform).sum().backward()
        assert waveform.grad is not None
        gradients.append(waveform.grad.cpu())
    torch.testing.assert_close(gradients[1], gradients[0], rtol=1e-3, atol=1e-3)
