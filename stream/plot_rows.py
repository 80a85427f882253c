"""The rows of a picture, one function each: what is drawn where, and in which unit. Needs matplotlib."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .feature_options import unit_of
from .features.cwt import frequencies
from .features.delta import parse_delta
from .features.feature import bin_frequencies
from .features.windows import analysis_window
from .plot_data import Columns, PlotData, labels_of

Numbers = NDArray[np.floating[Any]]

HEIGHTS = {"waveform": 1.45, "stft_db": 2.0, "log_mel": 1.7, "cwt": 1.8, "descriptors": 1.5, "level": 1.3,
           "spectrum": 1.6, "": 1.2}  # fmt: skip
"""In inches; "" is of all others."""

RANGE_DB = 80.0
"""What is quieter than the loudest by more is drawn as silence."""

HEARD_DB = 60.0
"""Descriptors are drawn where the frame's RMS is above the loudest less this."""

_COLOURS = "magma"
_SIGNED = "RdBu_r"
_BLUE, _ORANGE, _RED, _GREY = "#3b6ea8", "#d1751f", "#b3262e", "#9db4cf"


def draw_row(axes: Any, bar: tuple[float, float, float, float], data: PlotData, row: str) -> None:
    """Draws one row into `axes`; `bar` is where a colour bar may stand, in shares of the figure."""
    own = {"waveform": _waveform, "descriptors": _descriptors, "level": _level, "spectrum": _spectrum}
    if row in own:
        own[row](axes, data)
        return
    columns = data.scalogram if row == "cwt" else data.frames
    if len(labels_of(data.spec, row)) == 1:
        _line(axes, data, row)
    else:
        _image(axes, bar, data, row, columns)


# ---- rows of their own


def _waveform(axes: Any, data: PlotData) -> None:
    span = data.span / data.rate
    times = (np.arange(len(data.low)) + 0.5) * span
    if data.span == 1:
        axes.plot(times, data.low, color=_GREY, linewidth=0.8, label="samples")
    else:
        axes.fill_between(times, data.low, data.high, color=_GREY, linewidth=0.3, label="samples")
    envelope = _values(data.frames, "amplitude_envelope")
    if envelope is not None:
        axes.plot(data.frames.times, envelope, color=_BLUE, label="amplitude\nenvelope")
        axes.plot(data.frames.times, -envelope, color=_BLUE)
    rms = _values(data.frames, "rms")
    if rms is not None:
        axes.plot(data.frames.times, rms, color=_ORANGE, label="RMS")
    loudest = max(float(np.max(np.abs(data.low), initial=0)), float(np.max(np.abs(data.high), initial=0)))
    reach = 1.08 * (loudest if loudest >= 1e-6 else 1.0)
    axes.set_ylim(-reach, reach)
    axes.set_ylabel("amplitude\n(full scale 1)")
    axes.set_title("Waveform")
    _settle(axes)


def _spectrum(axes: Any, data: PlotData) -> None:
    spec = data.spec
    hertz = bin_frequencies(spec)[1:]
    scale = _full_scale_sine_db(data)
    mean, loudest = (_decibels(power[1:]) - scale if len(power) > 1 else np.full(len(hertz), -200.0)
                     for power in (data.power, data.loudest))  # fmt: skip
    top = float(5 * np.ceil((np.max(loudest) + 3) / 5))
    low = max(float(np.min(mean)), top - 110)
    axes.fill_between(hertz, np.maximum(mean, low - 10), low - 10, color=_GREY, linewidth=0)
    axes.plot(hertz, mean, color=_BLUE, label="mean")
    axes.plot(hertz, loudest, color=_ORANGE, linewidth=0.8, label="loudest")
    axes.set_xscale("log")
    axes.set_xlim(float(max(20.0, hertz[0])), spec.sr / 2)
    axes.set_ylim(float(5 * np.floor(low / 5)), top)
    _frequency_ticks(axes.xaxis, max(20.0, float(hertz[0])), spec.sr / 2)
    axes.set_xlabel("frequency / Hz")
    axes.set_ylabel("dB re full-\nscale sine")
    axes.set_title("Spectrum of the whole")
    _settle(axes)


def _descriptors(axes: Any, data: PlotData) -> None:
    times = data.frames.times
    centroid = _values(data.frames, "spectral_centroid")
    bandwidth = _values(data.frames, "spectral_bandwidth")
    rolloff = _values(data.frames, "spectral_rolloff")
    rms = _values(data.frames, "rms")
    if rms is not None:  # of silence they are those of its noise, or nothing
        heard = rms > float(rms.max()) * 10 ** (-HEARD_DB / 20)
        centroid, bandwidth, rolloff = (
            None if values is None else np.where(heard, values, np.nan) for values in (centroid, bandwidth, rolloff)
        )
    high = None
    if centroid is not None and bandwidth is not None:
        low, high = np.maximum(centroid - bandwidth, 0), centroid + bandwidth
        axes.fill_between(times, low, high, color=_GREY, alpha=0.6, linewidth=0, label="± bandwidth")
    if centroid is not None:
        axes.plot(times, centroid, color=_BLUE, label="centroid")
    if rolloff is not None:
        axes.plot(times, rolloff, color=_ORANGE, label=f"roll-off {100 * data.spec.roll_percent:g} %")
    shown = [values for values in (high, rolloff) if values is not None]
    highest = max((float(np.nanmax(values)) for values in shown if np.any(values > 0)), default=0.0)
    axes.set_ylim(0, 1.05 * highest if highest else data.spec.sr / 2)
    axes.set_ylabel("frequency / Hz")
    axes.set_title(f"Spectral descriptors, where the RMS is within {HEARD_DB:g} dB of its greatest")
    _settle(axes)


def _level(axes: Any, data: PlotData) -> None:
    shown = []
    # They are levels at the frame's end, not at its middle.
    times = data.frames.times + (data.spec.frame_length - data.spec.frame_length // 2) / data.spec.sr
    for name, label, colour in (("laf", "fast", _BLUE), ("las", "slow", _ORANGE)):
        values = _values(data.frames, name)
        if values is not None:
            shown.append(values)
            axes.plot(times, values, color=colour, label=f"{label}, max {_db(values.max())}")
    energy = _values(data.frames, "laeq")
    if energy is not None:
        whole = float(10 * np.log10(np.mean(10 ** (energy.astype(np.float64) / 10))))
        axes.axhline(whole, color=_RED, linewidth=0.9, linestyle="--", label=f"LAeq {_db(whole)}")
    if shown:
        top = float(5 * np.ceil((max(float(values.max()) for values in shown) + 1) / 5))
        low = max(min(float(values.min()) for values in shown), top - 2 * RANGE_DB)
        axes.set_ylim(float(5 * np.floor((low - 1) / 5)), top)
    axes.set_ylabel("dB(A) SPL" if data.spec.calibration_db else "dB(A) re\nfull scale")
    axes.set_title("Sound level, A-weighted")
    _settle(axes)


# ---- any feature


def _line(axes: Any, data: PlotData, row: str) -> None:
    axes.set_title(_spelt(row))
    values = _values(data.frames, row)
    if values is None:
        _without_frames(axes, data)
        return
    axes.plot(data.frames.times, values, color=_BLUE, label="_")
    low, high = float(values.min()), float(values.max())
    room = 0.06 * (high - low) or 0.05 * abs(high) or 1.0
    axes.set_ylim(0.0 if 0 <= low <= 0.3 * high else low - room, high + room)
    axes.set_ylabel(unit_of(row, data.spec.log) or "no unit")
    _settle(axes)


def _image(axes: Any, bar: tuple[float, float, float, float], data: PlotData, row: str, columns: Columns) -> None:
    axes.set_title(_image_title(data, row))
    values = columns.values.get(row)
    if values is None or not len(values):
        _without_frames(axes, data)
        return
    values, unit = _scaled(data, row, values)
    labels = labels_of(data.wavelets if row == "cwt" else data.spec, row)
    low, high, colours, extend = _colour_range(values, row)
    edges = (columns.start_s, columns.end_s, -0.5, len(labels) - 0.5)
    if row == "stft_db":
        width = data.spec.sr / data.spec.n_fft
        edges = (columns.start_s, columns.end_s, -width / 2, data.spec.sr / 2 + width / 2)
        values = _fewer_bins(values)
    image = axes.imshow(
        values.T, origin="lower", aspect="auto", extent=edges, cmap=colours, vmin=low, vmax=high,
        interpolation="nearest",
    )  # fmt: skip
    if row == "stft_db":
        axes.set_ylim(0, data.spec.sr / 2)
        axes.set_ylabel("frequency / Hz")
    else:
        _value_ticks(axes, labels)
    for spine in axes.spines.values():
        spine.set_visible(True)
    side = axes.figure.add_axes(bar, label=f"{row} colours")
    colourbar = axes.figure.colorbar(image, cax=side, extend=extend, extendfrac=0.05)
    colourbar.set_label(unit)
    colourbar.outline.set_linewidth(0.6)


def _scaled(data: PlotData, row: str, values: Numbers) -> tuple[Numbers, str]:
    """Values for the eye, and what they are in."""
    spec = data.spec
    if row == "stft_db":
        return values - _full_scale_sine_db(data), "dB re full-scale sine"
    if row == "log_mel" and spec.log == "db" and spec.power == 2.0:
        # With Slaney's norm a filter's area is 1: the mean of the power density. Without it, its peak is 1: a sum.
        window = analysis_window(spec.window, spec.win_length).astype(np.float64)
        whole = 10 * np.log10(spec.n_fft * float(np.sum(window**2)) / 4)
        return values - whole, "dB re full-scale\nsine, per Hz" if spec.norm == "slaney" else "dB re full-scale sine"
    if row == "cwt":
        # A sine of amplitude 1 gives sqrt(s) / 2 at its scale s.
        whole = np.sqrt(spec.sr / frequencies(data.wavelets)) / (2 if data.wavelets.wavelet == "morlet" else 1)
        return _decibels(np.square(values / whole)), "dB re full-scale sine"
    return values, unit_of(row, data.spec.log) or "no unit"


def _colour_range(values: Numbers, row: str) -> tuple[float, float, str, str]:
    """Lowest and highest colour, their map, and on which side values lie beyond."""
    low, high = float(values.min()), float(values.max())
    in_db = row in ("stft_db", "log_mel", "cwt")
    if low == high:  # silence is dark
        return low, low + (5.0 if in_db else 1.0), _COLOURS, "neither"
    if in_db:
        top = float(5 * np.ceil(high / 5))
        floor = top - RANGE_DB
        if low < floor:
            return floor, top, _COLOURS, "min"
        return float(5 * np.floor(low / 5)), max(top, float(5 * np.floor(low / 5)) + 5), _COLOURS, "neither"
    if low < 0 < high:
        # Few extreme values, as coefficient 0 of the MFCC, would leave all others pale.
        many = values[:, 1:] if parse_delta(row)[0] == "mfcc" and values.shape[1] > 1 else values
        reach = float(np.quantile(np.abs(many), 0.99)) or high
        return -reach, reach, _SIGNED, "both" if max(-low, high) > reach else "neither"
    return low, high, _COLOURS, "neither"


def _image_title(data: PlotData, row: str) -> str:
    spec = data.spec
    milliseconds = 1000 * spec.win_length / spec.sr
    match row:
        case "stft_db":
            return f"Short-time Fourier transform, {spec.window.capitalize()} window of {milliseconds:.3g} ms"
        case "log_mel":
            return f"Mel spectrogram, {spec.n_mels} bands"
        case "cwt":
            kind = {"morlet": "Morlet", "mexican_hat": "Mexican hat"}[data.wavelets.wavelet]
            return f"Wavelet scalogram, {kind}, {data.wavelets.voices_per_octave} scales an octave"
    return _spelt(row)


def _spelt(row: str) -> str:
    name, order = parse_delta(row)
    words = {"mfcc": "MFCC", "pcen": "PCEN", "rms": "RMS", "dc_offset": "DC offset"}.get(name)
    words = words or (name.upper() if name.startswith("l") and name in _LEVELS else name.replace("_", " ").capitalize())
    return words + ("", ", first difference", ", second difference")[order]


_LEVELS = {"laeq", "lceq", "lzeq", "laf", "las", "lcf", "lcs", "lzf", "lzs"}

# ---- helpers


def _values(columns: Columns, name: str) -> Numbers | None:
    values = columns.values.get(name)
    return None if values is None or not len(values) else values[:, 0]


def _without_frames(axes: Any, data: PlotData) -> None:
    axes.set_yticks([])
    text = f"too short for a frame of {data.spec.frame_length} samples" if data.samples else "no sound"
    axes.text(0.5, 0.5, text, transform=axes.transAxes, ha="center", va="center", color="#555555")


def _full_scale_sine_db(data: PlotData) -> float:
    """What the STFT gives for a sine of amplitude 1 in the middle of a bin."""
    spec = data.spec
    return float(20 * np.log10(float(np.sum(analysis_window(spec.window, spec.win_length), dtype=np.float64)) / 2))


def _decibels(power: Numbers) -> Numbers:
    return 10 * np.log10(np.maximum(power, 1e-20))


def _db(level: float) -> str:
    return f"{level:.1f}".replace("-", "−")


def _fewer_bins(values: Numbers, most: int = 256) -> Numbers:
    """The loudest of neighbouring bins where there are more than pixels."""
    bins = values.shape[1]
    if bins <= most:
        return values
    starts = np.unique(np.arange(most) * bins // most)
    return np.asarray(np.maximum.reduceat(values, starts, axis=1))


def _value_ticks(axes: Any, labels: tuple[str, ...]) -> None:
    """Names at the left: all where they are few, round frequencies where they are frequencies, else numbers."""
    if len(labels) <= 13:
        in_hertz = all(label.endswith(" Hz") for label in labels)
        names = [label.removesuffix(" Hz").replace("-", "–") for label in labels] if in_hertz else labels
        axes.set_yticks(range(len(labels)), names, fontsize=7.5)
        axes.set_ylabel("frequency / Hz" if in_hertz else "")
        return
    try:
        hertz = np.array([float(label.removesuffix(" Hz")) for label in labels])
    except ValueError:
        hertz = np.zeros(0)
    if len(hertz) and all(label.endswith(" Hz") for label in labels) and np.all(np.diff(hertz) > 0):
        round_ones = [hz for hz in _ROUND if hertz[0] <= hz <= hertz[-1]]
        places = np.interp(round_ones, hertz, np.arange(len(hertz)))
        kept: list[int] = []
        for n, place in enumerate(places):
            if not kept or place - places[kept[-1]] >= len(hertz) / 9:
                kept.append(n)
        axes.set_yticks([places[n] for n in kept], [f"{round_ones[n]:g}" for n in kept])
        axes.set_ylabel("frequency / Hz")
    else:
        axes.set_ylabel("number")


_ROUND = [digit * 10**power for power in range(0, 6) for digit in (1, 2, 5)]


def _frequency_ticks(axis: Any, low: float, high: float) -> None:
    ticks = [hz for hz in _ROUND if low <= hz <= high]
    axis.set_ticks(ticks, [f"{hz:g}" for hz in ticks])
    axis.set_ticks([], minor=True)


def _settle(axes: Any) -> None:
    axes.grid(True)
    handles, _ = axes.get_legend_handles_labels()
    if handles:
        axes.legend(loc="upper left", bbox_to_anchor=(1.005, 1.04), borderaxespad=0.0, handlelength=1.4)
