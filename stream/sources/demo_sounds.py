"""Sounds that the program makes itself, from physics as far as a few lines reach: what the demo scene is made of.

Each function takes a generator and a rate and returns float32 `[samples]` in -1..1, different for every state of the
generator. They are named after the labels of ESC-50 (https://doi.org/10.1145/2733373.2806390), which they should be
taken for. Noise is shaped in the frequency domain, struck things are sums of decaying modes, horns are sums of
harmonics.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

Signal = NDArray[np.float64]
Gain = Callable[[Signal], Signal]  # amplitude by frequency in Hz
Rng = np.random.Generator
Maker = Callable[[Rng, int], Signal]


def church_bells(rng: Rng, rate: int) -> Signal:
    """Two bells in turn. Partials after Rossing, The Physics of Musical Instruments, ch. 21: hum, prime, tierce, …"""
    partials = [(0.5, 0.5, 5.0), (1.0, 0.6, 3.0), (1.2, 0.7, 2.4), (1.5, 0.3, 1.5), (2.0, 1.0, 1.8), (2.5, 0.35, 1.0),
                (2.67, 0.35, 0.9), (3.0, 0.5, 0.8), (4.1, 0.35, 0.5), (5.4, 0.2, 0.3), (6.8, 0.12, 0.2)]  # fmt: skip
    out = np.zeros(round(5.0 * rate))
    base = rng.uniform(260, 330)
    for strike in range(5):
        pitch = base * (1.0 if strike % 2 == 0 else rng.choice([0.841, 1.189]))
        modes = [(pitch * ratio * rng.uniform(0.998, 1.002), gain, decay) for ratio, gain, decay in partials]
        start = 0.85 * strike + rng.uniform(0, 0.04)
        _add(out, start, _modes(5.0 - start, rate, rng, modes), rate)
        _add(out, start, 0.4 * _burst(rng, rate, 0.03, 0.006, _band(1500, 6000)), rate)
    return _echo(out, rate, rng, 0.4)


def clock_alarm(rng: Rng, rate: int) -> Signal:
    """A digital alarm clock: four beeps, a rest, and so on."""
    t = _time(4.0, rate)
    pitch = rng.uniform(1950, 2150)
    tone = _harmonics(np.full(len(t), pitch), rate, [1.0, 0.0, 0.33, 0.0, 0.2])
    on = ((t % 1.0) < 0.5) & ((t % 0.125) < 0.0625)
    return tone * _smooth(on.astype(float), rate, 0.001)


def clapping(rng: Rng, rate: int) -> Signal:
    """A small audience claps: cupped hands are short noise with a resonance around 1.2 kHz."""
    out = np.zeros(round(4.0 * rate))
    for _ in range(14):
        centre, period, at = rng.uniform(800, 2200), rng.uniform(0.2, 0.32), rng.uniform(0, 0.3)
        gain = rng.uniform(0.3, 1.0)
        while at < 3.9:
            clap = _burst(rng, rate, 0.06, rng.uniform(0.004, 0.009), _band(centre * 0.6, centre * 2.2))
            _add(out, at, gain * rng.uniform(0.7, 1.0) * clap, rate)
            at += period * rng.uniform(0.92, 1.08)
    return _echo(out, rate, rng, 0.3)


def door_wood_knock(rng: Rng, rate: int) -> Signal:
    """Knuckles on a wooden door, four times: a few low modes of the panel, and the contact."""
    out = np.zeros(round(1.9 * rate))
    base = rng.uniform(150, 220)
    at = 0.0
    for _ in range(5):
        modes = [(base * ratio, gain, decay) for ratio, gain, decay in
                 [(1.0, 1.0, 0.035), (1.9, 0.8, 0.025), (3.1, 0.6, 0.016), (4.7, 0.4, 0.01), (7.3, 0.3, 0.006)]]
        knock = _modes(0.25, rate, rng, modes)
        knock[: round(0.02 * rate)] += 0.5 * _burst(rng, rate, 0.02, 0.003, _band(300, 3000))[: round(0.02 * rate)]
        _add(out, at, rng.uniform(0.7, 1.0) * knock, rate)
        at += rng.uniform(0.22, 0.3)
    return _echo(out, rate, rng, 0.25)


def crickets(rng: Rng, rate: int) -> Signal:
    """Field crickets: trains of pulses of a pure tone, each its own pitch and pace."""
    t = _time(4.0, rate)
    out = 0.01 * _noise(rng, len(t), rate, _band(1000, 8000))
    for gain in (1.0, 0.5, 0.25):
        pitch, pulses, chirps = rng.uniform(4200, 5000), rng.uniform(28, 36), rng.uniform(2.2, 3.2)
        pulse = np.clip(np.sin(2 * np.pi * pulses * t), 0, 1) ** 0.7
        chirp = _smooth((((t * chirps + rng.uniform()) % 1.0) < 0.45).astype(float), rate, 0.01)
        out += gain * np.sin(2 * np.pi * pitch * t + rng.uniform(0, 6)) * pulse * chirp
    return out


def glass_breaking(rng: Rng, rate: int) -> Signal:
    """A pane bursts, and its pieces ring as they fall."""
    out = np.zeros(round(2.0 * rate))
    _add(out, 0.0, 1.2 * _burst(rng, rate, 0.15, 0.03, _band(1500, 14_000)), rate)
    for _ in range(90):
        at = rng.exponential(0.25)
        if at < 1.8:
            modes = [(rng.uniform(2500, 11_000), rng.uniform(0.3, 1.0), rng.uniform(0.01, 0.06)) for _ in range(3)]
            _add(out, at, rng.lognormal(-1.6, 0.6) * _modes(0.2, rate, rng, modes), rate)
    return _echo(out, rate, rng, 0.25)


def car_horn(rng: Rng, rate: int) -> Signal:
    """Two electric horns, a third apart, pressed three times."""
    t = _time(2.6, rate)
    low = rng.uniform(400, 430)
    tone = np.zeros(len(t))
    for pitch in (low, low * rng.uniform(1.19, 1.25)):
        tone += _harmonics(np.full(len(t), pitch), rate, [0.6, 0.8, 1.0, 0.8, 0.7, 0.55, 0.5, 0.4, 0.3, 0.2, 0.15, 0.1])
    pressed = (t < 0.5) | ((t > 0.75) & (t < 1.25)) | ((t > 1.5) & (t < 2.5))
    return _echo(tone * _smooth(pressed.astype(float), rate, 0.006), rate, rng, 0.2)


SOUNDS: tuple[Maker, ...] = (
    car_horn, church_bells, clapping, clock_alarm, crickets, door_wood_knock, glass_breaking,
)  # fmt: skip


def _time(duration_s: float, rate: int) -> Signal:
    return np.arange(round(duration_s * rate)) / rate


def _noise(rng: Rng, n: int, rate: int, gain: Gain) -> Signal:
    """Gaussian noise of this spectrum, with an RMS of 1 and no constant part."""
    spectrum = np.fft.rfft(rng.standard_normal(n))
    spectrum[0] = 0
    spectrum[1:] *= gain(np.asarray(np.fft.rfftfreq(n, 1 / rate)[1:], np.float64))
    noise = np.fft.irfft(spectrum, n)
    return np.asarray(noise / max(1e-12, float(np.sqrt(np.mean(noise**2)))))


def _band(low: float, high: float) -> Gain:
    """A band with soft edges."""
    return lambda f: (f / low) ** 3 / (1 + (f / low) ** 3) / (1 + (f / high) ** 6)


def _burst(rng: Rng, rate: int, duration_s: float, decay_s: float, gain: Gain) -> Signal:
    n = round(duration_s * rate)
    return 0.5 * _noise(rng, n, rate, gain) * np.exp(-np.arange(n) / (decay_s * rate))


def _modes(duration_s: float, rate: int, rng: Rng, modes: Sequence[tuple[float, float, float]]) -> Signal:
    """What is struck: a sum of (Hz, gain, decay to 1/e in s)."""
    t = _time(duration_s, rate)
    out = np.zeros(len(t))
    for frequency, gain, decay_s in modes:
        if frequency < rate / 2:
            out += gain * np.sin(2 * np.pi * frequency * t + rng.uniform(0, 0.3)) * np.exp(-t / decay_s)
    return out


def _harmonics(frequency: Signal, rate: int, gains: Sequence[float]) -> Signal:
    """What is blown or turns: harmonics of a frequency that may move; those above half the rate are left out."""
    phase = 2 * np.pi * np.cumsum(frequency) / rate
    out = np.zeros(len(frequency))
    for k, gain in enumerate(gains, start=1):
        if gain and float(frequency.max()) * k < rate / 2:
            out += gain * np.sin(k * phase)
    return out


def _echo(dry: Signal, rate: int, rng: Rng, wet: float) -> Signal:
    """A little room: exponentially decaying noise as its impulse response."""
    n = round(0.5 * rate)
    response = rng.standard_normal(n) * np.exp(-np.arange(n) / (0.09 * rate))
    size = 1 << (len(dry) + n).bit_length()
    tail = np.fft.irfft(np.fft.rfft(dry, size) * np.fft.rfft(response, size), size)[: len(dry)]
    return dry + wet * tail * float(np.std(dry)) / max(1e-12, float(np.std(tail)))


def _smooth(gate: Signal, rate: int, seconds: float) -> Signal:
    """Switches without clicks: a moving mean."""
    n = max(1, round(seconds * rate))
    total: Signal = np.cumsum(np.concatenate([np.zeros(n), gate]))
    return (total[n:] - total[:-n]) / n


def _add(out: Signal, at_s: float, sound: Signal, rate: int) -> None:
    start = round(at_s * rate)
    length = min(len(sound), len(out) - start)
    if length > 0:
        out[start : start + length] += sound[:length]
