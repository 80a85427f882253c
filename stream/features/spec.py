"""What a front end computes, in librosa's names: one description for training, evaluation, live and bundles."""

from __future__ import annotations

import hashlib
import math
from typing import TYPE_CHECKING, Literal

import msgspec

from ..errors import EarwitnessError, nearest
from .windows import WINDOWS

if TYPE_CHECKING:
    from .feature import Feature

WAVEFORM = "waveform"

LONGEST_FFT = 1 << 18
"""Samples: several seconds at any rate. Filters for more would fill the memory, and specs come with others' models."""


class FrontEndSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Options of a front end, checked when made. Those that librosa 0.11 has keep its names and meaning.

    Frame f begins at sample `f * hop_length` (with `center`, `n_fft // 2` samples earlier). It is `n_fft` samples with
    the window of `win_length` samples in its middle, as librosa pads it, or with `pad_window` "end" just the samples
    under the window, as Kaldi and TensorFlow take it. See `frame_span`.

    Options of features that are not selected do no harm and are not checked.

    Attributes:
        feature: one name of `catalog.FEATURES`, or several; a frame's values are theirs, in this order. NAME_delta and
            NAME_delta2 are the first and second differences of any of them. "waveform" stands alone: the samples
            themselves, one a frame; it has no other options than `sr`, and its `n_fft`, `win_length` and `hop_length`
            are 1.
        sr: sample rate of the front end's input, Hz.
        n_fft: length of the FFT in samples.
        win_length: samples under the window, 1..n_fft.
        hop_length: samples from frame to frame, 1..win_length.
        window: "hann", "hamming", "blackman", "boxcar", periodic as `scipy.signal.get_window` makes them, or Kaldi's
            "povey".
        pad_window: where zeros pad the window to n_fft: on both sides ("center", librosa) or behind it ("end").
        center: whether frame f is centred on sample `f * hop_length`. Live bundles use False: no look-ahead.
        pad_mode: with `center`, what lies outside of the signal: "constant" (zeros), "reflect" or "edge"
            (`numpy.pad`).
        remove_dc: whether each frame's mean is taken from it before the window (Kaldi).
        preemphasis: 0..1; each frame's samples less so much of the one before, before the window (Kaldi; 0.97 there).
        power: exponent of the magnitudes before the mel and chroma filters: 2 power, 1 magnitude.
        n_mels: number of mel bands.
        fmin: lowest frequency of the lowest band, Hz.
        fmax: highest frequency of the highest band, Hz, at most sr / 2.
        htk: the mel scale of HTK instead of Slaney's.
        norm: "slaney" divides each filter by its width in Hz; "none" leaves peaks of 1 (None is taken as "none", which
            TOML can write down).
        mel_slopes: whether the triangles' sides are straight over "hz" (librosa) or over "mel" (Kaldi).
        log: "db": `10 * log10(max(x, amin))`, relative to full scale samples of 1; "ln": `ln(x + log_offset)`, without
            an offset `ln(max(x, amin))`.
        amin: the floor of the logarithms, > 0. Left alone where there is a log_offset.
        log_offset: what "ln" adds, at least 0; 0 with "db".
        n_mfcc: cepstral coefficients, 1..n_mels.
        lifter: weight of the higher coefficients, at least 0 (`librosa.feature.mfcc`); 0 none.
        delta_width: frames that a delta is fitted to, odd, at least 3 (`librosa.feature.delta`).
        pcen_gain, pcen_bias, pcen_power, pcen_time_constant, pcen_eps: as `librosa.pcen` has them.
        n_chroma: pitch classes of an octave.
        tuning: deviation from A = 440 Hz in bins of chroma.
        descriptor_power: exponent of the magnitudes that weigh centroid, bandwidth, roll-off and entropy: 1 or 2.
        bandwidth_p: order of the bandwidth, 0.1 to 8.
        roll_percent: share of the spectrum below the roll-off frequency, above 0 and below 1.
        contrast_fmin, contrast_bands, contrast_quantile: `fmin` (Hz), `n_bands` and `quantile` of
            `librosa.feature.spectral_contrast`.
        band_edges: frequencies in Hz that part the bands of `band_energy`, ascending; () is octaves around 1 kHz.
        wavelet: "morlet" (complex) or "mexican_hat", for `cwt`.
        cwt_fmin, cwt_fmax: range of the centre frequencies of `cwt`, Hz.
        voices_per_octave: scales of `cwt` for each factor of two.
        calibration_db: what is added to levels: the sound pressure level in dB of a full-scale square wave, so 0 gives
            dB relative to full scale.

    Raises:
        EarwitnessError: on values that cannot work, with the nearest one that does.
    """

    feature: str | tuple[str, ...] = "log_mel"
    sr: int = 16000
    n_fft: int = 512
    win_length: int = 400
    hop_length: int = 160
    window: str = "hann"
    pad_window: Literal["center", "end"] = "center"
    center: bool = False
    pad_mode: Literal["constant", "reflect", "edge"] = "constant"
    remove_dc: bool = False
    preemphasis: float = 0.0
    power: float = 2.0
    n_mels: int = 64
    fmin: float = 50.0
    fmax: float = 8000.0
    htk: bool = False
    norm: Literal["slaney", "none"] | None = "slaney"
    mel_slopes: Literal["hz", "mel"] = "hz"
    log: Literal["db", "ln"] = "db"
    amin: float = 1e-10
    log_offset: float = 0.0
    n_mfcc: int = 20
    lifter: float = 0.0
    delta_width: int = 9
    pcen_gain: float = 0.98
    pcen_bias: float = 2.0
    pcen_power: float = 0.5
    pcen_time_constant: float = 0.4
    pcen_eps: float = 1e-6
    n_chroma: int = 12
    tuning: float = 0.0
    descriptor_power: float = 1.0
    bandwidth_p: float = 2.0
    roll_percent: float = 0.85
    contrast_fmin: float = 200.0
    contrast_bands: int = 6
    contrast_quantile: float = 0.02
    band_edges: tuple[float, ...] = ()
    wavelet: Literal["morlet", "mexican_hat"] = "morlet"
    cwt_fmin: float = 62.5
    cwt_fmax: float = 4000.0
    voices_per_octave: int = 8
    calibration_db: float = 0.0

    def __post_init__(self) -> None:
        if self.norm is None:
            msgspec.structs.force_setattr(self, "norm", "none")
        if not isinstance(self.feature, str):
            names = tuple(self.feature)
            msgspec.structs.force_setattr(self, "feature", names[0] if len(names) == 1 else names)
        _check_kinds(self)
        if self.sr < 1:
            raise EarwitnessError(f"front end: sr is {self.sr} Hz; it must be at least 1, usually 16000")
        features = self._features()
        if self.feature == WAVEFORM:
            _settle_waveform(self)
        else:
            _check_frames(self)
            for feature in features:
                feature.check(self)

    @property
    def features(self) -> tuple[str, ...]:
        """The names of `feature`, one or several."""
        return (self.feature,) if isinstance(self.feature, str) else self.feature

    @property
    def hash(self) -> str:
        """12 hex digits that name this front end. Options at their defaults do not count."""
        canonical = msgspec.json.encode({"feature": self.feature, "sr": self.sr} | _differences(self), order="sorted")
        return hashlib.sha256(canonical).hexdigest()[:12]

    @property
    def dims(self) -> int:
        """Values per frame."""
        return sum(feature.dims(self) for feature in self._features())

    @property
    def columns(self) -> dict[str, slice]:
        """Where each feature's values lie in a frame."""
        places, start = {}, 0
        for name, feature in zip(self.features, self._features(), strict=True):
            places[name] = slice(start, start := start + feature.dims(self))
        return places

    @property
    def frame_length(self) -> int:
        """Samples of a frame."""
        return self.win_length if self.pad_window == "end" else self.n_fft

    @property
    def window_offset(self) -> int:
        """Samples of a frame before the window."""
        return (self.frame_length - self.win_length) // 2  # librosa.util.pad_center

    @property
    def lead(self) -> int:
        """How many samples before `f * hop_length` frame f begins."""
        return self.n_fft // 2 if self.center else 0

    @property
    def latency_samples(self) -> int:
        """How many samples after `f * hop_length` must have come before frame f is out."""
        from .catalog import look_ahead

        return self.frame_length - self.lead + look_ahead(self)

    def frame_span(self, frame: int) -> tuple[int, int]:
        """`[first, end)` of the samples of frame number `frame`, counted from the segment's first sample.

        Negative before, and past the last sample behind the signal, only with `center`. (Wavelets look further, deltas
        at neighbouring frames.)
        """
        first = frame * self.hop_length - self.lead
        return first, first + self.frame_length

    def frame_time(self, frame: int) -> float:
        """Seconds from the segment's beginning to the middle of frame number `frame`: librosa's with `center`."""
        return (frame * self.hop_length - self.lead + self.frame_length // 2) / self.sr

    def frames_of(self, samples: int) -> int:
        """How many frames a flushed segment of that many samples has, as librosa counts; 0 where it is too short."""
        if samples < 1:
            return 0
        padded = samples + 2 * self.lead
        return 0 if padded < self.frame_length else 1 + (padded - self.frame_length) // self.hop_length

    def _features(self) -> list[type[Feature]]:
        from .catalog import find_feature  # the features' files import this one

        return [find_feature(name) for name in self.features]


def check_range(name: str, value: float, low: float, high: float, why: str = "") -> None:
    """Raises EarwitnessError where an option is not within `low`..`high`, with the nearest value that is."""
    if not low <= value <= high:
        because, fit = f" ({why})" if why else "", min(max(value, low), high)
        raise EarwitnessError(f"front end: {name} is {value:g}; valid: {low:g} to {high:g}{because}, nearest {fit:g}")


def check_amin(spec: FrontEndSpec) -> None:
    """Raises EarwitnessError where the floor of the logarithms is not a number that single precision divides by."""
    if spec.amin < 1e-30:
        raise EarwitnessError(f"front end: amin is {spec.amin:g}; it must be above 0, usually 1e-10")


def _differences(spec: FrontEndSpec) -> dict[str, object]:
    """The fields that are not at their defaults, numbers in one spelling."""
    different = {}
    for field in msgspec.structs.fields(FrontEndSpec):
        value = getattr(spec, field.name)
        if value != field.default:
            different[field.name] = float(value) if isinstance(field.default, float) else value
    return different


def _check_kinds(spec: FrontEndSpec) -> None:
    for field in msgspec.structs.fields(FrontEndSpec):
        value = getattr(spec, field.name)
        if type(field.default) is int and (not isinstance(value, int) or isinstance(value, bool)):
            raise EarwitnessError(f"front end: {field.name} is {value!r}; it must be a whole number")
        if type(field.default) is float and not (isinstance(value, (int, float)) and math.isfinite(value)):
            raise EarwitnessError(f"front end: {field.name} is {value!r}; it must be a finite number")
        if type(field.default) is bool and not isinstance(value, bool):
            raise EarwitnessError(f"front end: {field.name} is {value!r}; it must be true or false")
    for name, choices in _CHOICES.items():
        value = getattr(spec, name)
        if value not in choices:
            raise EarwitnessError(f"front end: unknown {name} {value!r}; {nearest(str(value), choices)}")
    if len(set(spec.features)) != len(spec.features) or not spec.features:
        raise EarwitnessError("front end: feature must name one feature or several, each once")


_CHOICES = {
    "window": WINDOWS,
    "pad_window": ("center", "end"),
    "pad_mode": ("constant", "reflect", "edge"),
    "norm": ("slaney", "none"),
    "mel_slopes": ("hz", "mel"),
    "log": ("db", "ln"),
    "wavelet": ("morlet", "mexican_hat"),
}


def _settle_waveform(spec: FrontEndSpec) -> None:
    framing = ("n_fft", "win_length", "hop_length")
    for name in _differences(spec):
        if name not in ("feature", "sr", *framing) or (name in framing and getattr(spec, name) != 1):
            raise EarwitnessError(f"front end: a waveform has no {name}; leave it out, sr is its only option")
    for name in framing:
        msgspec.structs.force_setattr(spec, name, 1)


def _check_frames(spec: FrontEndSpec) -> None:
    if WAVEFORM in spec.features:
        raise EarwitnessError("front end: waveform stands alone; leave it out or the other features")
    if spec.n_fft < 2:
        raise EarwitnessError(f"front end: n_fft is {spec.n_fft}; it must be at least 2, usually 512")
    if spec.n_fft > LONGEST_FFT:
        raise EarwitnessError(f"front end: n_fft is {spec.n_fft}; at most {LONGEST_FFT} samples")
    check_range("win_length", spec.win_length, 1, spec.n_fft, "n_fft")
    check_range("hop_length", spec.hop_length, 1, spec.win_length, "win_length")
    check_range("preemphasis", spec.preemphasis, 0, 1)
    if spec.delta_width < 3 or spec.delta_width % 2 == 0:
        fit = max(3, spec.delta_width + 1)
        raise EarwitnessError(
            f"front end: delta_width is {spec.delta_width}; it must be odd and at least 3, nearest {fit}"
        )
    if spec.center and spec.pad_window == "end":
        raise EarwitnessError("front end: pad_window 'end' goes with center = false (Kaldi, TensorFlow)")
