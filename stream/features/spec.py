"""What a front end computes, in librosa's names: one description for training, evaluation, live and bundles."""

from __future__ import annotations

import hashlib
import math
from typing import Literal

import msgspec
import numpy as np

from ..errors import EarwitnessError, nearest
from .mel import log_scale, mel_filters
from .windows import WINDOWS

FEATURES = ("log_mel", "waveform")


class FrontEndSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Options of a front end, checked when made. The same fields with the same meaning as in librosa 0.11.

    A frame is `n_fft` samples, from `f * hop_length` on (with `center`, from `n_fft // 2` samples earlier, the outside
    of the signal being zeros); the window of `win_length` samples lies in its middle, as librosa pads it. See
    `frame_span`.

    Attributes:
        feature: "log_mel", or "waveform": the samples themselves, one per frame, `dims` 1. A waveform has no other
            options than `sr`; `n_fft`, `win_length` and `hop_length` are set to 1 for it.
        sr: sample rate of the front end's input, Hz.
        n_fft: samples per frame, length of the FFT.
        win_length: samples under the window, 1..n_fft.
        hop_length: samples from frame to frame, 1..win_length.
        window: "hann", "hamming", "blackman" or "boxcar", periodic, as `scipy.signal.get_window` makes them.
        center: whether frame f is centred on sample `f * hop_length`. Live bundles use False: no look-ahead.
        power: exponent of the magnitudes before the mel filters: 2 power, 1 magnitude.
        n_mels: number of mel bands.
        fmin: lowest frequency of the lowest band, Hz.
        fmax: highest frequency of the highest band, Hz, at most sr / 2.
        htk: the mel scale of HTK instead of Slaney's.
        norm: "slaney" divides each filter by its width in Hz; "none" leaves peaks of 1 (None is taken as "none", which
            TOML can write down).
        log: "db": `10 * log10(max(x, amin))`, relative to full scale samples of 1; "ln": `ln(x + log_offset)`.
        amin: the floor of "db", > 0. Unused and therefore left alone with "ln".
        log_offset: what "ln" adds, > 0 there, 0 with "db".

    Raises:
        EarwitnessError: on values that cannot work, with the nearest one that does.
    """

    feature: str = "log_mel"
    sr: int = 16000
    n_fft: int = 512
    win_length: int = 400
    hop_length: int = 160
    window: str = "hann"
    center: bool = False
    power: float = 2.0
    n_mels: int = 64
    fmin: float = 50.0
    fmax: float = 8000.0
    htk: bool = False
    norm: Literal["slaney", "none"] | None = "slaney"
    log: Literal["db", "ln"] = "db"
    amin: float = 1e-10
    log_offset: float = 0.0

    def __post_init__(self) -> None:
        if self.norm is None:
            msgspec.structs.force_setattr(self, "norm", "none")
        _check_numbers(self)
        if self.feature not in FEATURES:
            raise EarwitnessError(f"front end: unknown feature {self.feature!r}; {nearest(self.feature, FEATURES)}")
        if self.sr < 1:
            raise EarwitnessError(f"front end: sr is {self.sr} Hz; it must be at least 1, usually 16000")
        if self.feature == "waveform":
            _settle_waveform(self)
        else:
            _check_frames(self)
            _check_mel(self)

    @property
    def hash(self) -> str:
        """12 hex digits that name this front end. Options at their defaults do not count."""
        canonical = msgspec.json.encode({"feature": self.feature, "sr": self.sr} | _differences(self), order="sorted")
        return hashlib.sha256(canonical).hexdigest()[:12]

    @property
    def dims(self) -> int:
        """Values per frame."""
        return 1 if self.feature == "waveform" else self.n_mels

    @property
    def lead(self) -> int:
        """Zeros before the signal: how many samples before `f * hop_length` frame f begins."""
        return self.n_fft // 2 if self.center else 0

    @property
    def latency_samples(self) -> int:
        """How many samples after `f * hop_length` must have come before frame f is out."""
        return self.n_fft - self.lead

    @property
    def silence(self) -> float:
        """The value of every dimension of a frame over digital silence. Padding is made of it."""
        if self.feature == "waveform":
            return 0.0
        floor = np.zeros(16, np.float32)  # as long as a register, so that the logarithm takes the way of whole frames
        log_scale(floor, self.log, self.amin, self.log_offset, out=floor)
        return float(floor[0])

    def frame_span(self, frame: int) -> tuple[int, int]:
        """`[first, end)` of the samples that frame number `frame` sees, counted from the segment's first sample.

        `n_fft` samples, of which the window weighs the middle `win_length`. Negative before, and past the last sample
        behind the signal, only with `center`.
        """
        first = frame * self.hop_length - self.lead
        return first, first + self.n_fft

    def frames_of(self, samples: int) -> int:
        """How many frames a flushed segment of that many samples has, as librosa counts; 0 where it is too short."""
        if samples < 1:
            return 0
        padded = samples + 2 * self.lead
        return 0 if padded < self.n_fft else 1 + (padded - self.n_fft) // self.hop_length


def _differences(spec: FrontEndSpec) -> dict[str, object]:
    """The fields that are not at their defaults, numbers in one spelling."""
    different = {}
    for field in msgspec.structs.fields(FrontEndSpec):
        value = getattr(spec, field.name)
        if value != field.default:
            different[field.name] = float(value) if isinstance(field.default, float) else value
    return different


def _check_numbers(spec: FrontEndSpec) -> None:
    for field in msgspec.structs.fields(FrontEndSpec):
        value = getattr(spec, field.name)
        if type(field.default) is int and (not isinstance(value, int) or isinstance(value, bool)):
            raise EarwitnessError(f"front end: {field.name} is {value!r}; it must be a whole number")
        if type(field.default) is float and not (isinstance(value, (int, float)) and math.isfinite(value)):
            raise EarwitnessError(f"front end: {field.name} is {value!r}; it must be a finite number")


def _settle_waveform(spec: FrontEndSpec) -> None:
    framing = ("n_fft", "win_length", "hop_length")
    for name in _differences(spec):
        if name not in ("feature", "sr", *framing) or (name in framing and getattr(spec, name) != 1):
            raise EarwitnessError(f"front end: a waveform has no {name}; leave it out, sr is its only option")
    for name in framing:
        msgspec.structs.force_setattr(spec, name, 1)


def _check_frames(spec: FrontEndSpec) -> None:
    if spec.n_fft < 2:
        raise EarwitnessError(f"front end: n_fft is {spec.n_fft}; it must be at least 2, usually 512")
    _check_range("win_length", spec.win_length, 1, spec.n_fft, "n_fft")
    _check_range("hop_length", spec.hop_length, 1, spec.win_length, "win_length")
    if spec.window not in WINDOWS:
        raise EarwitnessError(f"front end: unknown window {spec.window!r}; {nearest(spec.window, WINDOWS)}")


def _check_range(name: str, value: int, low: int, high: int, why: str) -> None:
    if not low <= value <= high:
        fit = min(max(value, low), high)
        raise EarwitnessError(f"front end: {name} is {value}; valid: {low} to {high} ({why}), nearest {fit}")


def _check_mel(spec: FrontEndSpec) -> None:
    if spec.fmax > spec.sr / 2:
        raise EarwitnessError(
            f"front end: fmax is {spec.fmax:g} Hz, above half the sample rate of {spec.sr} Hz; at most {spec.sr / 2:g}"
        )
    if not 0 <= spec.fmin < spec.fmax:
        raise EarwitnessError(f"front end: fmin is {spec.fmin:g} Hz; valid: from 0 to below fmax, {spec.fmax:g}")
    if spec.power <= 0:
        raise EarwitnessError(f"front end: power is {spec.power:g}; valid: above 0, usually 2 (power) or 1 (magnitude)")
    for name, choices in (("norm", ("slaney", "none")), ("log", ("db", "ln"))):
        value = getattr(spec, name)
        if value not in choices:
            raise EarwitnessError(f"front end: unknown {name} {value!r}; {nearest(str(value), choices)}")
    if spec.n_mels < 1:
        raise EarwitnessError(f"front end: n_mels is {spec.n_mels}; it must be at least 1, usually 64")
    empty = _empty_bands(spec, spec.n_mels)
    if empty:
        fit = next((n for n in range(spec.n_mels - 1, 0, -1) if not _empty_bands(spec, n)), 0)
        remedy = f"at most {fit} bands" if fit else "a larger n_fft"
        raise EarwitnessError(
            f"front end: n_mels is {spec.n_mels}, but band {empty[0]} has no bin of n_fft {spec.n_fft} "
            f"between {spec.fmin:g} and {spec.fmax:g} Hz; take {remedy}"
        )
    if spec.log == "ln" and (spec.amin != 1e-10 or spec.log_offset < 1e-30):
        raise EarwitnessError("front end: log 'ln' needs a log_offset above 0, such as 0.001, and no amin (for 'db')")
    if spec.log == "db" and (spec.log_offset != 0 or spec.amin < 1e-30):
        raise EarwitnessError("front end: log 'db' needs an amin above 0, such as 1e-10, and no log_offset (for 'ln')")


def _empty_bands(spec: FrontEndSpec, n_mels: int) -> list[int]:
    filters = mel_filters(sr=spec.sr, n_fft=spec.n_fft, n_mels=n_mels, fmin=spec.fmin, fmax=spec.fmax, htk=spec.htk)
    return [int(band) for band in np.flatnonzero(~filters.any(axis=1))]
