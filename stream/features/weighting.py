"""The weightings of IEC 61672-1: A, C and Z over frequency as digital filters, fast and slow over time.

A bilinear transform bends the curve near half the sample rate: sampled at 16 kHz, the A-weighting of 6 kHz is 4 dB too
low. Here the poles below 1 kHz are placed where the analogue ones are (matched z-transform), and a short FIR filter,
fitted when the weighting is made, takes the rest: what those poles miss, and the double pole at 12.2 kHz, which at most
rates lies beyond the band. The gain is within 0.05 dB of the standard's curve from 10 Hz to 0.45 of the sample rate, at
rates from 2.4 to 768 kHz; class 1 allows 0.7 dB at 1 kHz and more elsewhere. The phase is of no concern to a level.

All poles are real, so the filter is a chain of first-order recursions. The compiled loop (`_filters.c`) takes 8 ns
for a sample; where it could not be built numpy does the same by running sums (`_recursion`), five times as slowly.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

try:
    from . import _filters
except ImportError:
    _filters = None  # type: ignore[assignment]

Curve = Literal["A", "C", "Z"]
Values = NDArray[np.float64]

COMPILED = _filters is not None

LOWEST_RATE, HIGHEST_RATE = 2_400, 768_000
"""Hz: of what can be weighted by A or C."""

FAST_S, SLOW_S = 0.125, 1.0
"""Time constants of the time weightings F and S."""

# IEC 61672-1:2013, annex E: the poles in Hz, of which the outer two are double. Zeros are at 0 Hz, as many as the poles
# without the upper double one.
_F1, _F2, _F3, _F4 = 20.598997, 107.65265, 737.86223, 12194.217
_LOW_POLES: dict[str, tuple[float, ...]] = {"A": (_F1, _F1, _F2, _F3), "C": (_F1, _F1), "Z": ()}

_TAPS = 8  # of the FIR filter
_POLE_FROM = 64_000  # Hz; from this rate on the poles at 12.2 kHz are poles here too, and lighten the FIR filter's task
_GROWTH = 600.0  # e to this is what weights within a piece may grow to
_NOTHING = 1e-150  # in silence what is kept would dwindle to denormal numbers, which are slow, and stay there
_LONGEST = 8_192  # samples of a piece
_TOGETHER = 16_384  # samples, so that what is made on the way stays in the cache


class Weighting:
    """One frequency weighting at one sample rate. It keeps `size` float64 of each stream, at first zeros.

    >>> weighting = Weighting("A", 48_000)
    >>> state = np.zeros((1, weighting.size))
    >>> tone = np.sin(2 * np.pi * 1000 / 48_000 * np.arange(48_000))[None]
    >>> round(float(np.sqrt(2 * np.mean(weighting.apply(tone, state)[:, 24_000:] ** 2))), 3)
    1.0
    """

    def __init__(self, curve: Curve, rate: int) -> None:
        design = _design(curve, rate)
        self.curve, self.rate = curve, rate
        self._taps, self._poles = design.taps, design.poles
        self._past = max(0, len(self._taps) - 1)
        self._at = np.array([pole.at for pole in self._poles])
        self._high_passes = sum(pole.high_pass for pole in self._poles)
        self.size = self._past + len(self._poles)

    def apply(self, samples: NDArray[np.floating], state: Values, step: int = 0) -> Values:
        """The weighted samples, float64 `[streams, samples]`; `state` `[streams, size]` is brought up to date.

        Args:
            samples: `[streams, samples]`.
            state: what the last call left; zeros at first. C-contiguous.
            step: a divisor of the number of samples; 0 is all of them. Where a stream is always cut into the same
                steps, its values are the same bits whatever else a call holds; otherwise they agree to 1e-12 or so.
        """
        x = np.array(samples, np.float64, order="C")
        if not self._taps.size or not x.size:
            return x
        if COMPILED:
            _filters.weight(x, state, self._taps, self._at, self._high_passes)
        else:
            self._apply_in_steps(x, state, step or x.shape[1])
        state[np.abs(state) < _NOTHING] = 0.0
        return x

    def _apply_in_steps(self, x: Values, state: Values, step: int) -> None:
        together = max(1, _TOGETHER // x.shape[1])
        for first in range(0, len(x), together):
            part, kept = slice(first, first + together), state[first : first + together]
            y = self._fir(x[part], kept)
            for place, pole in enumerate(self._poles):
                y = _recursion(y, pole, kept[:, self._past + place], step)
            x[part] = y

    def _fir(self, x: Values, state: Values) -> Values:
        """Tap by tap: every value is made in the same order, wherever it stands."""
        joined = np.concatenate((state[:, : self._past], x), axis=1)
        n, past = x.shape[1], self._past
        state[:, :past] = joined[:, n:]
        y: Values = joined[:, past:] * self._taps[0]
        term = np.empty_like(y)
        for delay, tap in enumerate(self._taps[1:], 1):
            y += np.multiply(joined[:, past - delay : past - delay + n], tap, out=term)
        return y

    def response_db(self, frequencies: NDArray[np.floating]) -> Values:
        """The gain of this digital filter in dB, by its coefficients."""
        if not self._taps.size:
            return np.zeros(len(frequencies))
        z = np.exp(-2j * np.pi * np.asarray(frequencies, np.float64) / self.rate)
        return _db(_gain(z, self._taps, self._poles))


class Forgetting(NamedTuple):
    """Exponential time weighting over some samples: `new = remains * old + sum(weights * squares)`."""

    remains: float
    weights: Values


@lru_cache(maxsize=64)
def forgetting(samples: int, time_constant: float) -> Forgetting:
    """The time weighting over so many samples; its time constant in samples too.

    >>> round(forgetting(125, 125.0).remains, 4), round(float(forgetting(125, 125.0).weights.sum()), 4)
    (0.3679, 0.6321)
    """
    weights = -np.expm1(-1.0 / time_constant) * np.exp(-np.arange(samples)[::-1] / time_constant)
    return Forgetting(float(np.exp(-samples / time_constant)), np.ascontiguousarray(weights))


def curve_db(curve: Curve, frequencies: NDArray[np.floating]) -> Values:
    """The standard's weighting in dB at frequencies in Hz, 0 dB at 1 kHz (IEC 61672-1:2013, equations E.1 to E.8).

    >>> curve_db("A", np.array([100.0, 1000.0, 10000.0])).round(1)
    array([-19.1,   0. ,  -2.5])
    """
    return _db(_analogue(curve, np.asarray(frequencies, np.float64)) / _analogue(curve, _KILOHERTZ))


def _db(gain: NDArray[np.complex128] | Values) -> Values:
    db: Values = 20 * np.log10(np.abs(gain))
    return db


# ---- recursions ------------------------------------------------------------------------------------------------------


class _Pole(NamedTuple):
    at: float  # in the z-plane, 0..1
    high_pass: bool  # with a zero at 0 Hz; else none, and a gain of 1 there


def _section(z: NDArray[np.complex128], pole: _Pole) -> NDArray[np.complex128]:
    return (1 - z if pole.high_pass else 1 - pole.at) / (1 - pole.at * z)


def _recursion(x: Values, pole: _Pole, state: Values, step: int) -> Values:
    """A first-order filter along the last axis, `[streams, samples]`, in the place of `x`.

    The low-pass is `w[n + 1] = p * w[n] + (1 - p) * x[n]`, and the high-pass is `x - w`. Within a piece that is
    `w[n] = p**n * (w[0] + sum of (1 - p) * p**-(k + 1) * x[k] over k < n)`: a running sum between two multiplications.
    Pieces are short enough for the powers; the first values of all pieces then follow from piece to piece.
    """
    streams, samples = x.shape
    length, pieces = _cut(step, pole.at)
    steps, padded = samples // step, length * pieces
    grid = x
    if padded != step:
        grid = np.zeros((streams, steps, padded))
        grid[:, :, :step] = x.reshape(streams, steps, step)
    grid = grid.reshape(streams, steps * pieces, length)
    grow, decay = _powers(pole.at)
    decay = decay[: length + 1]
    sums = grid * grow[:length]
    np.cumsum(sums, axis=2, out=sums)
    if steps * pieces == 1:
        first = state[:, None]
        sums += first[:, :, None]
        sums *= decay[1:]
        first = first.copy()
        state[:] = sums[:, 0, -1]
    else:
        first = _follow(sums, decay, step - (pieces - 1) * length, pieces, state)
        sums += first[:, :, None]
        sums *= decay[1:]
    out = sums
    if pole.high_pass:
        grid[:, :, 0] -= first
        grid[:, :, 1:] -= sums[:, :, :-1]
        out = grid
    return out.reshape(streams, steps, padded)[:, :, :step].reshape(streams, samples)


def _follow(sums: Values, decay: Values, last: int, pieces: int, state: Values) -> Values:
    """What each piece begins with, `[streams, pieces]`; `state` becomes what follows the last one.

    The last piece of each step, of `pieces`, is of `last` samples.
    """
    ends = sums[:, :, -1].copy()
    ends[:, pieces - 1 :: pieces] = sums[:, pieces - 1 :: pieces, last - 1]
    factors = [float(decay[-1])] * ends.shape[1]
    factors[pieces - 1 :: pieces] = [float(decay[last])] * (ends.shape[1] // pieces)
    first = np.empty_like(ends)
    if len(ends) == 1:  # the same sums, by Python's floats
        now = float(state[0])
        row = []
        for end, factor in zip(ends[0].tolist(), factors, strict=True):
            row.append(now)
            now = (now + end) * factor
        first[0], state[0] = row, now
        return first
    current = state.copy()
    for piece, factor in enumerate(factors):
        first[:, piece] = current
        current += ends[:, piece]
        current *= factor
    state[:] = current
    return first


def _cut(step: int, pole: float) -> tuple[int, int]:
    """The length and number of the pieces of a step; the last one may be shorter."""
    pieces = -(-step // _longest(pole))
    return -(-step // pieces), pieces


def _longest(pole: float) -> int:
    return min(_LONGEST, max(1, int(_GROWTH / -np.log(pole))))


@lru_cache(maxsize=128)
def _powers(pole: float) -> tuple[Values, Values]:
    """`(1 - p) * p**-(k + 1)` for every k of the longest piece, and `p**n` to behind it."""
    decay = pole ** np.arange(_longest(pole) + 1, dtype=np.float64)
    return (1 - pole) / decay[1:], decay


# ---- design ----------------------------------------------------------------------------------------------------------


class _Design(NamedTuple):
    taps: Values
    poles: tuple[_Pole, ...]


@lru_cache(maxsize=64)
def _design(curve: Curve, rate: int) -> _Design:
    if curve == "Z":
        return _Design(np.empty(0), ())
    low = [_Pole(float(np.exp(-2 * np.pi * hz / rate)), True) for hz in _LOW_POLES[curve]]
    high = [_Pole(float(np.exp(-2 * np.pi * _F4 / rate)), False)] * 2 if rate >= _POLE_FROM else []
    poles = (*low, *high)
    # The squared gain of a FIR filter is a polynomial in the cosine of the frequency: it is fitted to the square of
    # what remains to be done, weighted so that errors count in dB, and its minimum-phase factor gives the taps. From
    # 0.47 of the sample rate on it may stray.
    angles = np.pi * (np.arange(2048) + 0.5) / 2048
    z = np.exp(-1j * angles)
    reached = np.ones_like(angles)
    for pole in poles:
        reached = reached * np.abs(_section(z, pole))
    hz = angles * rate / (2 * np.pi)
    wanted = (_analogue(curve, hz) / _analogue(curve, _KILOHERTZ) / reached) ** 2
    weights = np.where(angles < 0.94 * np.pi, 1.0, 0.05) / wanted
    cosines = np.cos(angles[:, None] * np.arange(_TAPS))
    fitted = np.linalg.lstsq(cosines * weights[:, None], wanted * weights, rcond=None)[0]
    taps = _minimum_phase(np.asarray(fitted, np.float64))
    return _Design(taps / np.abs(_gain(np.exp(-2j * np.pi * _KILOHERTZ / rate), taps, poles)), poles)


def _gain(z: NDArray[np.complex128], taps: Values, poles: tuple[_Pole, ...]) -> NDArray[np.complex128]:
    """Of FIR filter and poles together; z is `exp(-i angle)`."""
    gain = np.polynomial.polynomial.polyval(z, taps).astype(np.complex128)
    for pole in poles:
        gain = gain * _section(z, pole)
    return gain


def _minimum_phase(cosines: Values) -> Values:
    """The FIR filter whose squared gain is a sum of cosines, by its cepstrum."""
    size = 1 << 14
    angles = 2 * np.pi * np.arange(size // 2 + 1) / size
    squared = np.cos(angles[:, None] * np.arange(len(cosines))) @ cosines
    floor = 1e-6 * float(squared.max())
    cepstrum = np.fft.irfft(0.5 * np.log(np.maximum(squared, floor)))
    fold = np.zeros(size)
    fold[0] = fold[size // 2] = 1.0
    fold[1 : size // 2] = 2.0
    response = np.fft.irfft(np.exp(np.fft.rfft(cepstrum * fold)))
    return np.asarray(response[: len(cosines)])


_KILOHERTZ = np.array([1000.0])


def _analogue(curve: Curve, hz: Values) -> Values:
    """The magnitude of the analogue prototype, not normalised; its zeros are at 0 Hz."""
    if curve == "Z":
        return np.ones_like(hz)
    square = hz * hz
    gain = np.ones_like(hz)
    for pole in _LOW_POLES[curve]:
        gain = gain * hz / np.sqrt(square + pole * pole)
    return np.asarray(gain * _F4**2 / (square + _F4**2))
