"""What the command line says about a front end, and what it leaves open, as a spec for recordings of any rate.

The open options are librosa's where librosa has fixed ones, and follow the sample rate where a number of samples or
Hz would mean another thing at each: see `spec_for`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from .errors import EarwitnessError, nearest
from .features.catalog import FEATURES, find_feature
from .features.delta import parse_delta
from .features.spec import LONGEST_FFT, WAVEFORM, FrontEndSpec

COMPLEX = ("stft",)
"""Features whose values are real and imaginary parts in turn."""

SHORTEST_S = 0.032  # of an FFT
N_MELS = 64


def spec_for(rate: int, features: Sequence[str], options: Mapping[str, Any]) -> FrontEndSpec:
    """The front end for a recording: `options` as they are, and for those that were left open what suits the rate.

    Open options: `n_fft` the power of two that spans 32 ms or more, and the window (8 kHz: 256, 16 kHz: 512, 22.05
    kHz: 1024, 44.1 and 48 kHz: 2048); `win_length` is `n_fft`, `hop_length` a quarter of `win_length`, `center` true,
    as in librosa; bands from `fmin` 0 to `fmax`, half of the rate; `n_mels` 64, `contrast_bands` 6 and the wavelets'
    range, or what fits below half of the rate. All others are at `FrontEndSpec`'s.

    Raises EarwitnessError on what cannot work.

    >>> spec = spec_for(8000, ["log_mel"], {"n_mels": 40})
    >>> spec.n_fft, spec.hop_length, spec.center, spec.fmax, spec.n_mels
    (256, 64, True, 4000.0, 40)
    """
    for name in features:
        find_feature(name)  # first, so that a misspelt one is not told as something else
    chosen: Any = tuple(features)
    if WAVEFORM in chosen:
        return FrontEndSpec(feature=chosen, sr=rate, **options)
    settled: dict[str, Any] = {"feature": chosen, "sr": rate, "center": options.get("pad_window") != "end", "fmin": 0.0}
    settled |= options
    if "n_fft" not in options:
        settled["n_fft"] = _power_of_two(max(SHORTEST_S * rate, _number(options, "win_length", 2)))
    if isinstance(settled["n_fft"], int) and settled["n_fft"] > LONGEST_FFT:
        longest = "win_length" if "n_fft" not in options else "n_fft"
        raise EarwitnessError(f"front end: {longest} is {settled[longest]}; at most {LONGEST_FFT} samples")
    settled.setdefault("win_length", settled["n_fft"])
    settled.setdefault("hop_length", max(1, int(settled["win_length"]) // 4))
    settled.setdefault("fmax", rate / 2)
    defaults = {field.name: field.default for field in msgspec.structs.fields(FrontEndSpec)}
    settled.setdefault("cwt_fmax", min(defaults["cwt_fmax"], 0.4 * rate))
    settled.setdefault("cwt_fmin", min(defaults["cwt_fmin"], settled["cwt_fmax"] / 2))
    settled.setdefault("contrast_fmin", min(defaults["contrast_fmin"], rate / 8))
    if "contrast_bands" not in options:
        settled["contrast_bands"] = _most(
            settled, "contrast_bands", [n for n in range(defaults["contrast_bands"], 0, -1)], "spectral_contrast"
        )
    if "n_mels" not in options:
        settled["n_mels"] = _most(settled, "n_mels", [N_MELS, *range(N_MELS - 4, 4, -4), 4, 3, 2, 1], "mel")
    settled.setdefault("n_mfcc", min(defaults["n_mfcc"], settled["n_mels"]))
    return FrontEndSpec(**settled)


def parse_settings(settings: Iterable[str]) -> dict[str, Any]:
    """Options as `NAME=VALUE`, each read as the kind of number or word that `FrontEndSpec` has there.

    >>> parse_settings(["n_mels=40", "htk=true", "band_edges=100,1000,4000"])
    {'n_mels': 40, 'htk': True, 'band_edges': (100.0, 1000.0, 4000.0)}
    """
    fields = {
        field.name: field for field in msgspec.structs.fields(FrontEndSpec) if field.name not in ("feature", "sr")
    }
    options: dict[str, Any] = {}
    for setting in settings:
        name, equals, text = setting.partition("=")
        name = name.strip().replace("-", "_")
        if not equals:
            raise EarwitnessError(f"--set {setting}: write NAME=VALUE, as in --set lifter=22")
        if name not in fields:
            raise EarwitnessError(f"--set {setting}: unknown option {name!r}; {nearest(name, fields)}")
        value: Any = [part for part in text.split(",") if part.strip()] if name == "band_edges" else text.strip()
        try:
            options[name] = msgspec.convert(value, fields[name].type, strict=False)
        except msgspec.ValidationError as error:
            raise EarwitnessError(f"--set {setting}: {str(error)[:1].lower()}{str(error)[1:]}") from None
    return options


def frame_times(spec: FrontEndSpec, first_frame: int, count: int) -> NDArray[np.float64]:
    """`FrontEndSpec.frame_time` of consecutive frames, seconds."""
    frames = np.arange(first_frame, first_frame + count, dtype=np.int64)
    return np.asarray((frames * spec.hop_length - spec.lead + spec.frame_length // 2) / spec.sr, np.float64)


def feature_lines() -> list[str]:
    """All features: name, unit, and what each is in one line; last the deltas of all of them."""
    rows = [(name, unit_of(name), (kind.__doc__ or "").strip().partition("\n")[0]) for name, kind in FEATURES.items()]
    rows.append(("NAME_delta", "… per frame", "First derivative by frame of any of these, as mfcc_delta."))
    rows.append(("NAME_delta2", "… per frame²", "Second derivative by frame of any of these."))
    width, unit_width = (max(len(row[n]) for row in rows) for n in (0, 1))
    return [f"{name:<{width}}  {unit:<{unit_width}}  {text}" for name, unit, text in rows]


def unit_of(name: str, log: str = "db") -> str:
    """The unit of a feature's values, "" where they have none; `log` is the spec's.

    >>> unit_of("spectral_centroid"), unit_of("log_mel_delta"), unit_of("log_mel", log="ln")
    ('Hz', 'dB per frame', 'ln')
    """
    bare, order = parse_delta(name)
    unit = UNITS[bare]
    if bare in ("log_mel", "mfcc") and log != "db":
        unit = log
    return unit + ("", " per frame", " per frame²")[order] if unit else ""


_AMPLITUDE, _POWER = "full scale", "full scale²"
UNITS: dict[str, str] = {
    **dict.fromkeys(("waveform", "amplitude_envelope", "peak", "rms", "dc_offset"), _AMPLITUDE),
    **dict.fromkeys(("crest_factor", "spectral_flatness"), "ratio"),
    **dict.fromkeys(("zero_crossing_rate", "clipping", "spectral_entropy", "chroma"), "share"),
    **dict.fromkeys(("laeq", "lceq", "lzeq", "laf", "las", "lcf", "lcs", "lzf", "lzs"), "dB"),
    **dict.fromkeys(("spectral_centroid", "spectral_bandwidth", "spectral_rolloff", "dominant_frequency"), "Hz"),
    **dict.fromkeys(("spectral_contrast", "stft_db", "log_mel", "mfcc"), "dB"),
    **dict.fromkeys(("stft", "stft_magnitude", "spectral_flux", "cwt"), _AMPLITUDE),
    **dict.fromkeys(("band_energy", "stft_power", "mel"), _POWER),
    "pcen": "",
}
"""Of every feature. What is summed under a window is larger by the window's sum: see the features' own pages."""


def _power_of_two(samples: float) -> int:
    return int(1 << max(1, (int(np.ceil(samples)) - 1).bit_length()))


def _number(options: Mapping[str, Any], name: str, otherwise: int) -> int:
    value = options.get(name, otherwise)
    return min(value, 1 << 24) if isinstance(value, int) else otherwise


def _most(settled: Mapping[str, Any], name: str, candidates: Sequence[int], feature: str) -> int:
    """The first candidate that the feature works with. Where none does, something else is wrong, and is said then."""
    if feature not in FEATURES:
        return candidates[0]
    for candidate in candidates:
        try:
            FrontEndSpec(**{**settled, "feature": feature, name: candidate})
        except EarwitnessError:
            continue
        return candidate
    return candidates[0]
