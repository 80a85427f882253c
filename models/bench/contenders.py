"""What `rounds` measures: our front end, what others use in its place, and the least that it could take.

A case is made once and then does the same piece of work again and again. Everything works on the same sound, the
demo's scene at 16 kHz, with 64 mel bands, n_fft 512, a window of 400 and a hop of 160 samples. What others stream is
streamed (kaldi-native-fbank, openSMILE); librosa and torchaudio are called on each block, with the samples before it
that its first frame needs.
"""

from __future__ import annotations

import importlib
import itertools
import threading
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import lru_cache, partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...stream.features import cwt, spectral, time_domain
from ...stream.features.frontend import FrontEnd, FrontEndSpec
from ...stream.features.mel import mel_filters
from ...stream.features.windows import analysis_window
from ...stream.resample import resample
from ...stream.sources.demo import RATE, make_scene

Samples = NDArray[np.float32]
Step = Callable[[], float]
"""Does a piece of work and returns how many seconds of sound that was."""

Makers = dict[str, Callable[[], Step]]
Prepare = Callable[[int], Callable[[], Any]]

SR, N_FFT, WIN, HOP, MELS, FMIN, FMAX = 16000, 512, 400, 160, 64, 50.0, 8000.0
BLOCKS = {"10 ms": 160, "100 ms": 1600, "1 s": 16000}
STREAMS = (1, 16, 256, 1000)
CWT_STREAMS = 16
BATCHES = (128, 256)  # frames of one bare FFT or product
DESCRIPTORS = (*time_domain.FEATURES, *spectral.FEATURES)
WHOLE_S = 60

SPECS: dict[str, FrontEndSpec] = {"log_mel": FrontEndSpec(feature="log_mel")}
if DESCRIPTORS:
    SPECS["descriptors"] = FrontEndSpec(feature=DESCRIPTORS)
if "cwt" in cwt.FEATURES:  # 64 scales: 10 an octave from 50 Hz on
    SPECS["cwt"] = FrontEndSpec(feature="cwt", cwt_fmin=50.0, cwt_fmax=4000.0, voices_per_octave=10)

PIP = {"kaldi_native_fbank": "kaldi-native-fbank"}


def makers() -> tuple[Makers, dict[str, str]]:
    """All cases that can be made here by name, and of the libraries that are missing how to get them."""
    cases, missing = live_makers(_PEERS)
    for module in ("scipy", "torch"):  # the floor is lower with them
        if not _there(module):
            missing[module] = f"pip install {module}"
    return cases | dict(_floor()), missing


def live_makers(peers: Iterable[str]) -> tuple[Makers, dict[str, str]]:
    """The same of the front end and of some of the others, without the floor; no other library is loaded."""
    cases = dict(_ours())
    missing = {}
    for module in peers:
        try:
            importlib.import_module(module) if module != "torchaudio" else _torchaudio()
        except ImportError:
            missing[module] = f"pip install {PIP.get(module, module)}"
        else:
            cases |= dict(_PEERS[module]())
    return cases, missing


def ours_in(what: str, streams: int) -> str:
    """What the names of such cases begin with, the block's length aside."""
    return f"ours {what}, {streams} streams"


def ours(what: str, streams: int, block: str) -> str:
    """The name of a case of the front end."""
    return f"{ours_in(what, streams)}, {block}"


@lru_cache(maxsize=1)
def sound() -> Samples:
    """A minute of the demo's scene, float32 at 16 kHz."""
    scene = make_scene().samples.astype(np.float32) / np.float32(32768)
    return np.resize(resample(scene, RATE, SR), WHOLE_S * SR)


# ---- ours


def _ours() -> Iterator[tuple[str, Callable[[], Step]]]:
    for block in BLOCKS:
        for what, spec in SPECS.items():
            for streams in (CWT_STREAMS,) if what == "cwt" else STREAMS:
                yield ours(what, streams, block), pushing(spec, streams, BLOCKS[block])
        if block != "1 s":
            yield ours("log_mel out of step", 256, block), pushing(SPECS["log_mel"], 256, BLOCKS[block], in_step=False)


def pushing(spec: FrontEndSpec, streams: int, block: int, in_step: bool = True) -> Callable[[], Step]:
    """The front end of so many streams, which get a block of so many samples each at every step."""

    def make() -> Step:
        front_end = FrontEnd(spec)
        pushes = itertools.cycle(blocks_of(streams, block))
        ahead = [0 if in_step else index * 7 % HOP for index in range(streams)]
        front_end.push({f"s{index}": sound()[: N_FFT + samples] for index, samples in enumerate(ahead)})
        seconds = streams * block / SR

        def step() -> float:
            front_end.push(next(pushes))
            return seconds

        return step

    return make


def blocks_of(streams: int, block: int) -> list[Mapping[str, Samples]]:
    """Some blocks that follow each other, of each stream elsewhere in the sound."""
    pushes = max(2, min(20, SR // block))
    last = len(sound()) - pushes * block
    starts = {f"s{index}": index * 7919 % last for index in range(streams)}
    return [
        {name: sound()[start + number * block :][:block] for name, start in starts.items()} for number in range(pushes)
    ]


# ---- others


def _librosa() -> Iterator[tuple[str, Callable[[], Step]]]:
    import librosa

    mel: dict[str, Any] = {"n_fft": N_FFT, "win_length": WIN, "hop_length": HOP, "center": False}

    def log_mel(samples: Samples) -> None:
        power = librosa.feature.melspectrogram(y=samples, sr=SR, n_mels=MELS, fmin=FMIN, fmax=FMAX, **mel)
        librosa.power_to_db(power, top_db=None)

    filters = librosa.filters.mel(sr=SR, n_fft=N_FFT, n_mels=MELS, fmin=FMIN, fmax=FMAX)

    def log_mel_prepared(samples: Samples) -> None:
        librosa.power_to_db(filters @ (np.abs(librosa.stft(samples, **mel)) ** 2), top_db=None)

    def descriptors(samples: Samples) -> None:
        librosa.feature.rms(y=samples, frame_length=N_FFT, hop_length=HOP, center=False)
        librosa.feature.zero_crossing_rate(samples, frame_length=N_FFT, hop_length=HOP, center=False)
        librosa.feature.spectral_centroid(y=samples, sr=SR, **mel)
        librosa.feature.spectral_bandwidth(y=samples, sr=SR, **mel)
        librosa.feature.spectral_rolloff(y=samples, sr=SR, **mel)
        librosa.feature.spectral_flatness(y=samples, **mel)

    yield "librosa, 60 s at once", lambda: _at_once(log_mel)
    for block, samples in BLOCKS.items():
        yield f"librosa, {block}", partial(_on_each, log_mel, samples)
        yield f"librosa with filters made once, {block}", partial(_on_each, log_mel_prepared, samples)
        yield f"librosa descriptors, {block}", partial(_on_each, descriptors, samples)
    yield "librosa descriptors, 60 s at once", lambda: _at_once(descriptors)


def _torchaudio_cases() -> Iterator[tuple[str, Callable[[], Step]]]:
    import torch

    transforms = _torchaudio().transforms
    torch.set_num_threads(1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        mel = transforms.MelSpectrogram(
            SR, N_FFT, WIN, HOP, f_min=FMIN, f_max=FMAX, n_mels=MELS, center=False, norm="slaney", mel_scale="slaney"
        )
    log_mel = torch.nn.Sequential(mel, transforms.AmplitudeToDB())

    def call(samples: Samples) -> None:
        with torch.inference_mode():
            log_mel(torch.from_numpy(samples))

    def clips() -> Step:
        batch = sound()[: 256 // 8 * SR].reshape(-1, SR).repeat(8, axis=0)

        def step() -> float:
            call(batch)
            return batch.size / SR

        return step

    yield "torchaudio, 60 s at once", lambda: _at_once(call)
    yield "torchaudio, 256 clips of 1 s", clips
    for block, samples in BLOCKS.items():
        yield f"torchaudio, {block}", partial(_on_each, call, samples)


def _kaldi() -> Iterator[tuple[str, Callable[[], Step]]]:
    import kaldi_native_fbank as knf

    options = knf.FbankOptions()
    frame, mel = options.frame_opts, options.mel_opts
    frame.samp_freq, frame.dither, frame.window_type = SR, 0.0, "hanning"
    frame.remove_dc_offset, frame.preemph_coeff = False, 0.0  # we do neither: they are spared it
    mel.num_bins, mel.low_freq, mel.high_freq = MELS, FMIN, FMAX

    def stream(block: int) -> Step:
        fbank = knf.OnlineFbank(options)
        pushes = itertools.cycle([push["s0"] for push in blocks_of(1, block)])
        seen = 0

        def step() -> float:
            nonlocal seen
            fbank.accept_waveform(SR, next(pushes).tolist())  # a list: it takes arrays element by element, slower
            ready = fbank.num_frames_ready
            for index in range(seen, ready):
                fbank.get_frame(index)
            fbank.pop(ready - seen)
            seen = ready
            return block / SR

        return step

    for block, samples in BLOCKS.items():
        yield f"kaldi, {block}", partial(stream, samples)


def _opensmile() -> Iterator[tuple[str, Callable[[], Step]]]:
    import opensmile

    smile = opensmile.Smile(
        feature_set=opensmile.FeatureSet.eGeMAPSv02, feature_level=opensmile.FeatureLevel.LowLevelDescriptors
    )

    def at_once(samples: Samples) -> None:
        smile.process_signal(samples, SR)

    def streamed() -> Step:
        integers = (sound()[: 20 * SR] * 32767).astype(np.int16)

        def step() -> float:
            options = smile._options() | {"sampleRate": SR, "nBits": 16}
            options["source"] = f"{smile.default_config_root}/shared/standard_external_wave_input.conf.inc"
            running = smile._smile(options=options)
            rows: list[Samples] = []
            running.external_sink_set_callback_ex("extsink", lambda data, meta: rows.append(data.copy()))
            thread = threading.Thread(target=running.run)
            thread.start()
            for start in range(0, len(integers), BLOCKS["100 ms"]):
                block = bytes(integers[start : start + BLOCKS["100 ms"]])
                while not running.external_audio_source_write_data("extsource", block):
                    threading.Event().wait(0.001)
            running.external_audio_source_set_eoi("extsource")
            thread.join()
            running.free()
            return len(integers) / SR

        return step

    yield "opensmile, 60 s at once", lambda: _at_once(at_once)
    yield "opensmile, 20 s in 100 ms blocks", streamed
    yield "opensmile on each, 1 s", lambda: _on_each(at_once, SR, before=0)


def _at_once(work: Callable[[Samples], None]) -> Step:
    def step() -> float:
        work(sound())
        return WHOLE_S

    return step


def _on_each(work: Callable[[Samples], None], block: int, before: int = N_FFT - HOP) -> Step:
    """Of one stream: each block with so many samples before it."""
    starts = itertools.cycle(range(0, len(sound()) - block - before, block))

    def step() -> float:
        start = next(starts)
        work(sound()[start : start + before + block])
        return block / SR

    return step


def _torchaudio() -> Any:
    from ..torchaudio_cpu import import_torchaudio

    return import_torchaudio()


_PEERS: dict[str, Callable[[], Iterator[tuple[str, Callable[[], Step]]]]] = {
    "librosa": _librosa,
    "torchaudio": _torchaudio_cases,
    "kaldi_native_fbank": _kaldi,
    "opensmile": _opensmile,
}


# ---- the floor


def _floor() -> Iterator[tuple[str, Callable[[], Step]]]:
    """A bare FFT of windowed frames that lie side by side, and a bare product of their powers with the filters."""
    for name, work in (*_ffts(), *_products()):
        for batch in BATCHES:
            yield f"{name}, {batch} frames", partial(_on_frames, work, batch)


def _on_frames(prepare: Prepare, batch: int) -> Step:
    work = prepare(batch)

    def step() -> float:
        work()
        return batch * HOP / SR

    return step


def _frames(batch: int) -> Samples:
    window = np.pad(analysis_window("hann", WIN), (N_FFT - WIN) // 2)
    return np.ascontiguousarray(np.lib.stride_tricks.sliding_window_view(sound(), N_FFT)[::HOP][:batch] * window)


def _powers(batch: int) -> Samples:
    return np.asarray(np.abs(np.fft.rfft(_frames(batch))) ** 2, np.float32)


def _ffts() -> Iterator[tuple[str, Prepare]]:
    def numpys(batch: int) -> Callable[[], Any]:
        frames, out = _frames(batch), np.empty((batch, 1 + N_FFT // 2), np.complex64)
        rfft: Any = np.fft.rfft  # its annotations know float64 alone
        return lambda: rfft(frames, out=out)

    def torchs(batch: int) -> Callable[[], Any]:
        torch = importlib.import_module("torch")
        frames, out = torch.from_numpy(_frames(batch)), torch.empty((batch, 1 + N_FFT // 2), dtype=torch.complex64)
        return lambda: torch.fft.rfft(frames, out=out)

    def by(function: Callable[[Samples], Any]) -> Prepare:
        def prepared(batch: int) -> Callable[[], Any]:
            frames = _frames(batch)
            return lambda: function(frames)

        return prepared

    yield "FFT by numpy.fft", numpys
    if _there("scipy.fft"):
        yield "FFT by scipy.fft", by(importlib.import_module("scipy.fft").rfft)
    if _there("torch"):
        yield "FFT by torch.fft", torchs
    if _there("mkl_fft"):
        yield "FFT by mkl_fft", by(importlib.import_module("mkl_fft").rfft)
    if _there("ducc0"):
        ducc0 = importlib.import_module("ducc0")
        yield "FFT by ducc0", by(lambda frames: ducc0.fft.r2c(frames, axes=(1,), nthreads=1))
    if _there("pyfftw"):
        pyfftw = importlib.import_module("pyfftw")
        yield "FFT by pyfftw", lambda batch: pyfftw.builders.rfft(pyfftw.byte_align(_frames(batch)), threads=1)


def _products() -> Iterator[tuple[str, Prepare]]:
    filters = mel_filters(sr=SR, n_fft=N_FFT, n_mels=MELS, fmin=FMIN, fmax=FMAX).T.copy()

    def numpys(batch: int) -> Callable[[], Any]:
        powers, out = _powers(batch), np.empty((batch, MELS), np.float32)
        return lambda: np.matmul(powers, filters, out=out)

    def torchs(batch: int) -> Callable[[], Any]:
        torch = importlib.import_module("torch")
        powers, out = torch.from_numpy(_powers(batch)), torch.empty((batch, MELS))
        weights = torch.from_numpy(filters)
        return lambda: torch.mm(powers, weights, out=out)

    yield "mel product by numpy", numpys
    if _there("torch"):
        yield "mel product by torch", torchs


def _there(module: str) -> bool:
    try:
        importlib.import_module(module)
    except ImportError:
        return False
    return True
